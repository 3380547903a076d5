//! `lockstone jobs …`: this server's own jobs, and stopping the one that runs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::agent::home::Home;
use crate::agent::jobs::{self, Job};
use crate::agent::lock;
use crate::cli::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List the jobs of this server, newest first
    List(ListArgs),
    /// Show one job
    Show(JobArgs),
    /// Cancel the job that runs
    Cancel(JobArgs),
}

/// Options of `jobs list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Not more than this many
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
}

/// Which job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job's id, or the beginning of it
    pub job: String,
}

/// Runs a jobs command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub fn run(context: &Context, command: JobsCommand) -> Outcome {
    let home = Home::locate()?;
    match command {
        JobsCommand::List(args) => list(context, &home, &args),
        JobsCommand::Show(args) => show(context, &home, &args.job),
        JobsCommand::Cancel(args) => cancel(context, &home, &args.job),
    }
}

fn list(context: &Context, home: &Home, args: &ListArgs) -> Outcome {
    let mut jobs = jobs::all(home)?;
    jobs.truncate(args.limit.unwrap_or(usize::MAX));
    context.out.document(&json!({ "jobs": jobs }));
    if jobs.is_empty() {
        context.out.line("no jobs yet");
        return Ok(Exit::Done);
    }
    let row = |job: &Job| {
        let mut id = job.job.hex();
        id.truncate(8);
        let about = match (&job.error, job.point) {
            (Some(error), _) => error["message"].as_str().unwrap_or("").to_owned(),
            (None, Some(point)) => format!("point {}", super::points::short(&point)),
            (None, None) => String::new(),
        };
        vec![
            id,
            job.kind.clone(),
            started(job),
            took(job),
            job.status.clone(),
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

fn started(job: &Job) -> String {
    job.started
        .parse::<jiff::Timestamp>()
        .map_or_else(|_| job.started.clone(), |time| render::local_time(time.as_second()))
}

fn took(job: &Job) -> String {
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    match (time(&job.started), job.ended.as_deref().and_then(time)) {
        (Some(from), Some(to)) => to
            .duration_since(from)
            .try_into()
            .map_or_else(|_| "-".to_owned(), render::duration),
        _ => "-".to_owned(),
    }
}

fn show(context: &Context, home: &Home, id: &str) -> Outcome {
    let job = jobs::find(home, id)?;
    context.out.document(&json!(job));
    context
        .out
        .line(format!("Job {} ({}), {}", job.job, job.kind, job.status));
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

fn cancel(context: &Context, home: &Home, id: &str) -> Outcome {
    let job = jobs::find(home, id)?;
    let holder = lock::holder(home)?.filter(|holder| holder.job == job.job);
    let Some(holder) = holder else {
        let message = format!("job {} does not run: it is {}", job.job, job.status);
        return Err(Failure::failed("not-running", message, "see `lockstone jobs list`"));
    };
    lock::cancel(&holder)?;
    context.out.document(&json!({ "job": job.job, "cancelled": true }));
    context
        .out
        .line(format!("Cancelling {} {}; what is committed stays", job.kind, job.job));
    Ok(Exit::Done)
}
