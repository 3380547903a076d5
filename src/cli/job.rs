//! What backup, restore and check share at the command line: they run a job of the agent while a display, the
//! exporter of metrics and the signals follow it, and at the end they show its warnings.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstone_actors::{Progress, Warning};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};

use super::context::Context;
use super::metrics_export::{MetricsArgs, MetricsExport};
use super::progress::ProgressDisplay;
use super::signals::JobRuns;
use crate::agent::jobs::ending::Ending;
use crate::agent::jobs::observer::JobObserver;
use crate::agent::jobs::perform::{Finished, Job, perform};
use crate::failure::{Exit, Failure};
use crate::text::render;

/// At most this many warnings are printed. All are counted, and kept in the job's record.
const MAX_PRINTED_WARNINGS: usize = 20;

/// Runs a job to its end. While it runs, the first signal cancels it.
pub(crate) fn run<J: Job>(context: &Context, metrics: &MetricsArgs, job: J) -> Result<Finished<J::Report>, Failure> {
    let follower = Follower {
        context,
        metrics,
        following: Mutex::default(),
    };
    let finished = context.block_on(perform(&context.environment, job, &follower));
    follower.end();
    finished
}

/// Follows a job with what the command line has.
struct Follower<'c> {
    context: &'c Context,
    metrics: &'c MetricsArgs,
    following: Mutex<Following>,
}

#[derive(Default)]
struct Following {
    export: Option<MetricsExport>,
    display: Option<ProgressDisplay>,
    signals: Option<JobRuns>,
}

impl Follower<'_> {
    fn following(&self) -> MutexGuard<'_, Following> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job has ended, also if it never began.
    fn end(self) {
        let following = std::mem::take(&mut *self.following());
        if let Some(export) = following.export {
            export.end(self.context);
        }
    }
}

impl JobObserver for Follower<'_> {
    fn begins(&self, kind: JobKind, job: JobId) {
        let export = MetricsExport::begin(self.context, self.metrics, kind, job);
        let mut following = self.following();
        following.export = Some(export);
        following.signals = Some(self.context.signals.job_runs());
    }

    fn runs(&self, kind: JobKind, cache: &Path, progress: &Arc<Progress>) {
        let mut following = self.following();
        if let Some(export) = &following.export {
            export.runs(cache, progress);
        }
        following.display = Some(ProgressDisplay::start(self.context, kind, Arc::clone(progress)));
    }

    fn ran(&self) {
        self.following().display = None;
    }
}

/// The exit code of a job that ran.
pub(crate) fn exit_of(ending: &Ending) -> Exit {
    match (ending.state, &ending.failure) {
        (JobState::Cancelled, _) => Exit::Cancelled,
        (_, Some(failure)) => failure.exit,
        (JobState::Completed, None) => Exit::Done,
        (JobState::CompletedWithWarnings, None) => Exit::Warnings,
        (JobState::Failed | JobState::Queued | JobState::Running | JobState::Cancelling, None) => Exit::Failed,
    }
}

/// Shows warnings on stderr, but no more than a person reads.
pub(crate) fn show_warnings(context: &Context, warnings: &[Warning], total: u64) {
    let out = &context.out;
    for warning in warnings.iter().take(MAX_PRINTED_WARNINGS) {
        if warning.path.is_empty() {
            out.warn(&warning.message);
        } else {
            out.warn(format!("{}: {}", render::name(&warning.path), warning.message));
        }
    }
    let left = total.saturating_sub(MAX_PRINTED_WARNINGS as u64);
    if left > 0 {
        out.warn(format!("and {} more (see `lockstone jobs show`)", render::count(left)));
    }
}
