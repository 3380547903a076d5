//! SIGINT and SIGTERM: the first cancels the job that runs, the second ends the program at once. Where no job runs the
//! first ends it too. Neither harms a vault: what is not committed is not there. SIGHUP has a running job, or the daemon,
//! read the throttle's settings again; where neither runs it ends the program.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lockstone_actors::CancelToken;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Exit;

static RECEIVED: AtomicUsize = AtomicUsize::new(0);
static JOB_RUNS: AtomicBool = AtomicBool::new(false);
static HANGUPS: AtomicU64 = AtomicU64::new(0);
static PROMPTING: AtomicBool = AtomicBool::new(false);

/// Starts to listen, on the runtime's own threads. Called once, first thing.
pub fn listen(runtime: &Runtime, cancel: &CancelToken) {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let cancel = cancel.clone();
        let _entered = runtime.enter();
        match signal(kind) {
            Ok(mut stream) => {
                runtime.spawn(async move {
                    while stream.recv().await.is_some() {
                        if kind == SignalKind::hangup() && JOB_RUNS.load(Ordering::SeqCst) {
                            HANGUPS.fetch_add(1, Ordering::SeqCst);
                        } else {
                            received(&cancel).await;
                        }
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "cannot listen for signals: they will end the program at once"),
        }
    }
}

/// How often SIGHUP came while something ran.
#[must_use]
pub fn hangups() -> u64 {
    HANGUPS.load(Ordering::SeqCst)
}

async fn received(cancel: &CancelToken) {
    let before = RECEIVED.fetch_add(1, Ordering::SeqCst);
    // Asked before the job knows: one that ends at once must still end in its own way.
    let job_runs = JOB_RUNS.load(Ordering::SeqCst);
    cancel.cancel();
    if before > 0 || !job_runs {
        if PROMPTING.load(Ordering::SeqCst) {
            // The prompt ends by itself, and gives the terminal its echo back; this is only for the case that it cannot.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        std::process::exit(Exit::Cancelled as i32);
    }
}

/// While this lives, the first signal cancels instead of ending the program.
#[derive(Debug)]
pub struct JobRuns(());

impl JobRuns {
    /// From here on somebody looks at the cancel token.
    #[must_use]
    pub fn begin() -> JobRuns {
        JOB_RUNS.store(true, Ordering::SeqCst);
        JobRuns(())
    }
}

impl Drop for JobRuns {
    fn drop(&mut self) {
        JOB_RUNS.store(false, Ordering::SeqCst);
    }
}

/// While this lives a prompt has turned the terminal's echo off.
#[derive(Debug)]
pub struct Prompting(());

/// Says that a prompt begins.
#[must_use]
pub fn prompting() -> Prompting {
    PROMPTING.store(true, Ordering::SeqCst);
    Prompting(())
}

impl Drop for Prompting {
    fn drop(&mut self) {
        PROMPTING.store(false, Ordering::SeqCst);
    }
}
