//! The Checker stage runs `vault`'s check and shows how far it is.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use lockstone_vault::check::{self, CheckOptions, CheckProgress, PackOutcome, Spawn};
use parking_lot::Mutex;

use super::job::CheckJob;
use crate::flow::{Body, CancelToken, Stop, fault_point};
use crate::progress::set;

/// How long a cancelled check waits for the store.
const LAST_ANSWER: Duration = Duration::from_secs(1);

pub(super) struct Checker {
    job: Arc<CheckJob>,
    cancel: CancelToken,
}

impl Body for Checker {
    fn run(self) -> Result<(), Stop> {
        let job = &self.job;
        job.progress.set_phase("checking");
        fault_point("checker")?;
        let options = CheckOptions {
            read_data: job.request.read_data,
            sample: job.sample,
            round: job.request.round,
            workers: job.tuning.threads + 1,
            repair: job.request.repair,
            now: Timestamp::now(),
        };
        let looked_at = Mutex::new(LookedAt::default());
        let show = |seen: CheckProgress| {
            let counters = &job.progress.counters;
            set(&counters.files_seen, seen.total);
            set(&counters.files_done, seen.done);
            set(&counters.packs_seen, seen.packs_to_read);
            set(&counters.packs_done, seen.packs_read);
            set(&counters.bytes_seen, seen.bytes_to_read);
            set(&counters.bytes_done, seen.bytes_read);
            if seen.packs_to_read > 0 && seen.what == "data" {
                job.progress.seen_all();
            }
            job.progress.set_phase(seen.what);
            job.got_to(looked_at.lock().add(&seen));
        };
        let cancelled = || self.cancel.is_cancelled();
        let on_runtime = OnRuntime(job.engine.handle());
        let check = check::check(&job.domain, &options, &on_runtime, &show, &cancelled);
        // A check that is cancelled ends with what it has found, unless the store does not answer.
        let given_up = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(LAST_ANSWER).await;
        };
        let found = job.engine.run_to_end(async {
            tokio::select! {
                found = check => Some(found),
                () = given_up => None,
            }
        });
        let found = found.ok_or(Stop::Cancelled)??;
        let cancelled = found.cancelled;
        *job.found.lock() = Some(found);
        if cancelled { Err(Stop::Cancelled) } else { Ok(()) }
    }
}

impl Checker {
    pub(super) fn new(job: &Arc<CheckJob>, cancel: &CancelToken) -> Self {
        Self {
            job: Arc::clone(job),
            cancel: cancel.clone(),
        }
    }
}

/// How many objects a generation has looked at, over all steps of the check.
#[derive(Default)]
struct LookedAt {
    step: &'static str,
    /// In this step.
    now: u64,
    /// In the steps before it.
    before: u64,
}

impl LookedAt {
    /// Takes over what the check reports. Returns the sum.
    fn add(&mut self, seen: &CheckProgress) -> u64 {
        if self.step != seen.what {
            self.before += self.now;
            self.step = seen.what;
        }
        self.now = seen.done;
        self.before + self.now
    }
}

/// Spawns on the job's runtime, so that packs are checked on several threads.
struct OnRuntime(tokio::runtime::Handle);

impl Spawn for OnRuntime {
    fn spawn(&self, work: BoxFuture<'static, PackOutcome>) -> BoxFuture<'static, PackOutcome> {
        let task = self.0.spawn(work);
        async move {
            match task.await {
                Ok(outcome) => outcome,
                // A panic in the check of one pack is passed on to the thread that waits for it.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        .boxed()
    }
}
