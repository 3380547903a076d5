//! `lockstone vault jobs`.

use clap::Args;
use lockstone_proto::job::JobState;

use super::{damage_documents, warn_of_damage};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::job::{OperatorJobDocument, OperatorJobsDocument};
use crate::operator::jobs::{self, ServerJob, Wanted};
use crate::text::point::short;
use crate::text::{render, units};

/// Options of `vault jobs`.
#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    url: String,
    /// Only this server (a name, or an id)
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Only jobs in this state, such as Running or Failed
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<JobState>,
    /// Only jobs that began at that time or later
    #[arg(long, value_name = "DATE", value_parser = units::since)]
    since: Option<i64>,
    /// Only the newest so many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

/// A state by its word, whatever the case of its letters.
fn state(word: &str) -> Result<JobState, String> {
    let found = JobState::ALL
        .into_iter()
        .find(|state| state.word().eq_ignore_ascii_case(word));
    found.ok_or_else(|| {
        let words: Vec<&str> = JobState::ALL.iter().map(|state| state.word()).collect();
        format!("{word:?} is not a state of a job; use one of {}", words.join(", "))
    })
}

pub(super) fn run(context: &Context, args: &JobsArgs) -> Outcome {
    let wanted = Wanted {
        server: args.server.as_deref(),
        state: args.state,
        since: args.since,
        limit: args.limit,
    };
    let (jobs, damaged) = context.block_on(jobs::list(&context.environment, &args.url, &wanted))?;
    let document = |job: &ServerJob| {
        let by = (job.server.as_str(), job.credentials);
        OperatorJobDocument::new(job.job, by, job.point, &job.record)
    };
    context.out.document(&OperatorJobsDocument {
        jobs: jobs.iter().map(document).collect(),
        damaged: damage_documents(&damaged),
    });
    let head = [
        "JOB", "SERVER", "KIND", "STARTED", "STATUS", "FILES", "SIZE", "STORED", "POINT",
    ];
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    context.out.text(&render::table(&head, &rows, &[5, 6, 7]));
    Ok(warn_of_damage(context, &damaged))
}

fn row(job: &ServerJob) -> Vec<String> {
    let record = &job.record;
    let name = render::name(job.server.as_bytes());
    let server = match &job.credentials {
        Some(credentials) => format!("{name}, by credentials {}", &credentials.hex()[..8]),
        None => name,
    };
    vec![
        job.job.hex()[..8].to_owned(),
        server,
        record.kind().to_string(),
        render::local_time(record.started_s),
        record.state().to_string(),
        render::count(record.files),
        render::bytes(record.bytes),
        render::bytes(record.stored_bytes),
        job.point.as_ref().map(short).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_known_in_any_case() {
        assert_eq!(state("failed"), Ok(JobState::Failed));
        assert!(state("gone").is_err_and(|why| why.contains("CompletedWithWarnings")));
    }
}
