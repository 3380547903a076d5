//! Holds the floors of the workspace: what may import what, where blocking and exit codes belong, how long a file may
//! be. Reads the sources as text, so that a mistake is reported with its file and line. `docs/ARCHITECTURE.md` has the
//! picture.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod graph;
mod made_up;
mod rules;
mod source;

use std::path::Path;
use std::sync::LazyLock;

use graph::{Arrow, arrows};
use source::{Source, files, root};

static PRODUCTION: LazyLock<Vec<Source>> = LazyLock::new(source::production);
static ARROWS: LazyLock<Vec<Arrow>> = LazyLock::new(|| arrows(&PRODUCTION));

/// Fails with a list of problems, if there are any.
#[track_caller]
fn none(problems: Vec<String>) {
    assert!(
        problems.is_empty(),
        "{} problems:\n  {}",
        problems.len(),
        problems.join("\n  ")
    );
}

#[test]
fn the_sources_are_found() {
    assert!(PRODUCTION.len() > 150 && ARROWS.len() > 500);
}

#[test]
fn no_crate_has_a_circle_of_files() {
    none(rules::circles_of_files(&ARROWS));
}

#[test]
fn nothing_imports_the_command_line() {
    none(rules::imports_of_the_command_line(&ARROWS));
}

#[test]
fn no_arrow_of_the_program_leads_to_a_higher_floor() {
    none(rules::files_without_a_floor(&PRODUCTION));
    none(rules::upward_arrows(&ARROWS));
}

#[test]
fn crates_import_only_crates_below() {
    none(rules::wrong_imports_of_crates(&ARROWS));
}

#[test]
fn only_the_command_line_and_the_daemon_block() {
    // `bench` measures stores from threads of its own, which no runtime owns.
    let allowed = ["src/cli", "src/daemon", "src/main.rs", "src/bench"];
    none(rules::uses_of(&PRODUCTION, "block_on", "src", &allowed));
}

#[test]
fn answers_are_documents_and_not_made_by_hand() {
    none(rules::uses_of(&PRODUCTION, "json!", "src", &[]));
}

#[test]
fn exit_codes_are_known_to_failure_alone() {
    let allowed = ["src/failure.rs", "src/failure", "src/main.rs", "src/cli"];
    let mut problems = Vec::new();
    for word in ["ExitCode::from", "process::exit"] {
        for crate_folder in ["src", "actors/src", "vault/src", "host/src", "proto/src"] {
            problems.extend(rules::uses_of(&PRODUCTION, word, crate_folder, &allowed));
        }
    }
    none(problems);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    none(rules::long_files(&source::all()));
}

#[test]
fn no_function_is_longer_than_100_lines() {
    // Of files with tests in them, the production code; of files that are tests only, all functions.
    none(rules::long_functions(&source::all()));
}

#[test]
fn no_comment_is_wider_than_120_columns() {
    let mut problems = Vec::new();
    for (path, text) in texts() {
        let marks: &[&str] = match path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("rs" | "proto" | "mjs") => &["//"],
            Some("py" | "sh" | "toml" | "yml" | "yaml") => &["#"],
            _ => continue,
        };
        problems.extend(rules::wide_comments(&path, &text, marks));
    }
    none(problems);
}

#[test]
fn every_document_and_file_that_is_cited_exists() {
    let exists = |path: &str| {
        let is_decision = |number: &str| {
            let decisions = files(&root().join("docs/decisions"), &["md"]);
            !number.is_empty() && decisions.iter().any(|file| file.contains(&format!("/{number}-")))
        };
        root().join(path).exists() || path.strip_prefix("docs/decisions/").is_some_and(is_decision)
    };
    let mut problems = Vec::new();
    for (path, text) in texts() {
        if path == "tests/floors/made_up.rs" {
            continue;
        }
        // The tests that use the program have folders named `docs` in their strings.
        let cited = if path.starts_with("tests/it/") {
            comments(&text)
        } else {
            text.clone()
        };
        problems.extend(rules::dead_citations(&path, &cited, exists));
        if path.ends_with(".md") {
            problems.extend(rules::dead_links(&path, &text, exists));
            // A decision and the changelog describe the past, when files had other places.
            if !path.starts_with("docs/decisions/") && path != "CHANGELOG.md" {
                problems.extend(rules::dead_paths(&path, &text, exists));
            }
        }
    }
    none(problems);
}

/// `docs/STYLE.md`, "Quoted messages": an ellipsis in a quotation is a part that varies.
#[test]
fn every_message_that_a_page_quotes_is_in_the_code() {
    let code = source::production();
    let code: Vec<String> = code.iter().map(|source| joined_literals(&source.text)).collect();
    let mut problems = Vec::new();
    let mut quoted = 0;
    for (path, text) in texts().into_iter().filter(|(path, _)| path.starts_with("docs/")) {
        for line in text.lines() {
            let message = ["> error: ", "> warning: ", "> hint: "]
                .iter()
                .find_map(|mark| line.strip_prefix(mark));
            let Some(message) = message else { continue };
            quoted += 1;
            for part in message.split('…').map(str::trim).filter(|part| part.len() > 3) {
                if !code.iter().any(|code| code.contains(part)) {
                    problems.push(format!("{path}: no message has {part:?} in it"));
                }
            }
        }
    }
    assert!(quoted > 0, "no page quotes a message");
    none(problems);
}

/// The text with string literals that go on in the next line (a backslash at the end) in one line.
fn joined_literals(text: &str) -> String {
    let mut joined = String::new();
    let mut continues = false;
    for line in text.lines() {
        let line = if continues { line.trim_start() } else { line };
        continues = line.ends_with('\\');
        joined.push_str(line.trim_end_matches('\\'));
        if !continues {
            joined.push('\n');
        }
    }
    joined
}

/// The comments of a Rust file, each in its line.
fn comments(text: &str) -> String {
    let comment = |line: &str| {
        line.split_once("//")
            .map_or(String::new(), |(_, comment)| comment.to_owned())
    };
    text.lines().map(comment).collect::<Vec<_>>().join("\n")
}

/// Every text file of the repository that people write, with its path.
fn texts() -> Vec<(String, String)> {
    let extensions = ["rs", "proto", "toml", "md", "py", "sh", "mjs", "yml", "yaml"];
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap().path();
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        let is_made = matches!(name.as_str(), "target" | ".git" | "node_modules");
        if entry.is_dir() && !is_made {
            paths.extend(files(&entry, &extensions));
        } else if entry.is_file() && extensions.iter().any(|extension| has_extension(&entry, extension)) {
            paths.push(name);
        }
    }
    paths.sort();
    let read = |path: String| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}
