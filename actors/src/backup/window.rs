//! How far the walk may run ahead of the tree: a count of steps, taken by the Enumerator and given back by the
//! Cataloguer. A large file at the head keeps everything behind it waiting in memory; the window bounds that.

use crossbeam_channel::select;
use parking_lot::Mutex;

use crate::flow::{CancelToken, Doing, Stop, waiting};

/// Steps the walk may be ahead: about 16 MiB of entries.
const STEPS: usize = 32 * 1024;

/// A counting semaphore with one taker and one giver.
pub(crate) struct Window {
    state: Mutex<usize>,
    /// Of capacity 1: a nudge that is already there need not be there twice.
    nudge: (crossbeam_channel::Sender<()>, crossbeam_channel::Receiver<()>),
    cancel: CancelToken,
}

impl Window {
    pub(crate) fn new(cancel: &CancelToken) -> Self {
        Self {
            state: Mutex::new(0),
            nudge: crossbeam_channel::bounded(1),
            cancel: cancel.clone(),
        }
    }

    /// Takes `steps`, waiting until fewer than the window's are out.
    pub(crate) fn take(&self, steps: usize) -> Result<(), Stop> {
        loop {
            {
                let mut out = self.state.lock();
                if *out < STEPS {
                    *out += steps;
                    return Ok(());
                }
            }
            waiting(Doing::Blocked, || {
                select! {
                    recv(self.nudge.1) -> _ => Ok(()),
                    recv(self.cancel.signal()) -> _ => Err(Stop::Cancelled),
                }
            })?;
        }
    }

    pub(crate) fn give(&self, steps: usize) {
        {
            let mut out = self.state.lock();
            *out = out.saturating_sub(steps);
        }
        // Full: the taker will look anyway.
        let _ = self.nudge.0.try_send(());
    }
}
