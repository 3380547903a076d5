//! `lockstone test-restore`: whether what is in the vault comes back, tried with some files.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tracing::Level;

use crate::agent::jobs::test_restore::Trial;
use crate::cli::context::Context;
use crate::cli::job::{self, exit_of};
use crate::cli::log::say;
use crate::cli::metrics_export::MetricsArgs;
use crate::cli::output::Outcome;
use crate::policy::TestRestore;
use crate::text::render;

/// Options of `test-restore`.
#[derive(Debug, Args)]
pub(crate) struct TestRestoreArgs {
    /// How many files of the newest recovery point are restored, chosen at random
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    files: u16,
    /// Where they are restored to for as long as it takes; a folder in the state folder otherwise
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &TestRestoreArgs) -> Outcome {
    let order = TestRestore {
        every: Duration::ZERO,
        files: usize::from(args.files),
        folder: args
            .folder
            .as_ref()
            .map(std::path::absolute)
            .transpose()
            .map_err(anyhow::Error::from)?,
    };
    let finished = job::run(context, &args.metrics, Trial::prepare(order)?)?;
    let (report, ending) = (&finished.report, &finished.ending);
    context.out.document(&ending.document);
    let compared = &report.compared;
    for path in &compared.different {
        context.out.line(format!("DIFFERENT {}", render::name(path)));
    }
    context.out.line(format!(
        "Restored {} ({}) on trial; {} the same as the source, {} right by their ids ({})",
        render::counted(report.restore.files, "file", "files"),
        render::bytes(report.restore.bytes),
        render::count(compared.with_source),
        render::count(compared.by_ids),
        render::duration(report.restore.duration)
    ));
    job::show_warnings(context, &report.restore.warnings, report.restore.warnings_total);
    if let Some(failure) = &ending.failure {
        say(Level::ERROR, &failure.to_string());
    }
    Ok(exit_of(ending))
}
