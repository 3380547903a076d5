//! `lockstone backup PATH…`: from the paths a person named to a recovery point, and the report of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lockstone_actors::{BackupReport, BackupRequest, JobContext, JobStatus, Progress, Warning};
use lockstone_host::snapshot::SnapshotMode;
use lockstone_host::walk::Rules;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use lockstone_proto::vault::Consistency;
use serde_json::{Map, Value, json};
use tracing::Level;

use super::points::short;
use super::report::{self, Ending, Running};
use crate::agent::home::Home;
use crate::agent::jobs;
use crate::agent::registration::Agent;
use crate::agent::session::Session;
use crate::agent::sources::{self, Sources};
use crate::cli::Context;
use crate::cli::log::say;
use crate::cli::output::Outcome;
use crate::cli::progress::Display;
use crate::cli::tuning::TuningArgs;
use crate::cli::watch::WatchArgs;
use crate::failure::Failure;
use crate::text::render;
use crate::text::units;

/// Options of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Files and folders to back up
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Leave out what matches this glob, written as in a .gitignore (repeatable)
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Leave out what matches the globs in this file, one a line (repeatable)
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,
    /// Back up the content of folders marked by a CACHEDIR.TAG, too
    #[arg(long)]
    pub include_caches: bool,
    /// Stay on the file system of each source
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Keep the recovery point until this date (2027-01-31, or RFC 3339); until it is deleted otherwise
    #[arg(long, value_name = "DATE", value_parser = units::moment)]
    pub retain_until: Option<i64>,
    /// A note to find the recovery point by; the operator can read it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub label: String,
    /// Read every file, also those that look unchanged
    #[arg(long)]
    pub full: bool,
    /// Freeze the sources by a snapshot of their volume: where it can be done, never, or fail without
    #[arg(long, value_enum, default_value_t = Snapshot::Auto)]
    pub snapshot: Snapshot,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub watch: WatchArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub tuning: TuningArgs,
}

/// Whether the sources are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Snapshot {
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

/// A label is no longer; the operator's lists stay readable.
const LABEL_MAX: usize = 256;

/// Runs the command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub fn run(context: &Context, args: BackupArgs) -> Outcome {
    let (home, agent) = Session::registered()?;
    // Everything that can be wrong with the request is found before anything is written.
    let expires_s = retention(args.retain_until)?;
    if args.label.len() > LABEL_MAX || args.label.chars().any(char::is_control) {
        return Err(Failure::usage(
            format!("a label is one line of up to {LABEL_MAX} bytes"),
            "",
        ));
    }
    let tuning = context.tuned(&args.tuning)?;
    let sources = sources::resolve(&args.paths)?;
    let rules = rules(context, &args, &home, &agent, &sources)?;

    let running = Running::begin(
        context,
        &home,
        JobKind::Backup,
        jobs::request(&sources.paths),
        &args.watch,
    )?;
    for line in lockstone_host::snapshot::cleanup_leftovers(home.root()) {
        context.out.note(line);
    }
    let session = match Session::open(context, &home, &agent) {
        Ok(session) => session,
        Err(failure) => return Err(running.failed(context, failure)),
    };
    let progress = Arc::new(Progress::new());
    running.announce(context, &session, &progress);

    let request = BackupRequest {
        job: running.id(),
        sources: sources.paths.clone(),
        rules,
        snapshot: args.snapshot.into(),
        state_dir: home.root().to_owned(),
        full: args.full,
        label: args.label.clone(),
        tags: vec!["on-demand".to_owned()],
        expires_s,
    };
    let display = Display::start(context, "backup", Arc::clone(&progress));
    let job = JobContext {
        domain: Arc::clone(&session.domain),
        tuning,
        metrics: Arc::clone(&context.numbers),
        progress,
        cancel: context.cancel.clone(),
    };
    let report = lockstone_actors::backup(job, request);
    drop(display);
    let report = with_warnings(report, &sources);
    finish(context, &session, running, report, &sources.paths)
}

fn retention(until: Option<i64>) -> Result<i64, Failure> {
    match until {
        Some(until) if until <= jiff::Timestamp::now().as_second() => Err(Failure::usage(
            "--retain-until lies in the past",
            "the recovery point would expire at once",
        )),
        Some(until) => Ok(until),
        None => Ok(0),
    }
}

/// What is left out: what the user said, and this program's own folders.
fn rules(
    context: &Context,
    args: &BackupArgs,
    home: &Home,
    agent: &Agent,
    sources: &Sources,
) -> Result<Rules, Failure> {
    let mut globs = args.exclude.clone();
    for file in &args.exclude_from {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(
                format!("cannot read {}: {error}", file.display()),
                "--exclude-from wants a file of globs",
            )
        })?;
        globs.extend(text.lines().map(str::to_owned));
    }
    let mut rules = Rules::new(&globs).map_err(|error| {
        Failure::usage(
            error.to_string(),
            "globs are written as in a .gitignore, such as '*.tmp' or '**/node_modules'",
        )
    })?;
    rules.one_file_system = args.one_file_system;
    rules.honour_cachedir_tag = !args.include_caches;
    let (state, cache) = (home.root().to_owned(), agent.cache(home));
    let vault = context.store(&agent.vault_url)?;
    let mut own: Vec<(&str, &Path)> = vec![("the state folder", &state), ("the cache folder", &cache)];
    if let Some(vault) = vault.local_root() {
        own.insert(0, ("the vault", vault));
    }
    // The walk warns about each of them that it comes to.
    for folder in sources::keep_out(&sources.paths, &own)? {
        rules.exclude_folder(folder);
    }
    Ok(rules)
}

/// What was noticed before the job began belongs to its warnings.
fn with_warnings(mut report: BackupReport, sources: &Sources) -> BackupReport {
    use std::os::unix::ffi::OsStrExt;
    for (path, message) in &sources.warnings {
        let warning = Warning {
            path: path.as_os_str().as_bytes().to_vec(),
            message: message.clone(),
        };
        if !report.warnings.iter().any(|known| known.path == warning.path) {
            report.warnings.insert(0, warning);
            report.warnings_total += 1;
        }
    }
    if report.status == JobStatus::Completed && report.warnings_total > 0 {
        report.status = JobStatus::CompletedWithWarnings;
    }
    report
}

/// Records, document, words, exit code.
fn finish(
    context: &Context,
    session: &Session,
    running: Running,
    report: BackupReport,
    sources: &[PathBuf],
) -> Outcome {
    let failure = report.error.clone().map(Failure::from);
    let value = report_value(running.id(), &report, failure.as_ref());
    let files = report.files_new + report.files_changed + report.files_unchanged;
    running.end(
        context,
        Some(session),
        &Ending {
            status: report.status,
            error: failure.as_ref(),
            point: report.point,
            report: &value,
            figures: [files, report.bytes_scanned, report.bytes_stored, report.warnings_total],
            restarts: report.restarts,
        },
    );
    report::show_warnings(context, &report.warnings, report.warnings_total);
    context.out.document(&Value::Object(value));
    match report.status {
        JobStatus::Completed | JobStatus::CompletedWithWarnings => summary(context, session, &report, sources),
        JobStatus::Cancelled => say(
            Level::WARN,
            "cancelled; the next backup goes on from the last checkpoint",
        ),
        JobStatus::Failed => {
            if let Some(failure) = &failure {
                say(Level::ERROR, &failure.to_string());
            }
        }
    }
    Ok(report::exit_of(report.status, failure.as_ref()))
}

fn report_value(job: JobId, report: &BackupReport, failure: Option<&Failure>) -> Map<String, Value> {
    let value = json!({
        "job": job,
        "point": report.point,
        "status": report.status.word(),
        "consistency": consistency(report),
        "files_new": report.files_new,
        "files_changed": report.files_changed,
        "files_unchanged": report.files_unchanged,
        "files_resumed": report.files_resumed,
        "dirs": report.dirs,
        "bytes_scanned": report.bytes_scanned,
        "bytes_read": report.bytes_read,
        "bytes_new": report.bytes_new,
        "bytes_stored": report.bytes_stored,
        "chunks_new": report.chunks_new,
        "chunks_known": report.chunks_known,
        "sockets_skipped": report.sockets_skipped,
        "duration_seconds": report.duration.as_secs_f64(),
        "throttled_seconds": report.throttled.as_secs_f64(),
        "restarts": report.restarts,
        "warnings_total": report.warnings_total,
        "warnings": report::warnings_value(&report.warnings),
    });
    let mut members = match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    if let Some(failure) = failure {
        members.insert("error".to_owned(), failure.json());
    }
    members
}

fn consistency(report: &BackupReport) -> &'static str {
    match report.consistency {
        Consistency::Snapshot => "snapshot",
        Consistency::Live | Consistency::Unspecified => "live",
    }
}

fn summary(context: &Context, session: &Session, report: &BackupReport, sources: &[PathBuf]) {
    use std::os::unix::ffi::OsStrExt;
    let out = &context.out;
    let Some(point) = report.point else { return };
    let what: Vec<String> = sources
        .iter()
        .map(|source| render::name(source.as_os_str().as_bytes()))
        .collect();
    out.line(format!(
        "Backed up {} to {}",
        what.join(", "),
        session.vault.store().url()
    ));
    let files = report.files_new + report.files_changed + report.files_unchanged;
    out.line(format!(
        "  files    {} in {}: {} new, {} changed, {} unchanged",
        render::count(files),
        render::counted(report.dirs, "folder", "folders"),
        render::count(report.files_new),
        render::count(report.files_changed),
        render::count(report.files_unchanged)
    ));
    if report.files_resumed > 0 {
        let resumed = render::counted(report.files_resumed, "file was", "files were");
        out.line(format!(
            "           {resumed} finished by an interrupted run, and not read again"
        ));
    }
    out.line(format!(
        "  size     {}, of which {} were read and {} were new",
        render::bytes(report.bytes_scanned),
        render::bytes(report.bytes_read),
        render::bytes(report.bytes_new)
    ));
    out.line(format!(
        "  stored   {}{}",
        render::bytes(report.bytes_stored),
        ratio(report.bytes_new, report.bytes_stored)
    ));
    let restarts = match report.restarts {
        0 => String::new(),
        n => format!(", with {}", render::counted(u64::from(n), "restart", "restarts")),
    };
    out.line(format!(
        "  time     {} ({}), {}{restarts}",
        render::duration(report.duration),
        render::rate(report.bytes_scanned, report.duration),
        if report.consistency == Consistency::Snapshot {
            "from a snapshot"
        } else {
            "from live files"
        },
    ));
    if report.sockets_skipped > 0 {
        out.line(format!(
            "  skipped  {}",
            render::counted(report.sockets_skipped, "socket", "sockets")
        ));
    }
    if report.warnings_total > 0 {
        out.line(format!(
            "  look at  {}, above",
            render::counted(report.warnings_total, "warning", "warnings")
        ));
    }
    out.line(format!("Recovery point {} ({point})", short(&point)));
}

/// How much smaller what was stored is than what was new.
fn ratio(new: u64, stored: u64) -> String {
    // Under a MiB the pages of the tree weigh more than the data, and a ratio would say nothing.
    if new < 1 << 20 || stored == 0 {
        return String::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
    let percent = 100.0 * stored as f64 / new as f64;
    format!(" ({percent:.0} % of what was new, compressed and encrypted)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_the_past_is_refused() {
        assert!(retention(Some(1)).is_err());
        assert!(retention(Some(i64::MAX)).is_ok());
        assert!(matches!(retention(None), Ok(0)));
    }

    #[test]
    fn a_ratio_is_only_given_where_it_says_something() {
        assert_eq!(ratio(100, 200), "");
        assert_eq!(
            ratio(4 << 20, 1 << 20),
            " (25 % of what was new, compressed and encrypted)"
        );
    }
}
