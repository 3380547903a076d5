//! What the stages of a job compute and wait with: one private rayon pool for CPU work, one tokio runtime for the
//! store. Stages call both from plain threads.

use std::future::Future;

use lockstone_vault::error::Kind;
use tracing::Instrument as _;

use crate::flow::{CancelToken, Fault, Stop};
use crate::tuning::Tuning;

/// A job's pool and runtime.
pub(crate) struct Engine {
    pool: rayon::ThreadPool,
    runtime: tokio::runtime::Runtime,
}

impl Engine {
    pub(crate) fn new(tuning: &Tuning) -> Result<Self, Fault> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Fault::new(Kind::Shortage, format!("{what} could not be started: {error}"))
                .hint("raise the limit of threads (`ulimit -u`, or `TasksMax=` of the service), or free memory")
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(tuning.threads)
            .thread_name(|n| format!("ls-pool-{n}"))
            .build()
            .map_err(|error| failed("the thread pool", &error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(tuning.uploads + 4)
            .thread_name("ls-store")
            .enable_all()
            .build()
            .map_err(|error| failed("the store's runtime", &error))?;
        Ok(Self { pool, runtime })
    }

    /// Runs CPU work on the pool, and waits for it. The work itself touches no channel, lock or database.
    pub(crate) fn compute<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Runs a task of the store on the runtime, and waits for it or for a cancel.
    pub(crate) fn wait<F>(&self, cancel: &CancelToken, task: F) -> Result<F::Output, Stop>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.runtime.spawn(task.in_current_span());
        self.runtime.block_on(async {
            tokio::select! {
                done = task => done.map_err(|error| Fault::transient(format!("a task of the store died: {error}")).into()),
                () = cancel.cancelled() => Err(Stop::Cancelled),
            }
        })
    }

    /// Runs a task on the calling thread until it is done or the token is cancelled; then it is dropped where it stands.
    pub(crate) fn race<F: Future>(&self, cancel: &CancelToken, task: F) -> Result<F::Output, Stop> {
        self.runtime.block_on(async {
            tokio::select! {
                done = task => Ok(done),
                () = cancel.cancelled() => Err(Stop::Cancelled),
            }
        })
    }

    /// The store's runtime, for libraries that spawn by themselves.
    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// Runs a task that must not be cut short, on the calling thread.
    pub(crate) fn finish<F: Future>(&self, task: F) -> F::Output {
        self.runtime.block_on(task)
    }
}
