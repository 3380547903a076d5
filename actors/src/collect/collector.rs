//! The Collector stage runs `vault`'s collection and shows how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use lockstone_vault::collect::{self, CollectOptions, CollectProgress, Looked, Spawn};

use super::job::CollectJob;
use crate::flow::{Body, CancelToken, Stop, fault_point};
use crate::progress::set;

/// How long a cancelled collection waits for the store.
const LAST_ANSWER: Duration = Duration::from_secs(5);

pub(super) struct Collector {
    job: Arc<CollectJob>,
    cancel: CancelToken,
}

impl Body for Collector {
    fn run(self) -> Result<(), Stop> {
        let job = &self.job;
        job.progress.set_phase("log");
        fault_point("collector")?;
        let request = &job.request;
        let now = Timestamp::now();
        let options = CollectOptions {
            dry_run: request.dry_run,
            grace: request.grace,
            unfinished: request.unfinished,
            repack_below: request.repack_below,
            zstd_level: job.tuning.zstd_level,
            workers: job.tuning.threads + 1,
            ..CollectOptions::usual(now)
        };
        let steps = AtomicU64::new(0);
        let show = |seen: CollectProgress| {
            let counters = &job.progress.counters;
            set(&counters.files_seen, seen.total);
            set(&counters.files_done, seen.done);
            set(&counters.bytes_done, seen.bytes_moved + seen.bytes_freed);
            job.progress.set_phase(seen.what);
            job.got_to(steps.fetch_add(1, Ordering::Relaxed) + 1);
        };
        let cancelled = || self.cancel.is_cancelled();
        let on_runtime = OnRuntime(job.engine.handle());
        let collect = collect::collect(&job.domain, &options, &on_runtime, &show, &cancelled);
        // One that is cancelled ends with what it has done, unless the store does not answer.
        let given_up = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(LAST_ANSWER).await;
        };
        let collected = job.engine.run_to_end(async {
            tokio::select! {
                collected = collect => Some(collected),
                () = given_up => None,
            }
        });
        let collected = collected.ok_or(Stop::Cancelled)??;
        let is_cancelled = collected.cancelled;
        *job.collected.lock() = Some(collected);
        if is_cancelled { Err(Stop::Cancelled) } else { Ok(()) }
    }
}

impl Collector {
    pub(super) fn new(job: &Arc<CollectJob>, cancel: &CancelToken) -> Self {
        Self {
            job: Arc::clone(job),
            cancel: cancel.clone(),
        }
    }
}

/// Spawns on the job's runtime, so that tree chunks are looked at by several threads.
struct OnRuntime(tokio::runtime::Handle);

impl Spawn for OnRuntime {
    fn spawn(&self, work: BoxFuture<'static, Looked>) -> BoxFuture<'static, Looked> {
        let task = self.0.spawn(work);
        async move {
            match task.await {
                Ok(looked) => looked,
                // A panic is passed on to the thread that waits for it.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        .boxed()
    }
}
