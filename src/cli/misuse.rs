//! A command line that is not understood: what is said about it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args;
use super::output::Output;
use crate::documents::pages::PageDocument;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// Commands and options that later versions have. The program names them instead of pretending.
const LATER: &[&str] = &["replicate"];

/// Words of other backup programs, and what does the same here.
const FOREIGN: &[(&str, &str)] = &[
    (
        "init",
        "`lockstone vault create URL` makes a vault, `lockstone register` begins to use it",
    ),
    ("snapshots", "`lockstone points list`"),
    (
        "list",
        "`lockstone points list`, and `lockstone points ls POINT` for what is in one",
    ),
    ("ls", "`lockstone points ls POINT`"),
    ("find", "`lockstone points find GLOB`"),
    ("diff", "`lockstone points diff OLD NEW`"),
    (
        "forget",
        "`lockstone points delete POINT`; a policy (`lockstone policy init`) does it by itself",
    ),
    ("prune", "`lockstone gc`"),
    ("compact", "`lockstone gc`"),
    (
        "unlock",
        "there is nothing to do: a lock ends with the process that holds it",
    ),
    ("rewrite", "`lockstone backup --exclude GLOB` for the next points"),
    ("tag", "`lockstone backup --tag TAG`"),
    ("copy", "`lockstone vault create URL --secondary URL`"),
    ("cat", "`lockstone points ls POINT`"),
    ("serve", "`lockstone agent`"),
    (
        "break-lock",
        "there is nothing to do: a lock ends with the process that holds it",
    ),
    ("rename", "`lockstone backup --label LABEL`"),
    ("delete", "`lockstone points delete POINT`"),
    (
        "create",
        "`lockstone backup PATH`, and `lockstone vault create URL` for a vault",
    ),
    ("extract", "`lockstone restore POINT [PATH] --target DIR`"),
    ("cat", "`lockstone dump POINT PATH`"),
    ("export-tar", "`lockstone dump POINT PATH`"),
    (
        "mount",
        "`lockstone points ls` and `find` look into a point, `lockstone restore POINT PATH --target DIR` gets it",
    ),
    ("recover", "`lockstone restore POINT --target DIR`"),
    ("verify", "`lockstone check --read-data`"),
    ("key", "`lockstone passphrase slots`, and `lockstone passphrase change`"),
    (
        "info",
        "`lockstone status`, `lockstone points list`, and `lockstone vault info URL`",
    ),
    ("stats", "`lockstone points list`"),
];

/// Options of other backup programs, and what does the same here.
const FOREIGN_OPTIONS: &[(&str, &str)] = &[
    ("--exclude-file", "`--exclude-from FILE`"),
    ("--iexclude", "`--exclude GLOB`, in which `[Aa]` matches both cases"),
    (
        "--exclude-caches",
        "caches are left out unless `--include-caches` is given",
    ),
    ("--patterns-from", "`--exclude-from FILE`"),
    ("--files-from-verbatim", "`--files-from FILE`"),
    (
        "--files-from-raw",
        "`--files-from FILE`, whose paths may end in zero bytes",
    ),
    ("--paths-from-stdin", "`--files-from -`"),
    ("--stdin-filename", "`--stdin NAME`"),
    ("--stdin-name", "`--stdin NAME`"),
    (
        "--stdin-from-command",
        "an item of the policy can have a name and a command: `lockstone policy init`",
    ),
    (
        "--content-from-command",
        "an item of the policy can have a name and a command: `lockstone policy init`",
    ),
    ("--force", "`--full`"),
    ("--host", "`lockstone register --server-name NAME`"),
    ("--comment", "`--label LABEL`"),
    ("--list", "`--verbose`"),
    (
        "--keep-daily",
        "the policy says for how long points are kept: `lockstone policy init`",
    ),
    (
        "--keep-weekly",
        "the policy says for how long points are kept: `lockstone policy init`",
    ),
    (
        "--keep-monthly",
        "the policy says for how long points are kept: `lockstone policy init`",
    ),
    (
        "--limit-upload",
        "`--upload-limit RATE`, or `lockstone throttle set --upload RATE`",
    ),
];

/// The hint that leads to what does the same here.
fn advice(ours: &str) -> String {
    if ours.starts_with('`') {
        format!("use {ours}")
    } else {
        ours.to_owned()
    }
}

/// What does here what an option of another backup program does.
fn foreign_option(error: &clap::Error) -> Option<(&str, &'static str)> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(asked))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let word = asked.split('=').next().unwrap_or(asked);
    let known = FOREIGN_OPTIONS.iter().find(|(option, _)| *option == word);
    known.map(|(_, ours)| (word, *ours))
}

/// What does here what a command of another backup program does.
fn foreign_word(error: &clap::Error) -> Option<(&str, &'static str)> {
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(asked))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return None;
    };
    let known = FOREIGN.iter().find(|(word, _)| word == asked);
    known.map(|(_, ours)| (asked.as_str(), *ours))
}

/// Whether an argument is missing whose description begins so.
fn misses(error: &clap::Error, argument: &str) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) if error.kind() == ErrorKind::MissingRequiredArgument => {
            missing.iter().any(|name| name.starts_with(argument))
        }
        _ => false,
    }
}

/// Whether the command line begins with this word. Within `vault` or `points`, clap's own advice is better.
fn is_first_word(word: &str) -> bool {
    let first = std::env::args_os()
        .skip(1)
        .find(|arg| !arg.as_bytes().starts_with(b"-"));
    first.is_some_and(|first| first == word)
}

/// Prints why clap did not understand the command line. Help and version are printed here, too.
pub(super) fn explain(error: &clap::Error) -> Exit {
    let wants_json = std::env::args_os()
        .take_while(|arg| arg != "--")
        .any(|arg| arg == "--json");
    let out = Output {
        json: wants_json,
        quiet: false,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return print_page(out, error);
    }
    if wants_json && is_first_word("help") {
        // `help` takes no options, so it did not understand `--json`.
        let line = std::env::args_os().filter(|arg| arg != "--json");
        if let Err(page) = args::parse(line)
            && page.kind() == ErrorKind::DisplayHelp
        {
            return print_page(out, &page);
        }
    }
    let asked_too_early = later_version(error).map(|asked| format!("`{asked}`"));
    if error.kind() == ErrorKind::InvalidUtf8 {
        out.failure(&not_text(std::env::args_os().skip(1)));
    } else if misses(error, "--target") && !misses(error, "<POINT>") {
        let hint = "`--target DIR` restores below a folder, `--original` to where the files were";
        out.failure(&Failure::usage("it is not said where to restore to", hint));
    } else if let Some((asked, ours)) = foreign_word(error).filter(|(asked, _)| is_first_word(asked)) {
        out.failure(&Failure::usage(format!("there is no command `{asked}`"), advice(ours)));
    } else if let Some((asked, ours)) = foreign_option(error) {
        out.failure(&Failure::usage(format!("there is no option `{asked}`"), advice(ours)));
    } else if let Some(asked) = asked_too_early {
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

/// Prints help or the version.
fn print_page(out: Output, page: &clap::Error) -> Exit {
    if out.json {
        let page = page.render().to_string();
        out.document(&PageDocument { page });
    } else {
        // The reader has enough, or stdout takes no more.
        let _ = page.print();
    }
    Exit::Done
}

/// An argument that has to be text holds bytes that are none. clap does not say which one.
fn not_text(args: impl Iterator<Item = OsString>) -> Failure {
    let bad: Vec<String> = args
        .filter(|arg| arg.to_str().is_none())
        .map(|arg| render::name(arg.as_bytes()))
        .collect();
    let message = format!("not text in UTF-8: {}", bad.join(", "));
    let hint = "only the paths of files and folders may be of any bytes; in a pattern, `?` matches one such byte";
    Failure::usage(message, hint)
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
    fn an_argument_that_is_not_text_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let args = [OsString::from("find"), OsString::from_vec(b"caf\xe9".to_vec())];
        let failure = not_text(args.into_iter());
        assert!(failure.message.contains("caf"), "{failure}");
        assert!(!failure.message.contains("find"), "{failure}");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_restore_to_nowhere_is_told_apart() {
        let error = Cli::try_parse_from(["lockstone", "restore", "latest"]).unwrap_err();
        assert!(misses(&error, "--target") && !misses(&error, "<POINT>"), "{error}");
        let error = Cli::try_parse_from(["lockstone", "points", "ls"]).unwrap_err();
        assert!(misses(&error, "<POINT>"), "{error}");
    }

    #[test]
    fn words_of_other_programs_lead_to_ours() {
        for (word, _) in FOREIGN {
            let error = Cli::try_parse_from(["lockstone", *word]).unwrap_err();
            assert!(foreign_word(&error).is_some(), "{word}: {error}");
        }
        let error = Cli::try_parse_from(["lockstone", "bakcup"]).unwrap_err();
        assert_eq!(foreign_word(&error), None);
        for (option, _) in FOREIGN_OPTIONS {
            let with_value = format!("{option}=x");
            let error = Cli::try_parse_from(["lockstone", "backup", "/", &with_value]).unwrap_err();
            assert!(foreign_option(&error).is_some(), "{option}: {error}");
        }
        let error = Cli::try_parse_from(["lockstone", "backup", "--odd"]).unwrap_err();
        assert_eq!(foreign_option(&error), None);
    }

    #[test]
    fn what_later_versions_bring_is_named_and_not_pretended() {
        for line in ["vault replicate x", "vault replicate"] {
            let error = Cli::try_parse_from(std::iter::once("lockstone").chain(line.split(' '))).unwrap_err();
            assert!(later_version(&error).is_some(), "{line}: {error}");
        }
        let error = Cli::try_parse_from(["lockstone", "bakcup"]).unwrap_err();
        assert_eq!(later_version(&error), None);
    }
}
