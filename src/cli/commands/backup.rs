//! `lockstone backup PATH…`: from the paths a person named to a recovery point.

mod summary;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use lockstone_host::snapshot::SnapshotMode;
use lockstone_host::walk::Pattern;
use lockstone_proto::job::JobState;
use tracing::Level;

use crate::agent::access::right::registered;
use crate::agent::excludes;
use crate::agent::held_policy::InForce;
use crate::agent::jobs::backup::{Backup, BackupOrder, PolicyBackup};
use crate::agent::state::files::read_text;
use crate::cli::context::Context;
use crate::cli::job::{self, exit_of, show_warnings};
use crate::cli::log::say;
use crate::cli::metrics_export::MetricsArgs;
use crate::cli::output::Outcome;
use crate::cli::tuning::TuningArgs;
use crate::failure::Failure;
use crate::policy::{Item, Run, Source};
use crate::text::units;

/// Options of `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Files and folders to back up; without any, the items of the policy
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Do the run of the schedule that was due at this time (RFC 3339), as the scheduler does it
    #[arg(long, value_name = "TIME", conflicts_with_all = ["paths", "retain_until"])]
    pub(crate) scheduled: Option<Timestamp>,
    /// Leave out what matches this glob, written as in a .gitignore (repeatable)
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what matches the globs in this file, one a line (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Back up the content of folders marked by a CACHEDIR.TAG, too
    #[arg(long)]
    pub(crate) include_caches: bool,
    /// Stay on the file system of each source
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Keep the recovery point until this date (2027-01-31, or RFC 3339); until it is deleted otherwise
    #[arg(long, value_name = "DATE", value_parser = units::moment)]
    pub(crate) retain_until: Option<i64>,
    /// A note to find the recovery point by; the operator can read it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) label: String,
    /// Read every file, also those that look unchanged
    #[arg(long)]
    pub(crate) full: bool,
    /// Freeze the sources by a snapshot of their volume: where it can be done, never, or fail without
    #[arg(long, value_enum, default_value_t = Snapshot::Auto)]
    pub(crate) snapshot: Snapshot,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) tuning: TuningArgs,
}

/// Whether the sources are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Snapshot {
    /// Where it can be done
    Auto,
    /// Never
    Off,
    /// Or fail
    Require,
}

impl From<Snapshot> for SnapshotMode {
    fn from(snapshot: Snapshot) -> SnapshotMode {
        match snapshot {
            Snapshot::Auto => SnapshotMode::Auto,
            Snapshot::Off => SnapshotMode::Off,
            Snapshot::Require => SnapshotMode::Require,
        }
    }
}

pub(crate) fn run(context: &Context, args: BackupArgs) -> Outcome {
    let tuning = args.tuning.tuning()?;
    args.tuning.lower_priority()?;
    context.environment.follow_throttle(args.tuning.throttle_overrides())?;
    let mut order = BackupOrder {
        exclude: patterns(&args)?,
        expires_s: expiry(args.retain_until)?,
        snapshot: args.snapshot.into(),
        paths: args.paths,
        include_caches: args.include_caches,
        one_file_system: args.one_file_system,
        label: args.label,
        policy: None,
        full: args.full,
        tuning,
    };
    if order.paths.is_empty() {
        by_policy(&mut order, args.scheduled)?;
    }
    let full = args.full;
    let backup = Backup::prepare(&context.environment, order)?;
    let sources = backup.sources().to_vec();
    let finished = job::run(context, &args.metrics, backup)?;
    let (report, ending) = (&finished.report, &finished.ending);
    show_warnings(context, &report.warnings, report.warnings_total);
    context.out.document(&ending.document);
    match (ending.state, &ending.failure) {
        (JobState::Cancelled, _) => {
            let message = "cancelled; the next backup goes on from the last checkpoint";
            say(Level::WARN, message);
        }
        (JobState::Completed | JobState::CompletedWithWarnings, _) if context.out.quiet => {}
        (JobState::Completed | JobState::CompletedWithWarnings, _) => {
            for (pattern, _) in report.left_out.patterns.iter().filter(|(_, entries)| *entries == 0) {
                say(
                    Level::WARN,
                    &format!("warning: the exclude pattern \"{pattern}\" matched nothing"),
                );
            }
            summary::show(&context.out, report, &sources, &finished.vault_url, full);
        }
        (_, Some(failure)) => say(Level::ERROR, &failure.to_string()),
        (_, None) => {}
    }
    Ok(exit_of(ending))
}

/// Fills in the items of the policy.
fn by_policy(order: &mut BackupOrder, scheduled: Option<Timestamp>) -> Result<(), Failure> {
    let (state, registration) = registered()?;
    let in_force = InForce::required(&state, registration.server_id)?;
    let run = scheduled.map(|at| run_at(&in_force, at)).transpose()?;
    let from = excludes::Place::here();
    for pattern in &in_force.policy.exclude {
        order.exclude.push(from.option(pattern));
    }
    for item in &in_force.policy.items {
        match &item.source {
            Source::Path(path) => {
                for pattern in &item.exclude {
                    let line = excludes::within(path, pattern);
                    let shown = pattern.clone();
                    order.exclude.push(Pattern { line, shown });
                }
                order.paths.push(path.clone());
            }
            Source::Command { name, .. } => {
                let message = format!("the item {name} is a command, which this version cannot back up");
                return Err(Failure::failed("failed", message, "remove it from the policy"));
            }
        }
    }
    options_of_items(order, &in_force.policy.items)?;
    order.policy = Some(PolicyBackup { in_force, run });
    Ok(())
}

/// Takes over the options of the items, which must be the same for all: one backup has one set of them.
fn options_of_items(order: &mut BackupOrder, items: &[Item]) -> Result<(), Failure> {
    let options = |item: &Item| (item.one_file_system, item.include_caches, item.snapshot.clone());
    let Some(first) = items.first().map(options) else {
        return Ok(());
    };
    if items.iter().any(|item| options(item) != first) {
        let message = "the items of the policy differ in one_file_system, include_caches or snapshot, which this \
                       version cannot do in one backup";
        return Err(Failure::failed("failed", message, "give all items the same"));
    }
    let (one_file_system, include_caches, snapshot) = first;
    order.one_file_system |= one_file_system;
    order.include_caches |= include_caches;
    match snapshot.as_deref() {
        Some("off") => order.snapshot = SnapshotMode::Off,
        Some("require") => order.snapshot = SnapshotMode::Require,
        _ => {}
    }
    Ok(())
}

/// The run of the schedule that is due at this time.
fn run_at(in_force: &InForce, at: Timestamp) -> Result<Run, Failure> {
    let schedule = &in_force.policy.schedule;
    let run = schedule.latest(at, at);
    run.ok_or_else(|| {
        Failure::usage(
            format!("no run of the schedule is due at {at}"),
            "`lockstone policy preview` shows when runs are due",
        )
    })
}

/// When the recovery point expires, seconds since the epoch; 0: never.
fn expiry(retain_until: Option<i64>) -> Result<i64, Failure> {
    match retain_until {
        Some(until) if until <= Timestamp::now().as_second() => Err(Failure::usage(
            "--retain-until lies in the past",
            "the recovery point would expire at once",
        )),
        Some(until) => Ok(until),
        None => Ok(0),
    }
}

/// The patterns of `--exclude` and those in the files of `--exclude-from`.
fn patterns(args: &BackupArgs) -> Result<Vec<Pattern>, Failure> {
    let from = excludes::Place::here();
    let mut patterns: Vec<Pattern> = args.exclude.iter().map(|text| from.option(text)).collect();
    for file in &args.exclude_from {
        let text = read_text(file).map_err(|error| {
            let message = format!("cannot read {}: {error}", file.display());
            Failure::usage(message, "`--exclude-from` wants a file of globs, one a line")
        })?;
        patterns.extend(from.file(&text));
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_the_past_is_refused() {
        assert!(expiry(Some(1)).is_err());
        assert!(expiry(Some(i64::MAX)).is_ok());
        assert!(matches!(expiry(None), Ok(0)));
    }
}
