//! The check job: `vault`'s check under the same supervisor as backup and restore. It has one stage, the Checker. Packs
//! are checked several at once on the job's runtime; the walk of the recovery points' trees runs on the stage's own
//! thread.
//!
//! Damage in the vault is the check's result and not a fault. A transient fault starts a new generation. It checks the
//! structure again, and reads the packs that were not read yet.

mod checker;
mod job;

use std::sync::Arc;
use std::time::Instant;

use lockstone_proto::job::JobKind;

use self::checker::Checker;
use self::job::CheckJob;
use crate::flow::{Assembly, CancelToken, StageName, StageSpec};
use crate::job::JobContext;
use crate::supervisor::{self, Pipeline};

pub use self::job::{CheckReport, CheckRequest};

/// Runs a check to its end. Blocks, so call it from a plain thread.
#[must_use]
pub fn check(mut context: JobContext, request: CheckRequest) -> CheckReport {
    let begun = Instant::now();
    context.tuning = context.tuning.clamped();
    let id = request.job;
    let job = match CheckJob::new(&context, request) {
        Ok(job) => Arc::new(job),
        Err(fault) => return CheckReport::not_started(id, fault),
    };
    let pipeline = Box::new(Check { job: Arc::clone(&job) });
    let end = supervisor::run(JobKind::Check, id, pipeline, &context);
    CheckReport::of(&job, end, begun.elapsed())
}

struct Check {
    job: Arc<CheckJob>,
}

impl Pipeline for Check {
    fn assemble(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec> {
        self.job.progress.begin_generation(number);
        let mut flow = Assembly::new(cancel);
        flow.stage(StageName::Checker)
            .thread(|(), ()| Checker::new(&self.job, cancel));
        flow.into_stages()
    }

    fn progress(&self) -> u64 {
        self.job.furthest()
    }
}
