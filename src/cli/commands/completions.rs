//! `lockstone completions`.

use clap::Args;
use clap_complete::Shell;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::pages::CompletionsDocument;
use crate::failure::Exit;

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the completions of `command`, which is the whole program as clap describes it.
pub(crate) fn run(context: &Context, args: &CompletionsArgs, mut command: clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "lockstone", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    context.out.text(&script);
    context.out.document(&CompletionsDocument {
        shell: args.shell.to_string(),
        script,
    });
    Ok(Exit::Done)
}
