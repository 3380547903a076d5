//! `lockstone backup PATH…`: from the paths a person named to a recovery point.

mod left_out;
mod summary;
mod what;

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use lockstone_actors::FileChange;
use lockstone_proto::job::JobState;
use tracing::Level;

use self::left_out::LeftOutArgs;
use self::what::{Snapshot, WhatArgs, ordered};
use crate::agent::alerts;
use crate::agent::jobs::backup::Backup;
use crate::cli::context::Context;
use crate::cli::job::{self, exit_of, show_warnings};
use crate::cli::log::say;
use crate::cli::metrics_export::MetricsArgs;
use crate::cli::output::{Outcome, stderr_is_terminal};
use crate::cli::tuning::TuningArgs;
use crate::failure::Failure;
use crate::text::{render, units};

/// Options of `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) what: WhatArgs,
    #[command(flatten)]
    pub(crate) left_out: LeftOutArgs,
    /// Keep the recovery point until this date (2027-01-31, or RFC 3339); until it is deleted otherwise
    #[arg(long, value_name = "DATE", value_parser = units::moment)]
    pub(crate) retain_until: Option<i64>,
    /// A note to find the recovery point by; the operator can read it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) label: String,
    /// A word of your own to find the recovery point by (repeatable); the operator can read it
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Only compare the files with the last recovery point and count them: nothing is read or stored
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print a line for each new or changed file on stderr
    #[arg(short, long)]
    pub(crate) verbose: bool,
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

pub(crate) fn run(context: &Context, args: BackupArgs) -> Outcome {
    let tuning = args.tuning.tuning()?;
    args.tuning.lower_priority()?;
    context.environment.follow_throttle(args.tuning.throttle_overrides())?;
    let expires_s = expiry(args.retain_until)?;
    let mut order = ordered(context, &args.what, tuning)?;
    args.left_out.apply(&mut order)?;
    if args.snapshot != Snapshot::Auto {
        for source in &mut order.sources {
            source.options.snapshot = args.snapshot.into();
        }
    }
    order.expires_s = expires_s;
    order.label = args.label;
    order.tags = args.tags;
    order.full = args.full;
    order.dry_run = args.dry_run;
    if args.verbose && !context.out.quiet {
        order.on_file = Some(Arc::new(show_file));
    }
    let (full, dry_run) = (args.full, args.dry_run);
    let is_by_policy = order.policy.is_some();
    let backup = match Backup::prepare(&context.environment, order) {
        Ok(backup) => backup,
        Err(failure) => {
            if is_by_policy {
                context.block_on(alerts::not_begun(&context.environment, &failure));
            }
            return Err(failure);
        }
    };
    let sources = backup.sources();
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
            if dry_run {
                summary::show_dry_run(&context.out, report, &sources, full);
            } else {
                summary::show(&context.out, report, &sources, &finished.vault_url, full);
            }
        }
        (_, Some(failure)) => say(Level::ERROR, &failure.to_string()),
        (_, None) => {}
    }
    Ok(exit_of(ending))
}

/// The line of `--verbose` about a file.
fn show_file(change: FileChange, path: &[u8]) {
    let word = match change {
        FileChange::New => "new",
        FileChange::Changed => "changed",
    };
    // On a terminal the line takes the place of the progress display, which is drawn again.
    let clear = if stderr_is_terminal() { "\r\x1b[K" } else { "" };
    say(Level::INFO, &format!("{clear}{word:<8}{}", render::name(path)));
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
