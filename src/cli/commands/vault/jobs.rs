//! `lockstone vault jobs`.

use super::{ServerArgs, damage_documents, warn_of_damage};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::job::{OperatorJobDocument, OperatorJobsDocument};
use crate::operator::jobs::{self, ServerJob};
use crate::text::point::short;
use crate::text::render;

pub(super) fn run(context: &Context, args: &ServerArgs) -> Outcome {
    let listed = jobs::list(&context.environment, &args.url, args.server.as_deref());
    let (jobs, damaged) = context.block_on(listed)?;
    let document = |job: &ServerJob| OperatorJobDocument::new(job.job, &job.server, job.point, &job.record);
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
    vec![
        job.job.hex()[..8].to_owned(),
        render::name(job.server.as_bytes()),
        record.kind().to_string(),
        render::local_time(record.started_s),
        record.state().to_string(),
        render::count(record.files),
        render::bytes(record.bytes),
        render::bytes(record.stored_bytes),
        job.point.as_ref().map(short).unwrap_or_default(),
    ]
}
