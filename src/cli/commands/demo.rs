//! `lockstone demo [PATH]`: a whole round trip in a scratch folder, printed step by step. The steps are in
//! `crate::demo`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::demo::{Demo, Surroundings};
use crate::failure::Exit;
use crate::text::render;

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Files to use; they are copied, and only read [default: /usr/share/doc, or /etc]
    path: Option<PathBuf>,
    /// Keep the scratch folder
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
///
/// # Errors
/// The step that failed.
pub(crate) fn run(context: &Context, args: DemoArgs) -> Outcome {
    let out = &context.out;
    // A signal also reaches the step that runs. The scratch folder is removed when that step has ended.
    let _signals = context.signals.job_runs();
    let print = |text: &str| if out.json { out.note(text) } else { out.line(text) };
    let surroundings = Surroundings {
        print: &print,
        steps_to_stderr: out.json,
        cancel: context.environment.cancel.clone(),
    };
    let mut demo = Demo::prepare(args.path, surroundings)?;
    let ran = demo.run();
    let kept = args.keep.then(|| demo.keep());
    let mut report = ran?;
    report.kept = kept;
    out.document(&report);
    out.line(format!(
        "\nThe round trip of {} ({}) took {}. What came back is what was backed up.",
        render::counted(report.files, "file", "files"),
        render::bytes(report.bytes),
        render::duration(report.duration)
    ));
    if let Some(kept) = &report.kept {
        out.line(format!("The scratch folder is {}", kept.display()));
    }
    Ok(Exit::Done)
}
