//! The threads that the stages of a job share: a rayon pool for CPU work, and a tokio runtime for the store. Stages
//! call both from plain threads and wait for the result.

use std::future::Future;

use lockstone_vault::error::Kind;
use tracing::Instrument as _;

use crate::flow::{CancelToken, Fault, Stop};
use crate::tuning::Tuning;

/// One job's pool and runtime.
pub(crate) struct Engine {
    pool: rayon::ThreadPool,
    runtime: tokio::runtime::Runtime,
    /// The job's.
    cancel: CancelToken,
}

impl Engine {
    pub(crate) fn new(tuning: &Tuning, cancel: &CancelToken) -> Result<Self, Fault> {
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
            .map_err(|error| {
                let what = "the store's runtime could not be started";
                Fault::if_out_of_handles(what.as_bytes(), &error)
                    .unwrap_or_else(|| failed("the store's runtime", &error))
            })?;
        Ok(Self {
            pool,
            runtime,
            cancel: cancel.clone(),
        })
    }

    /// Runs CPU work on the pool and waits for it. The work must not touch a channel, a lock or a database.
    pub(crate) fn compute<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Runs a task on the runtime's own threads. Waits until it is done or the token is cancelled; a cancelled task
    /// goes on in the background, and its result is lost.
    pub(crate) fn run_spawned<F>(&self, cancel: &CancelToken, task: F) -> Result<F::Output, Stop>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.runtime.spawn(task.in_current_span());
        self.runtime.block_on(async {
            tokio::select! {
                done = task => done.map_err(|error| {
                    Fault::transient(format!("a task of the store died: {error}")).into()
                }),
                () = cancel.cancelled() => Err(Stop::Cancelled),
            }
        })
    }

    /// Runs a task on the calling thread until it is done or the token is cancelled. A cancelled task is dropped in the
    /// middle.
    pub(crate) fn run_cancellable<F: Future>(&self, cancel: &CancelToken, task: F) -> Result<F::Output, Stop> {
        self.runtime.block_on(async {
            tokio::select! {
                done = task => Ok(done),
                () = cancel.cancelled() => Err(Stop::Cancelled),
            }
        })
    }

    /// The same with the job's own token, where that of a generation is not at hand.
    pub(crate) fn run_unless_cancelled<F: Future>(&self, task: F) -> Result<F::Output, Stop> {
        self.run_cancellable(&self.cancel, task)
    }

    /// The runtime, for libraries that spawn tasks themselves.
    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// Runs a task on the calling thread. It can't be cancelled, so it is only for what must not end in the middle.
    pub(crate) fn run_to_end<F: Future>(&self, task: F) -> F::Output {
        self.runtime.block_on(task)
    }
}
