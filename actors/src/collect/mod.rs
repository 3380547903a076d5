//! The collect job: `vault`'s collection under the same supervisor as the other jobs. It has one stage, the Collector.
//! Tree chunks are looked at several at once on the job's runtime; everything else is on the stage's own thread.
//!
//! A transient fault starts a new generation. It goes on where the log says that the one before it came to.

mod collector;
mod job;

use std::sync::Arc;
use std::time::Instant;

use lockstone_proto::job::JobKind;

use self::collector::Collector;
use self::job::CollectJob;
use crate::flow::{Assembly, CancelToken, StageName, StageSpec};
use crate::job::JobContext;
use crate::supervisor::{self, Pipeline};

pub use self::job::{CollectReport, CollectRequest};

/// Runs a collection to its end. Blocks, so call it from a plain thread.
#[must_use]
pub fn collect(mut context: JobContext, request: CollectRequest) -> CollectReport {
    let begun = Instant::now();
    context.tuning = context.tuning.clamped();
    let id = request.job;
    let job = match CollectJob::new(&context, request) {
        Ok(job) => Arc::new(job),
        Err(fault) => return CollectReport::not_started(id, fault),
    };
    let pipeline = Box::new(Collect { job: Arc::clone(&job) });
    let end = supervisor::run(JobKind::Collect, id, pipeline, &context);
    CollectReport::of(&job, end, begun.elapsed())
}

struct Collect {
    job: Arc<CollectJob>,
}

impl Pipeline for Collect {
    fn assemble(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec> {
        self.job.progress.begin_generation(number);
        let mut flow = Assembly::new(cancel);
        flow.stage(StageName::Collector)
            .thread(|(), ()| Collector::new(&self.job, cancel));
        flow.into_stages()
    }

    fn progress(&self) -> u64 {
        self.job.furthest()
    }
}
