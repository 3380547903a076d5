//! `lockstone completions`.

use clap::{Args, Command};
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
pub(crate) fn run(context: &Context, args: &CompletionsArgs, command: &Command) -> Outcome {
    let script = script(args.shell, command);
    context.out.text(&script);
    context.out.document(&CompletionsDocument {
        shell: args.shell.to_string(),
        script,
    });
    Ok(Exit::Done)
}

fn script(shell: Shell, command: &Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(command), "lockstone", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script + BASH,
        Shell::Fish => script + FISH,
        // The function of this name is the one that zsh calls.
        Shell::Zsh => script.replacen("\n_lockstone() {", &format!("\n{ZSH}\n_lockstone_words() {{"), 1),
        _ => script,
    }
}

/// The program itself knows recovery points and jobs (`complete`). If it has nothing to say, the generated function
/// goes on.
const BASH: &str = include_str!("completions/asking.bash");
const FISH: &str = include_str!("completions/asking.fish");
const ZSH: &str = include_str!("completions/asking.zsh");

/// The command without what help does not show. The generators would complete that, too.
fn shown(command: &Command) -> Command {
    // clap wants names that live for ever. The program ends soon.
    let name: &'static str = command.get_name().to_owned().leak();
    let mut copy = Command::new(name);
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if command.get_version().is_some() {
        copy = copy.version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    }
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    copy.args(args).subcommands(below.map(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_help_does_not_show_is_not_completed() {
        let command = crate::cli::args::command();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = script(shell, &command);
            for hidden in [
                "metrics-page",
                "openapi",
                "channel-capacity",
                "restart-pause-ms",
                "kdf-passes",
            ] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
            for known in ["undelete", "read-data", "store-patience", "passphrase-file"] {
                assert!(script.contains(known), "{shell}: {known}");
            }
        }
    }
}
