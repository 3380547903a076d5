//! A thread that keeps the throttle's limits up to date. A few times a second it asks a function for the limits that
//! apply now. That function knows the settings, the clock and the time zone, so a change of any of them acts within a
//! tick.

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
    /// Nothing is ever sent. The thread ends when this is dropped.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Sets the limits that apply now before it returns, and keeps them up to date from then on.
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
                    let Limits { up, down, requests } = limits;
                    tracing::info!(?up, ?down, ?requests, "the throttle's limits changed");
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
