//! `lockstone jobs …`: this server's own jobs.

mod cancel;
mod list;
mod show;

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::JobRecord;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::text::render;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List the jobs of this server, newest first
    List(list::ListArgs),
    /// Show one job
    Show(JobArgs),
    /// Cancel the job that runs
    Cancel(JobArgs),
}

/// Which job.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job's id, or the beginning of it
    job: String,
}

pub(crate) fn run(context: &Context, command: JobsCommand) -> Outcome {
    let state = StateFolder::locate()?;
    match command {
        JobsCommand::List(args) => list::run(context, &state, &args),
        JobsCommand::Show(args) => show::run(context, &state, &args.job),
        JobsCommand::Cancel(args) => cancel::run(context, &state, &args.job),
    }
}

/// When the job started, for people.
fn started(job: &JobRecord) -> String {
    let time = job.started.parse::<Timestamp>();
    time.map_or_else(|_| job.started.clone(), |time| render::local_time(time.as_second()))
}

/// How long the job took, for people; `-` if it has not ended. A report has the time by a clock that is never set.
fn took(job: &JobRecord) -> String {
    let reported = job.report.get("duration_seconds").and_then(Value::as_f64);
    if let Some(took) = reported.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        return render::duration(took);
    }
    let time = |text: &str| text.parse::<Timestamp>().ok();
    match (time(&job.started), job.ended.as_deref().and_then(time)) {
        (Some(from), Some(to)) => {
            let took = to.duration_since(from).try_into();
            took.map_or_else(|_| "-".to_owned(), render::duration)
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lockstone_proto::ids::JobId;
    use lockstone_proto::job::JobKind;
    use serde_json::Map;

    use super::*;

    #[test]
    fn a_clock_that_is_set_while_a_job_runs_does_not_change_how_long_it_took() {
        let mut job = JobRecord::start(JobId([1; 16]), JobKind::Backup, Map::new());
        assert_eq!(took(&job), "-");
        job.started = "2026-11-22T03:00:00Z".to_owned();
        job.ended = Some("2026-11-22T03:04:05Z".to_owned());
        assert_eq!(took(&job), "4 min 05 s");
        job.report.insert("duration_seconds".to_owned(), 42.0.into());
        for ended in ["2026-11-22T02:00:00Z", "2026-12-22T03:00:00Z"] {
            job.ended = Some(ended.to_owned());
            assert_eq!(took(&job), "42.0 s");
        }
        job.report.clear();
        job.ended = Some("2026-11-22T02:00:00Z".to_owned());
        assert_eq!(took(&job), "-");
    }
}
