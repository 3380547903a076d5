//! `lockstone jobs …`: this server's own jobs, and stopping the one that runs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::{self, JobRecord};
use crate::agent::state::lock;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List the jobs of this server, newest first
    List(ListArgs),
    /// Show one job
    Show(JobArgs),
    /// Cancel the job that runs
    Cancel(JobArgs),
}

/// Options of `jobs list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Not more than this many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// Which job.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job's id, or the beginning of it
    pub(crate) job: String,
}

/// Runs a jobs command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn run(context: &Context, command: JobsCommand) -> Outcome {
    let home = StateFolder::locate()?;
    match command {
        JobsCommand::List(args) => list(context, &home, &args),
        JobsCommand::Show(args) => show(context, &home, &args.job),
        JobsCommand::Cancel(args) => cancel(context, &home, &args.job),
    }
}

fn list(context: &Context, home: &StateFolder, args: &ListArgs) -> Outcome {
    let mut jobs = job_records::all(home)?;
    jobs.truncate(args.limit.unwrap_or(usize::MAX));
    context.out.document(&json!({ "jobs": jobs }));
    if jobs.is_empty() {
        context.out.line("no jobs yet");
        return Ok(Exit::Done);
    }
    let row = |job: &JobRecord| {
        let mut id = job.job.hex();
        id.truncate(8);
        let about = match (&job.error, job.point) {
            (Some(error), _) => error["message"].as_str().unwrap_or("").to_owned(),
            (None, Some(point)) => format!("point {}", crate::text::point::short(&point)),
            (None, None) => String::new(),
        };
        vec![
            id,
            job.kind.to_string(),
            started(job),
            took(job),
            job.state.to_string(),
            render::name(about.as_bytes()),
        ]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    context.out.text(&render::table(
        &["JOB", "KIND", "STARTED", "TOOK", "STATUS", "ABOUT"],
        &rows,
        &[3],
    ));
    Ok(Exit::Done)
}

fn started(job: &JobRecord) -> String {
    job.started
        .parse::<jiff::Timestamp>()
        .map_or_else(|_| job.started.clone(), |time| render::local_time(time.as_second()))
}

fn took(job: &JobRecord) -> String {
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    match (time(&job.started), job.ended.as_deref().and_then(time)) {
        (Some(from), Some(to)) => to
            .duration_since(from)
            .try_into()
            .map_or_else(|_| "-".to_owned(), render::duration),
        _ => "-".to_owned(),
    }
}

fn show(context: &Context, home: &StateFolder, id: &str) -> Outcome {
    let job = job_records::find(home, id)?;
    context.out.document(&json!(job));
    context
        .out
        .line(format!("Job {} ({}), {}", job.job, job.kind, job.state));
    context.out.line(format!("  started  {}", started(&job)));
    if job.ended.is_some() {
        context.out.line(format!("  took     {}", took(&job)));
    } else if job.runs() {
        context.out.line(format!("  process  {}", job.pid));
    }
    for (name, value) in &job.request {
        context.out.line(format!("  {name:<8} {}", text(value)));
    }
    if let Some(point) = job.point {
        context.out.line(format!("  point    {point}"));
    }
    if let Some(error) = &job.error {
        context.out.line(format!("  error    {}", text(&error["message"])));
    }
    for (name, value) in &job.report {
        let said = matches!(name.as_str(), "job" | "point" | "status" | "error" | "warnings");
        if !said && !value.is_array() && !value.is_object() {
            context.out.line(format!("  {name:<20} {}", text(value)));
        }
    }
    for warning in job
        .report
        .get("warnings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        context.out.line(format!(
            "  warning  {}: {}",
            text(&warning["path"]),
            text(&warning["message"])
        ));
    }
    Ok(Exit::Done)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => render::name(text.as_bytes()),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn cancel(context: &Context, home: &StateFolder, id: &str) -> Outcome {
    let job = job_records::find(home, id)?;
    let holder = lock::holder(home)?.filter(|holder| holder.job == job.job);
    let Some(holder) = holder else {
        let message = format!("job {} does not run: it is {}", job.job, job.state);
        return Err(Failure::failed("not-running", message, "see `lockstone jobs list`"));
    };
    lock::cancel(&holder)?;
    context.out.document(&json!({ "job": job.job, "cancelled": true }));
    context
        .out
        .line(format!("Cancelling {} {}; what is committed stays", job.kind, job.job));
    Ok(Exit::Done)
}
