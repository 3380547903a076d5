//! SIGINT and SIGTERM: the first cancels the running job, the second ends the program at once. If no job runs, the
//! first ends the program too. Neither harms a vault: what is not committed does not count. SIGHUP makes a running
//! job, or the daemon, read the throttle's settings again; if neither runs, it ends the program.
//!
//! `main` makes one [`Signals`] and starts to listen. Only this file ends the process early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lockstone_actors::CancelToken;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::settings::reload::ReloadRequests;
use crate::failure::Exit;

/// How long a prompt has to restore the terminal's echo before the program ends.
const PROMPT_PATIENCE: Duration = Duration::from_millis(200);

/// What signals do to this process. Clones share their state.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    cancel: CancelToken,
    reload: ReloadRequests,
    received: AtomicUsize,
    job_runs: AtomicBool,
    prompting: AtomicBool,
}

impl Signals {
    /// Signals that cancel `cancel` and ask for reloads at `reload`.
    pub(crate) fn new(cancel: CancelToken, reload: ReloadRequests) -> Signals {
        let state = State {
            cancel,
            reload,
            received: AtomicUsize::new(0),
            job_runs: AtomicBool::new(false),
            prompting: AtomicBool::new(false),
        };
        Signals { state: Arc::new(state) }
    }

    /// Starts to listen, on the runtime's own threads.
    pub(crate) fn listen(&self, runtime: &Handle) {
        ignore_file_size_limit(runtime);
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let state = Arc::clone(&self.state);
            let _entered = runtime.enter();
            match signal(kind) {
                Ok(mut stream) => {
                    runtime.spawn(async move {
                        while stream.recv().await.is_some() {
                            state.received(kind).await;
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "cannot listen for signals: they will end the program at once"),
            }
        }
    }

    /// From now on, until the guard is dropped, the first signal cancels instead of ending the program.
    pub(crate) fn job_runs(&self) -> JobRuns {
        self.state.job_runs.store(true, Ordering::SeqCst);
        JobRuns(Arc::clone(&self.state))
    }

    /// A prompt has turned the terminal's echo off, until the guard is dropped.
    pub(crate) fn prompting(&self) -> Prompting {
        self.state.prompting.store(true, Ordering::SeqCst);
        Prompting(Arc::clone(&self.state))
    }
}

impl State {
    async fn received(&self, kind: SignalKind) {
        // Read before the job is cancelled: a job that ends at once must still end in its own way.
        let job_runs = self.job_runs.load(Ordering::SeqCst);
        if kind == SignalKind::hangup() && job_runs {
            self.reload.ask();
            return;
        }
        let before = self.received.fetch_add(1, Ordering::SeqCst);
        self.cancel.cancel();
        if before > 0 || !job_runs {
            if self.prompting.load(Ordering::SeqCst) {
                // The prompt ends by itself and restores the terminal's echo. If it cannot, the program ends anyway.
                tokio::time::sleep(PROMPT_PATIENCE).await;
            }
            exit_now(Exit::Cancelled);
        }
    }
}

/// While this lives, the first signal cancels instead of ending the program.
#[derive(Debug)]
pub(crate) struct JobRuns(Arc<State>);

impl Drop for JobRuns {
    fn drop(&mut self) {
        self.0.job_runs.store(false, Ordering::SeqCst);
    }
}

/// While this lives, a prompt has turned the terminal's echo off.
#[derive(Debug)]
pub(crate) struct Prompting(Arc<State>);

impl Drop for Prompting {
    fn drop(&mut self) {
        self.0.prompting.store(false, Ordering::SeqCst);
    }
}

/// A write beyond the limit of file sizes (`ulimit -f`) fails like a write to a full disk. Without this, the system
/// ends the process without a word.
fn ignore_file_size_limit(runtime: &Handle) {
    let _entered = runtime.enter();
    // A signal that is listened for does nothing else, also after the listener is dropped.
    if let Err(error) = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())) {
        tracing::warn!(%error, "the limit of file sizes will end the program at once");
    }
}

/// Ends the process at once.
pub(crate) fn exit_now(exit: Exit) -> ! {
    lockstone_host::terminal::restore_control_echo();
    std::process::exit(exit as i32)
}
