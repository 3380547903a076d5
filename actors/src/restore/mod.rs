//! The restore pipeline: the backup's, backwards, under the same supervisor.
//!
//! ```text
//! Planner → Fetcher → Opener → Writer
//!  walks the  ranges of  frames,    files, attributes,
//!  point's    packs,     ids        folders, links
//!  tree       once each  checked
//!     └─ files that need no content, folders ─┘
//! ```
//!
//! Damage in the vault only affects the files that need the damaged bytes. Each of them is named, and all others are
//! restored. A restore is never rolled back: if it is cancelled, what was restored stays. A later generation finds it
//! there.

mod extras;
mod fetcher;
mod job;
mod messages;
mod opener;
mod place;
mod planner;
mod report;
mod selection;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lockstone_proto::job::{JobKind, JobState};

use self::fetcher::Fetcher;
use self::job::{RestoreContext, RestoreJob};
use self::opener::Opener;
use self::planner::Planner;
use self::writer::Writer;
use crate::flow::{Assembly, CancelToken, Fault, StageName, StageSpec};
use crate::job::JobContext;
use crate::progress::get;
use crate::supervisor::{self, Pipeline};

pub use self::job::{Conflict, RestoreRequest, RestoreTo};
pub use self::report::RestoreReport;

/// Runs a restore to its end. Blocks, so call it from a plain thread.
#[must_use]
pub fn restore(mut context: JobContext, request: RestoreRequest) -> RestoreReport {
    let begun = Instant::now();
    context.tuning = context.tuning.clamped();
    let id = request.job;
    let job = match RestoreJob::new(&context, request) {
        Ok(job) => Arc::new(job),
        Err(fault) => return RestoreReport::not_started(id, fault),
    };
    let pipeline = Box::new(Restore { job: Arc::clone(&job) });
    let mut end = supervisor::run(JobKind::Restore, id, pipeline, &context);
    if end.state == JobState::Completed
        && let Err(fault) = sync(&job)
    {
        (end.state, end.fault) = (JobState::Failed, Some(fault));
    }
    RestoreReport::of(&job, end, begun.elapsed())
}

/// Writes what was restored to the disk. Only then is it restored.
fn sync(job: &RestoreJob) -> Result<(), Fault> {
    let target = job.target.lock().take();
    let Some(target) = target.filter(|_| job.request.sync && !job.request.dry_run) else {
        return Ok(());
    };
    job.progress.set_phase("writing to the disk");
    target.sync().map_err(|error| {
        Fault::permanent(format!("what was restored could not be written to the disk: {error}"))
            .hint("look at the kernel's log (`dmesg`) for errors of the disk, then restore again")
    })
}

struct Restore {
    job: Arc<RestoreJob>,
}

impl Restore {
    /// What the stages of a new generation share.
    fn begin(&self, number: u32, cancel: &CancelToken) -> RestoreContext {
        let job = &self.job;
        job.progress.begin_generation(number);
        job.warnings.clear();
        job.damaged.store(0, Ordering::SeqCst);
        job.would.lock().clear();
        if job.request.dry_run {
            job.deleted.store(0, Ordering::SeqCst);
            job.deleted_paths.lock().clear();
        }
        let context = RestoreContext::new(job, cancel);
        job.metrics.watch_budget("sealed", &context.sealed_budget);
        job.metrics.watch_budget("raw", &context.raw_budget);
        context
    }
}

impl Pipeline for Restore {
    fn assemble(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec> {
        let context = &self.begin(number, cancel);
        let tuning = &self.job.tuning;

        // Capacities. The budget pays for ranges and frames. The Writer's inbox also takes every file of a window, in
        // batches.
        let mut flow = Assembly::new(cancel);
        let (to_fetcher, ranges) = flow.channel("ranges", tuning.capacity);
        let (to_opener, fetched) = flow.channel("fetched", tuning.uploads.min(tuning.capacity));
        let (to_writer, tasks) = flow.channel("writes", tuning.capacity * 16);
        let [plans_to_writer, chunks_to_writer] = to_writer.split_in_two();

        flow.stage(StageName::Planner)
            .outlets((to_fetcher, plans_to_writer))
            .thread(|(), to| Planner::new(context, to));
        flow.stage(StageName::Fetcher)
            .inbox(ranges)
            .outlets(to_opener)
            .threads(tuning.uploads, |inbox, opener| Fetcher::new(context, inbox, opener));
        flow.stage(StageName::Opener)
            .inbox(fetched)
            .outlets(chunks_to_writer)
            .threads(tuning.threads, |inbox, writer| Opener::new(context, inbox, writer));
        flow.stage(StageName::Writer)
            .inbox(tasks)
            .threads(tuning.readers, |inbox, ()| Writer::new(context, inbox));
        flow.into_stages()
    }

    fn progress(&self) -> u64 {
        // Each generation meets all files again. Only one that gets further than any before it has made progress.
        let now = get(&self.job.progress.counters.files_done);
        self.job.furthest.fetch_max(now, Ordering::SeqCst).max(now)
    }
}
