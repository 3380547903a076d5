//! Who keeps the throttle at what it should be: a thread that asks for the limits of now, a few times a second. What it asks
//! knows the settings, the clock and the time zone; so a change of any of them acts within a tick, whatever caused it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::{Limits, Throttle};

/// How often the limits are asked for.
const TICK: Duration = Duration::from_millis(250);

/// Follows a source of limits until it is dropped.
#[derive(Debug)]
pub struct Follower {
    /// Nothing is ever sent: it ends when this goes.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Sets the limits of now, before it returns, and follows them from then on.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(throttle: Arc<Throttle>, mut now: impl FnMut() -> Limits + Send + 'static) -> std::io::Result<Self> {
        throttle.set(now());
        let (alive, ended) = bounded(0);
        let follow = move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let limits = now();
                if throttle.set(limits) {
                    tracing::info!(up = ?limits.up, down = ?limits.down, requests = ?limits.requests, "the throttle's limits changed");
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("ls-throttle".to_owned())
            .spawn(follow)?;
        Ok(Self {
            alive: Some(alive),
            thread: Some(thread),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
