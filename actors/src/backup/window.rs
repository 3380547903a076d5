//! How far the walk may run ahead of the tree: a count of steps, which the Enumerator takes and the Cataloguer gives
//! back. While a large file is being read, everything that the walk finds behind it waits in memory. The window bounds
//! that.

use crossbeam_channel::select;
use parking_lot::Mutex;

use crate::flow::{CancelToken, Doing, Stop, waiting};

/// How many steps the walk may be ahead: about 16 MiB of entries.
const MAX_STEPS: usize = 32 * 1024;

/// A counting semaphore for one stage that takes and one that gives.
pub(crate) struct Window {
    state: Mutex<usize>,
    /// Has capacity 1, because one nudge is enough to wake the taker.
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

    /// Takes `steps`. Waits while as many steps are out as the window has.
    pub(crate) fn take(&self, steps: usize) -> Result<(), Stop> {
        loop {
            {
                let mut out = self.state.lock();
                if *out < MAX_STEPS {
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

    /// Gives steps back.
    pub(crate) fn give(&self, steps: usize) {
        {
            let mut out = self.state.lock();
            *out = out.saturating_sub(steps);
        }
        // If the channel is full, a nudge is on its way already.
        let _ = self.nudge.0.try_send(());
    }
}
