//! What backup, restore and check share at the command line: they run a job of the agent while a display, the
//! exporter of metrics and the signals follow it, and at the end they show its warnings.

use std::collections::HashMap;
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
use crate::agent::state::folder::StateFolder;
use crate::daemon::control::client::{Client, Turn};
use crate::failure::{Exit, Failure};
use crate::text::render;

/// At most this many lines of warnings are printed. All are counted, and kept in the job's record.
const MAX_PRINTED_WARNINGS: usize = 20;

/// More warnings of one kind than this are one line.
const MAX_ALIKE: usize = 3;

/// Runs a job to its end. While it runs, the first signal cancels it.
pub(crate) fn run<J: Job>(context: &Context, metrics: &MetricsArgs, job: J) -> Result<Finished<J::Report>, Failure> {
    let _turn = context.block_on(turn(context, job.state()));
    let follower = Follower {
        context,
        metrics,
        following: Mutex::default(),
    };
    let mut finished = context.block_on(perform(&context.environment, job, &follower));
    let exported = follower.end();
    if let (Ok(finished), false) = (&mut finished, exported)
        && finished.ending.state == JobState::Completed
    {
        // The job did its work, but not all that was asked for.
        finished.ending.state = JobState::CompletedWithWarnings;
    }
    finished
}

/// Waits until the daemon runs no job, if there is a daemon. One job runs at a time, and what waits comes in turn.
async fn turn(context: &Context, state: &StateFolder) -> Option<Turn> {
    let daemon = Client::find(state).await?;
    if let Some(job) = daemon.daemon.running {
        context.out.note(format!(
            "waiting for job {job} of the agent to end; `lockstone jobs cancel {}` ends it",
            &job.hex()[..8]
        ));
    }
    daemon.turn().await
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

    /// The job has ended, also if it never began. Returns whether its metrics are where they should be.
    fn end(self) -> bool {
        let following = std::mem::take(&mut *self.following());
        following.export.is_none_or(|export| export.end(self.context))
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

/// Shows warnings on stderr, but no more than a person reads. Many of one kind are one line.
pub(crate) fn show_warnings(context: &Context, warnings: &[Warning], total: u64) {
    let out = &context.out;
    let kinds = kinds(warnings);
    let mut shown = 0;
    for kind in kinds.iter().take(MAX_PRINTED_WARNINGS) {
        shown += kind.len() as u64;
        let Some(first) = kind.first() else { continue };
        if first.path.is_empty() {
            out.warn(render::short_ids(&first.message));
            continue;
        }
        let (path, message) = (render::name(&first.path), render::short_ids(&first.message));
        match kind.len() {
            0 | 1 => out.warn(format!("{path}: {message}")),
            n => {
                let others = render::count(n as u64 - 1);
                out.warn(format!("{path} and {others} more: {message}"));
            }
        }
    }
    let left = total.saturating_sub(shown);
    if left > 0 {
        out.warn(format!("and {} more of other kinds", render::count(left)));
    }
    if total > kinds.len() as u64 || left > 0 {
        let hint = "`lockstone jobs show JOB` has all of them";
        out.note(format!("  hint: {hint}"));
    }
}

/// Warnings of one kind together, in the order of the first of each kind. A few of one kind stay lines of their own.
fn kinds(warnings: &[Warning]) -> Vec<Vec<&Warning>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut kinds: Vec<Vec<&Warning>> = Vec::new();
    for warning in warnings {
        let place = *places.entry(&warning.message).or_insert_with(|| {
            kinds.push(Vec::new());
            kinds.len() - 1
        });
        kinds[place].push(warning);
    }
    let mut lines = Vec::new();
    for kind in kinds {
        if kind.len() > MAX_ALIKE {
            lines.push(kind);
        } else {
            lines.extend(kind.into_iter().map(|warning| vec![warning]));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_of_one_kind_are_one_line() {
        let warning = |path: String, message: &str| Warning {
            path: path.into_bytes(),
            message: message.to_owned(),
        };
        let mut warnings: Vec<Warning> = (0..5000).map(|n| warning(format!("/{n}"), "its owner")).collect();
        warnings.insert(1, warning("/dev".to_owned(), "a device"));
        warnings.push(warning("/dev2".to_owned(), "a device"));
        let lens: Vec<usize> = kinds(&warnings).iter().map(Vec::len).collect();
        assert_eq!(lens, [5000, 1, 1]);
    }
}
