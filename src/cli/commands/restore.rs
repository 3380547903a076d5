//! `lockstone restore POINT [PATH…]`: gives files back, to this server or another.

mod summary;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lockstone_actors::{Conflict, RestoreTo};
use lockstone_proto::job::JobState;
use tracing::Level;

use crate::agent::excludes;
use crate::agent::jobs::restore::{Restore, RestoreOrder};
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::job::{self, exit_of, show_warnings};
use crate::cli::log::say;
use crate::cli::metrics_export::MetricsArgs;
use crate::cli::output::Outcome;
use crate::cli::tuning::TuningArgs;
use crate::failure::Failure;

/// Options of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Recovery point: an id, a unique prefix of 6 or more digits, or `latest`
    pub(crate) point: String,
    /// Files and folders to restore; everything otherwise
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Restore below this folder: /a/b becomes DIR/a/b
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "original",
        required_unless_present = "original"
    )]
    pub(crate) target: Option<PathBuf>,
    /// Restore to where the files were
    #[arg(long)]
    pub(crate) original: bool,
    /// What to do with a file that is there already and differs [default: copy to the original place, else overwrite]
    #[arg(long, value_enum, value_name = "RULE")]
    pub(crate) on_conflict: Option<OnConflict>,
    /// Restore only what matches this glob, written as in a .gitignore, and what is in folders that do (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave out what matches this glob, written as in a .gitignore (repeatable)
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Remove from the folders that are restored what the recovery point does not have; see it first with --dry-run
    #[arg(long)]
    pub(crate) delete: bool,
    /// Leave access control lists out of folders; single files always get theirs
    #[arg(long)]
    pub(crate) skip_acls: bool,
    /// Read back and compare what was written
    #[arg(long)]
    pub(crate) verify: bool,
    /// Call the restore complete before everything is on the disk; faster, but a power cut may then cost it
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Say what would be written, and write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) tuning: TuningArgs,
}

/// What to do with a file that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnConflict {
    /// Keep it, and restore beside it as `name (lockstone DATE).ext`
    Copy,
    /// Replace it
    Overwrite,
    /// Keep it, and restore nothing there
    Skip,
}

pub(crate) fn run(context: &Context, args: RestoreArgs) -> Outcome {
    let tuning = args.tuning.tuning()?;
    args.tuning.lower_priority()?;
    context.environment.follow_throttle(args.tuning.throttle_overrides())?;
    let to = match &args.target {
        Some(target) => RestoreTo::Folder(absolute(target)?),
        None => RestoreTo::Original,
    };
    let from = excludes::Place::here();
    let patterns = |globs: &[String]| globs.iter().map(|text| from.option(text)).collect();
    let order = RestoreOrder {
        point: args.point,
        paths: args.paths,
        include: patterns(&args.include),
        exclude: patterns(&args.exclude),
        delete: args.delete,
        to: to.clone(),
        conflict: conflict(args.on_conflict, &to),
        skip_acls: args.skip_acls,
        verify: args.verify,
        sync: !args.no_sync,
        dry_run: args.dry_run,
        tuning,
    };
    let restore = Restore::prepare(&args.access.access(), order)?;
    let finished = job::run(context, &args.metrics, restore)?;
    let (report, ending) = (&finished.report, &finished.ending);
    show_warnings(context, &report.warnings, report.warnings_total);
    context.out.document(&ending.document);
    match ending.state {
        JobState::Completed | JobState::CompletedWithWarnings if context.out.quiet => {}
        JobState::Completed | JobState::CompletedWithWarnings => {
            summary::show(&context.out, report, &to, args.dry_run, args.verify);
        }
        JobState::Cancelled => {
            let message = "cancelled; what was restored stays, and no file is half there";
            say(Level::WARN, message);
        }
        JobState::Failed | JobState::Queued | JobState::Running | JobState::Cancelling => {}
    }
    if let (Some(failure), false) = (&ending.failure, ending.state == JobState::Cancelled) {
        say(Level::ERROR, &failure.to_string());
    }
    Ok(exit_of(ending))
}

/// What to do with a file that is in the way: to the original place, copy; elsewhere, overwrite; unless it was said.
fn conflict(on_conflict: Option<OnConflict>, to: &RestoreTo) -> Conflict {
    match (on_conflict, to) {
        (Some(OnConflict::Copy), _) | (None, RestoreTo::Original) => Conflict::Copy,
        (Some(OnConflict::Overwrite), _) | (None, RestoreTo::Folder(_)) => Conflict::Overwrite,
        (Some(OnConflict::Skip), _) => Conflict::Skip,
    }
}

fn absolute(target: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(target).map_err(|error| {
        Failure::usage(
            format!("--target {}: {error}", target.display()),
            "name a folder that is there, or that can be made",
        )
    })
}
