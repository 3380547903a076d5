//! `lockstone jobs list`.

use clap::Args;

use super::{started, took};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::{self, JobRecord};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::job::JobsDocument;
use crate::failure::Exit;
use crate::text::point::short;
use crate::text::render;

/// Options of `jobs list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Not more than this many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) fn run(context: &Context, state: &StateFolder, args: &ListArgs) -> Outcome {
    let mut jobs = job_records::all(state)?;
    jobs.truncate(args.limit.unwrap_or(usize::MAX));
    context.out.document(&JobsDocument { jobs: &jobs });
    if jobs.is_empty() {
        context.out.line("no jobs yet");
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    let head = ["JOB", "KIND", "STARTED", "TOOK", "STATUS", "ABOUT"];
    context.out.text(&render::table(&head, &rows, &[3]));
    Ok(Exit::Done)
}

fn row(job: &JobRecord) -> Vec<String> {
    let about = match (&job.error, job.point) {
        (Some(error), _) => error.message.clone(),
        (None, Some(point)) => format!("point {}", short(&point)),
        (None, None) => String::new(),
    };
    vec![
        job.job.hex()[..8].to_owned(),
        job.kind.to_string(),
        started(job),
        took(job),
        job.state.to_string(),
        render::name(about.as_bytes()),
    ]
}
