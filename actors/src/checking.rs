//! The check job: `vault`'s check, with this crate's threads under it. Packs are checked several at once on the store's
//! runtime; the walk of the points' trees runs on the calling thread.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use lockstone_vault::check::{self, CheckOptions, CheckProgress, PackOutcome, Spawn};
use lockstone_vault::domain::Domain;

pub use lockstone_vault::check::CheckReport;

use crate::engine::Engine;
use crate::flow::{CancelToken, Fault};
use crate::job::JobError;
use crate::metrics::Metrics;
use crate::progress::{Progress, set};
use crate::tuning::Tuning;

/// What to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckRequest {
    /// Percent of the packs whose every byte is read; `None`: structure only.
    pub read_data: Option<f64>,
}

/// Runs a check to its end. Blocks; call it from a plain thread. A damaged vault is a report, not an error.
///
/// # Errors
/// What kept the check from going on: a store that can't be reached, a wrong key.
pub fn check(
    domain: &Arc<Domain>,
    request: CheckRequest,
    tuning: Tuning,
    metrics: &Arc<Metrics>,
    progress: &Arc<Progress>,
    cancel: &CancelToken,
) -> Result<CheckReport, JobError> {
    let tuning = tuning.clamped();
    let engine = Engine::new(&tuning).map_err(JobError::from)?;
    progress.set_phase("checking");
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)
        .map_err(|error| Fault::permanent(format!("the system gives no random bytes: {error}")))?;
    let options = CheckOptions {
        read_data: request.read_data,
        sample: u64::from_le_bytes(salt),
        workers: tuning.threads + 1,
    };
    let show = |seen: CheckProgress| {
        set(&progress.counters.files_seen, seen.total);
        set(&progress.counters.files_done, seen.done);
        progress.set_phase(seen.what);
    };
    let cancelled = || cancel.is_cancelled();
    metrics.job_began("check", progress, domain.index());
    let checked = engine
        .finish(check::check(
            domain,
            &options,
            &OnRuntime(engine.handle()),
            &show,
            &cancelled,
        ))
        .map_err(|error| JobError::from(Fault::from(error)));
    metrics.job_ended();
    checked
}

/// Spawns on the job's runtime, so that packs are checked on several threads.
struct OnRuntime(tokio::runtime::Handle);

impl Spawn for OnRuntime {
    fn spawn(&self, work: BoxFuture<'static, PackOutcome>) -> BoxFuture<'static, PackOutcome> {
        let task = self.0.spawn(work);
        async move {
            match task.await {
                Ok(outcome) => outcome,
                // A panic in the check of one pack: shown as what it is, by whoever awaits.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        .boxed()
    }
}
