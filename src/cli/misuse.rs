//! A command line that is not understood: what is said about it.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::output::Output;
use crate::failure::{Exit, Failure};

/// Commands and options that later versions have. The program names them instead of pretending.
const LATER: &[&str] = &["gc", "policy", "replicate", "regenerate", "--repair"];

/// Prints why clap did not understand the command line. Help and version are printed here, too.
pub(super) fn explain(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return Exit::Done;
    }
    let missing_paths = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|name| name.starts_with("<PATH>")),
        _ => false,
    };
    let asked_too_early = if error.kind() == ErrorKind::MissingRequiredArgument && missing_paths {
        Some("`backup` without a path (the items of the policy)".to_owned())
    } else {
        later_version(error).map(|asked| format!("`{asked}`"))
    };
    let wants_json = std::env::args()
        .take_while(|arg| arg != "--")
        .any(|arg| arg == "--json");
    let out = Output {
        json: wants_json,
        quiet: false,
    };
    if let Some(asked) = asked_too_early {
        let message = format!("{asked} is not in this version ({})", env!("CARGO_PKG_VERSION"));
        out.failure(&Failure::usage(message, "see `lockstone help` for what is"));
    } else if wants_json {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (message, more) = text.split_once("\n\n").unwrap_or((text, ""));
        let more = more.trim().trim_start_matches("tip: ");
        out.failure(&Failure::usage(message.trim(), more));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// The command or option of a later version that was asked for, if that is why the command line was not understood.
fn later_version(error: &clap::Error) -> Option<String> {
    let asked = |kind| match error.get(kind) {
        Some(ContextValue::String(asked)) => {
            // clap gives an option with its value: `--repair=all`.
            let word = asked.split('=').next().unwrap_or(asked);
            LATER.contains(&word).then(|| word.to_owned())
        }
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => asked(ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => asked(ContextKind::InvalidArg),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::Parser;

    use super::super::args::Cli;
    use super::*;

    #[test]
    fn what_later_versions_bring_is_named_and_not_pretended() {
        for line in [
            "gc --dry-run",
            "vault replicate x",
            "check --repair",
            "policy show",
            "passphrase regenerate",
        ] {
            let error = Cli::try_parse_from(std::iter::once("lockstone").chain(line.split(' '))).unwrap_err();
            assert!(later_version(&error).is_some(), "{line}: {error}");
        }
        let error = Cli::try_parse_from(["lockstone", "bakcup"]).unwrap_err();
        assert_eq!(later_version(&error), None);
    }
}
