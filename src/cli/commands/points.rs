//! `lockstone points …`: the list of recovery points, deleting and undeleting them. Looking into them is in `look`.

use clap::{Args, Subcommand};
use lockstone_proto::ids::PointId;
use lockstone_proto::vault::{Consistency, PointStatus, PointSummary};
use lockstone_vault::log::{LogView, Point};
use serde_json::{Map, Value, json};

use super::look;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::ids::new_job_id;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::render;

/// What to do with recovery points.
#[derive(Debug, Subcommand)]
pub(crate) enum PointsCommand {
    /// List recovery points, oldest first
    List(ListArgs),
    /// List what is in a recovery point
    Ls(look::LsArgs),
    /// Compare two recovery points
    Diff(look::DiffArgs),
    /// Find files by name in recovery points
    Find(look::FindArgs),
    /// Delete recovery points (can be undone for the vault's soft-delete days)
    Delete(ChooseArgs),
    /// Undo the deletion of recovery points
    Undelete(ChooseArgs),
}

/// Options of `points list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this server (a name, or a server id); all servers of the domain otherwise
    #[arg(long, value_name = "SERVER")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Options of `points delete` and `points undelete`.
#[derive(Debug, Args)]
pub(crate) struct ChooseArgs {
    /// Recovery points: ids, unique prefixes of 6 or more digits, or `latest`
    #[arg(required = true, value_name = "POINT")]
    pub(crate) points: Vec<String>,
}

/// Runs a points command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn run(context: &Context, command: PointsCommand) -> Outcome {
    match command {
        PointsCommand::List(args) => list(context, &args),
        PointsCommand::Ls(args) => look::ls(context, &args),
        PointsCommand::Diff(args) => look::diff(context, &args),
        PointsCommand::Find(args) => look::find(context, &args),
        PointsCommand::Delete(args) => choose(context, &args, Choice::Delete),
        PointsCommand::Undelete(args) => choose(context, &args, Choice::Undelete),
    }
}

fn list(context: &Context, args: &ListArgs) -> Outcome {
    let session = context.block_on(Session::to_read(&context.environment, &args.access.access()))?;
    let view = context.block_on(session.view(&context.environment))?;
    let wanted = |point: &&Point| {
        args.server
            .as_ref()
            .is_none_or(|name| session.is_named(point.server, name))
    };
    let points: Vec<&Point> = view.points.iter().filter(wanted).collect();
    let values: Vec<Value> = points.iter().map(|point| point_value(&session, point)).collect();
    context.out.document(&json!({ "points": values }));
    if points.is_empty() {
        context.out.line("no recovery points yet");
        return Ok(reading_exit(&view));
    }
    let rows: Vec<Vec<String>> = points.iter().map(|point| point_row(&session, point)).collect();
    let head = [
        "POINT", "TIME", "SERVER", "FILES", "SIZE", "STORED", "STATUS", "SOURCES",
    ];
    context.out.text(&render::table(&head, &rows, &[3, 4, 5]));
    Ok(reading_exit(&view))
}

/// How a command that only read ends: damage somewhere in the vault is a warning, a log that cannot be read to its end
/// is more, as there may be points that nobody sees.
pub(crate) fn reading_exit(view: &LogView) -> Exit {
    match (view.log_damaged, view.damage.is_empty()) {
        (true, _) => Exit::Damaged,
        (false, false) => Exit::Warnings,
        (false, true) => Exit::Done,
    }
}

fn point_row(session: &Session, point: &Point) -> Vec<String> {
    let sources: Vec<String> = point.body.sources.iter().map(|source| render::name(source)).collect();
    let mut state = status_word(&point.summary).to_owned();
    if consistency_word(&point.summary) == "snapshot" {
        state.push_str(", snapshot");
    }
    if point.forgotten.is_some() {
        state.push_str(", deleted");
    }
    let mut last = sources.join(" ");
    if !point.summary.label.is_empty() {
        last.push_str(&format!("  ({})", render::name(point.summary.label.as_bytes())));
    }
    vec![
        short(&point.id),
        render::local_time(point.summary.started_s),
        render::name(session.server_name(point.server).as_bytes()),
        render::count(point.summary.files),
        render::bytes(point.summary.bytes),
        render::bytes(point.summary.stored_bytes),
        state,
        last,
    ]
}

fn point_value(session: &Session, point: &Point) -> Value {
    let mut value = summary_value(&point.id, &session.server_name(point.server), &point.summary);
    value.insert(
        "sources".to_owned(),
        point.body.sources.iter().map(|source| render::lossy(source)).collect(),
    );
    value.insert("warnings".to_owned(), json!(point.body.warnings));
    value.insert(
        "deleted".to_owned(),
        point.forgotten.map_or(Value::Null, |at| json!(render::utc_time(at, 0))),
    );
    Value::Object(value)
}

/// What everybody who may list points sees of one, the operator too.
pub(crate) fn summary_value(id: &PointId, server: &str, summary: &PointSummary) -> Map<String, Value> {
    let value = json!({
        "id": id,
        "time": render::utc_time(summary.started_s, summary.started_ns),
        "server": server,
        "files": summary.files,
        "folders": summary.folders,
        "bytes": summary.bytes,
        "stored_bytes": summary.stored_bytes,
        "status": status_word(summary),
        "consistency": consistency_word(summary),
        "tags": summary.tags,
        "label": summary.label,
        "expires": render::utc_or_null(summary.expires_s),
    });
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The status of a point, by the contract.
pub(crate) fn status_word(summary: &PointSummary) -> &'static str {
    match summary.status() {
        PointStatus::Completed => "Completed",
        PointStatus::CompletedWithWarnings => "CompletedWithWarnings",
        PointStatus::Unspecified => "Unknown",
    }
}

/// The consistency of a point, by the contract.
pub(crate) fn consistency_word(summary: &PointSummary) -> &'static str {
    match summary.consistency() {
        Consistency::Snapshot => "snapshot",
        Consistency::Live => "live",
        Consistency::Unspecified => "unknown",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Delete,
    Undelete,
}

fn choose(context: &Context, args: &ChooseArgs, choice: Choice) -> Outcome {
    let (purpose, done) = match choice {
        Choice::Delete => (Purpose::Delete, "deleted"),
        Choice::Undelete => (Purpose::Undelete, "undeleted"),
    };
    let (home, agent) = registered()?;
    let _lock = context.block_on(JobLock::take(&home, new_job_id()?, purpose.clone()))?;
    let session = context.block_on(Session::open(&context.environment, &home, &agent))?;
    let view = context.block_on(session.view(&context.environment))?;
    // All of them are found before any is touched.
    let mut chosen: Vec<&Point> = Vec::new();
    for name in &args.points {
        let point = session.point(&view, name)?;
        if !session.is_own(point.server) {
            let message = format!(
                "recovery point {} is of server {}",
                point.id,
                session.server_name(point.server)
            );
            return Err(Failure::refused(
                "not-permitted",
                message,
                format!("{purpose} it on that server"),
            ));
        }
        if chosen.iter().all(|known| known.id != point.id) {
            chosen.push(point);
        }
    }
    let deleted_already = |point: &Point| point.forgotten.is_some();
    let change: Vec<PointId> = chosen
        .iter()
        .filter(|point| deleted_already(point) != (choice == Choice::Delete))
        .map(|point| point.id)
        .collect();
    if !change.is_empty() {
        let now = jiff::Timestamp::now();
        let work = async {
            match choice {
                Choice::Delete => session.domain.forget(&change, now).await,
                Choice::Undelete => session.domain.undelete(&change, now).await,
            }
        };
        context.block_on(work)?;
    }
    let ids: Vec<PointId> = chosen.iter().map(|point| point.id).collect();
    context.out.document(&json!({ done: ids }));
    for point in chosen {
        let already = if change.contains(&point.id) { "" } else { " already" };
        context.out.line(format!(
            "{}{already} {done}  ({})",
            short(&point.id),
            render::local_time(point.summary.started_s)
        ));
    }
    if choice == Choice::Delete && !change.is_empty() {
        let days = session.vault.descriptor().soft_delete_days;
        context.out.line(format!(
            "Until {} has passed, `lockstone points undelete` brings them back.",
            render::counted(u64::from(days), "day", "days")
        ));
    }
    Ok(Exit::Done)
}
