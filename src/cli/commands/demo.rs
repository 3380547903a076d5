//! `lockstone demo [PATH]`: a whole round trip in a scratch folder, told step by step. The steps are in `agent::demo`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::agent::signals::JobRuns;
use crate::cli::Context;
use crate::cli::output::Outcome;
use crate::demo::Demo;
use crate::failure::Exit;
use crate::text::render;

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Files to show it on; they are copied, and only read [default: /usr/share/doc, or /etc]
    pub path: Option<PathBuf>,
    /// Keep the scratch folder
    #[arg(long)]
    pub keep: bool,
}

/// Runs the command.
///
/// # Errors
/// Which step failed, and how.
pub fn run(context: &Context, args: DemoArgs) -> Outcome {
    // A signal reaches the step that runs, too; when that has ended the scratch folder is removed.
    let _signals = JobRuns::begin();
    let mut demo = Demo::prepare(context, args.path)?;
    let told = demo.run();
    let kept = args.keep.then(|| demo.keep());
    let figures = told?;
    context.out.document(&json!({
        "ok": true,
        "files": figures.files,
        "bytes": figures.bytes,
        "compared": figures.compared,
        "duration_seconds": figures.duration.as_secs_f64(),
        "kept": kept,
    }));
    context.out.line(format!(
        "\nThe round trip of {} ({}) took {}. What came back is what was backed up.",
        render::counted(figures.files, "file", "files"),
        render::bytes(figures.bytes),
        render::duration(figures.duration)
    ));
    if let Some(kept) = kept {
        context.out.line(format!("The scratch folder is {}", kept.display()));
    }
    Ok(Exit::Done)
}
