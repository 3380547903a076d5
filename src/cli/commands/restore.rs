//! `lockstone restore POINT [PATH…]`: gives files back, to this server or another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lockstone_actors::{Conflict, JobContext, JobStatus, Progress, RestoreReport, RestoreRequest, RestoreTo};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use serde_json::{Map, Value, json};
use tracing::Level;

use super::look::find_path;
use super::points::short;
use super::report::{self, Ending, Running};
use crate::agent::jobs;
use crate::agent::session::Session;
use crate::cli::Context;
use crate::cli::args::Access;
use crate::cli::log::say;
use crate::cli::output::Outcome;
use crate::cli::progress::Display;
use crate::cli::tuning::TuningArgs;
use crate::cli::watch::WatchArgs;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// Options of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Recovery point: an id, a unique prefix of 6 or more digits, or `latest`
    pub point: String,
    /// Files and folders to restore; everything otherwise
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Restore below this folder: /a/b becomes DIR/a/b
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "original",
        required_unless_present = "original"
    )]
    pub target: Option<PathBuf>,
    /// Restore to where the files were
    #[arg(long)]
    pub original: bool,
    /// What to do with a file that is there already and differs [default: copy to the original place, else overwrite]
    #[arg(long, value_enum, value_name = "RULE")]
    pub on_conflict: Option<OnConflict>,
    /// Leave access control lists out
    #[arg(long)]
    pub skip_acls: bool,
    /// Read back and compare what was written
    #[arg(long)]
    pub verify: bool,
    /// Say what would be written, and write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub watch: WatchArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub access: Access,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub tuning: TuningArgs,
}

/// What to do with a file that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    /// Keep it, and restore beside it as `name (lockstone DATE).ext`
    Copy,
    /// Replace it
    Overwrite,
    /// Keep it, and restore nothing there
    Skip,
}

/// Runs the command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub fn run(context: &Context, args: RestoreArgs) -> Outcome {
    let tuning = context.tuned(&args.tuning)?;
    let target = match &args.target {
        Some(target) => RestoreTo::Folder(absolute(target)?),
        None => RestoreTo::Original,
    };
    let conflict = match (args.on_conflict, &target) {
        (Some(OnConflict::Copy), _) | (None, RestoreTo::Original) => Conflict::Copy,
        (Some(OnConflict::Overwrite), _) | (None, RestoreTo::Folder(_)) => Conflict::Overwrite,
        (Some(OnConflict::Skip), _) => Conflict::Skip,
    };
    let (home, whose) = Session::for_job(&args.access)?;
    let running = Running::begin(context, &home, JobKind::Restore, asked(&args), &args.watch)?;
    let prepared = (|| {
        let session = Session::open_for(context, &home, &whose)?;
        let view = session.view(context)?;
        let point = session.point(&view, &args.point)?.clone();
        let mut paths = Vec::new();
        for path in &args.paths {
            // Only a path that leads to something is asked for, so nothing is written before all are known.
            paths.push(find_path(context, &session, &point, path)?.0);
        }
        if let (RestoreTo::Folder(folder), false) = (&target, args.dry_run) {
            std::fs::create_dir_all(folder).map_err(|error| {
                Failure::failed(
                    "target",
                    format!("cannot make {}: {error}", folder.display()),
                    "name another --target",
                )
            })?;
        }
        Ok((session, point, paths))
    })();
    let (session, point, paths) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return Err(running.failed(context, failure)),
    };
    if point.forgotten.is_some() {
        context.out.note(format!(
            "recovery point {} is deleted; what is left of it is restored",
            short(&point.id)
        ));
    }
    let progress = Arc::new(Progress::new());
    running.announce(context, &session, &progress);
    let id = point.id;
    let copy_stamp = render::name_stamp(point.summary.started_s);
    let request = RestoreRequest {
        job: running.id(),
        point,
        paths,
        to: target.clone(),
        conflict,
        skip_acls: args.skip_acls,
        verify: args.verify,
        dry_run: args.dry_run,
        copy_stamp,
    };
    let display = Display::start(context, "restore", Arc::clone(&progress));
    let job = JobContext {
        domain: Arc::clone(&session.domain),
        tuning,
        metrics: Arc::clone(&context.numbers),
        progress,
        cancel: context.cancel.clone(),
    };
    let report = lockstone_actors::restore(job, request);
    drop(display);

    let failure = report.error.clone().map(Failure::from).or_else(|| lost(&report));
    let value = report_value(running.id(), &args, &report, failure.as_ref());
    running.end(
        context,
        Some(&session),
        &Ending {
            status: report.status,
            error: failure.as_ref(),
            point: Some(id),
            report: &value,
            figures: [report.files, report.bytes, 0, report.warnings_total],
            restarts: report.restarts,
        },
    );
    report::show_warnings(context, &report.warnings, report.warnings_total);
    context.out.document(&Value::Object(value));
    match report.status {
        JobStatus::Completed | JobStatus::CompletedWithWarnings => summary(context, &args, &target, &report),
        JobStatus::Cancelled => say(
            Level::WARN,
            "cancelled; what was restored stays, and no file is half there",
        ),
        JobStatus::Failed => {}
    }
    if let (Some(failure), false) = (&failure, report.status == JobStatus::Cancelled) {
        say(Level::ERROR, &failure.to_string());
    }
    Ok(report::exit_of(report.status, failure.as_ref()))
}

/// What damage in the vault cost is no mere warning, even though the rest was restored.
fn lost(report: &RestoreReport) -> Option<Failure> {
    let what = render::counted(report.damaged, "file or folder", "files and folders");
    let message = format!("{what} could not be restored: the vault is damaged");
    let hint = "the rest was restored; `lockstone check --read-data` names all damage, and another point may be whole";
    (report.damaged > 0).then(|| Failure::new(Exit::Damaged, "damaged", message, hint))
}

fn absolute(target: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(target).map_err(|error| Failure::usage(format!("--target {}: {error}", target.display()), ""))
}

fn asked(args: &RestoreArgs) -> Map<String, Value> {
    let mut asked = jobs::request(&args.paths);
    asked.insert("point".to_owned(), json!(args.point));
    let target = args
        .target
        .as_ref()
        .map_or_else(|| "the original place".to_owned(), |t| t.display().to_string());
    asked.insert("target".to_owned(), json!(target));
    asked
}

fn report_value(
    job: JobId,
    args: &RestoreArgs,
    report: &RestoreReport,
    failure: Option<&Failure>,
) -> Map<String, Value> {
    let value = json!({
        "job": job,
        "status": report.status.word(),
        "dry_run": args.dry_run,
        "files": report.files,
        "folders": report.folders,
        "bytes": report.bytes,
        "bytes_fetched": report.bytes_fetched,
        "bytes_written": report.bytes_written,
        "skipped": report.skipped,
        "copies": report.copies,
        "unchanged": report.unchanged,
        "damaged": report.damaged,
        "restarts": report.restarts,
        "duration_seconds": report.duration.as_secs_f64(),
        "warnings_total": report.warnings_total,
        "warnings": report::warnings_value(&report.warnings),
    });
    let mut members = match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    if args.dry_run {
        let would = |path: &Vec<u8>| {
            let mut value = Map::new();
            render::put_path(&mut value, path);
            Value::Object(value)
        };
        members.insert("would".to_owned(), report.would.iter().map(would).collect());
    }
    if let Some(failure) = failure {
        members.insert("error".to_owned(), failure.json());
    }
    members
}

fn summary(context: &Context, args: &RestoreArgs, target: &RestoreTo, report: &RestoreReport) {
    let out = &context.out;
    let place = match target {
        RestoreTo::Folder(folder) => format!("{}", folder.display()),
        RestoreTo::Original => "the original place".to_owned(),
    };
    if args.dry_run {
        for path in &report.would {
            out.line(render::name(path));
        }
        out.line(format!(
            "Would restore {} ({}) to {place}; nothing was written",
            render::counted(report.files, "file", "files"),
            render::bytes(report.bytes)
        ));
        return;
    }
    out.line(format!(
        "Restored {} in {} ({}) to {place}",
        render::counted(report.files, "file", "files"),
        render::counted(report.folders, "folder", "folders"),
        render::bytes(report.bytes)
    ));
    out.line(format!(
        "  fetched  {}, wrote {}",
        render::bytes(report.bytes_fetched),
        render::bytes(report.bytes_written)
    ));
    for (n, what) in [
        (report.unchanged, "were there already, as they should be"),
        (report.copies, "put beside files that differ"),
        (report.skipped, "left as they were"),
    ] {
        if n > 0 {
            out.line(format!("  files    {} {what}", render::count(n)));
        }
    }
    if args.verify {
        out.line("  verified what was written, by reading it back");
    }
    if report.warnings_total > 0 {
        out.line(format!(
            "  look at  {}, above",
            render::counted(report.warnings_total, "warning", "warnings")
        ));
    }
    out.line(format!(
        "  time     {} ({})",
        render::duration(report.duration),
        render::rate(report.bytes, report.duration)
    ));
}
