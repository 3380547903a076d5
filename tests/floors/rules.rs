//! The rules, each as a function from files to a list of problems. A problem names the file and the line.

use crate::graph::{Arrow, Module, circles};
use crate::source::{CRATES, Source, closing, is_in};

/// The floors of the program's own crate, the lowest first. A module may use those of its own floor and below. A floor
/// that is listed here may be empty; a module that is not listed here is a problem.
const FLOORS: [&[&str]; 8] = [
    &["failure"],
    &["text"],
    &["policy", "documents"],
    &["agent", "operator"],
    &["serve", "mount", "bench", "demo"],
    &["daemon"],
    &["cli"],
    &["main", "lib"],
];

/// Which crates each crate may import.
const CRATE_FLOORS: [(&str, &[&str]); 5] = [
    ("proto/src", &[]),
    ("vault/src", &["proto/src"]),
    ("host/src", &["proto/src"]),
    ("actors/src", &["proto/src", "vault/src", "host/src"]),
    ("src", &["proto/src", "vault/src", "host/src", "actors/src"]),
];

/// The folders of the repository that documents name.
const ROOT_FOLDERS: [&str; 10] = [
    "proto",
    "vault",
    "host",
    "actors",
    "src",
    "tests",
    "benches",
    "dashboards",
    "scripts",
    "docs",
];

/// The most lines of a file, and of a function from its `fn` to its closing brace.
const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 100;
/// The most characters of a line with a comment.
const MAX_COLUMNS: usize = 120;

/// Circles of files. In Rust a folder's `mod.rs` and the files of that folder are one unit, so what a file uses of a
/// module around it is not counted.
pub(crate) fn circles_of_files(arrows: &[Arrow]) -> Vec<String> {
    let is_counted = |arrow: &Arrow| {
        let is_around = match (Module::of(&arrow.from), Module::of(&arrow.to)) {
            (Some(from), Some(to)) => to.contains(&from),
            _ => false,
        };
        crate_of(&arrow.from) == crate_of(&arrow.to) && !is_around
    };
    let describe = |circle: Vec<&Arrow>| {
        let arrows: Vec<String> = circle.iter().map(|arrow| describe(arrow)).collect();
        format!("a circle:\n    {}", arrows.join("\n    "))
    };
    circles(arrows, is_counted).into_iter().map(describe).collect()
}

/// Imports of the command line by anything but itself and the program's entry.
pub(crate) fn imports_of_the_command_line(arrows: &[Arrow]) -> Vec<String> {
    let is_cli = |path: &str| is_in(path, "src/cli") || matches!(path, "src/cli.rs" | "src/main.rs" | "src/lib.rs");
    let is_bad = |arrow: &&Arrow| is_cli(&arrow.to) && !is_cli(&arrow.from);
    arrows.iter().filter(is_bad).map(describe).collect()
}

/// Arrows from a lower floor of the program's own crate to a higher one.
pub(crate) fn upward_arrows(arrows: &[Arrow]) -> Vec<String> {
    let is_bad = |arrow: &&Arrow| match (floor(&arrow.from), floor(&arrow.to)) {
        (Some(from), Some(to)) => from < to,
        _ => false,
    };
    arrows.iter().filter(is_bad).map(describe).collect()
}

/// Files of the program's own crate that belong to no floor.
pub(crate) fn files_without_a_floor(sources: &[Source]) -> Vec<String> {
    let is_lost = |source: &&Source| is_in(&source.path, "src") && floor(&source.path).is_none();
    let lost = sources.iter().filter(is_lost);
    lost.map(|source| format!("{}: its module has no floor; give it one in FLOORS", source.path))
        .collect()
}

/// Imports between crates that the floors of crates do not allow.
pub(crate) fn wrong_imports_of_crates(arrows: &[Arrow]) -> Vec<String> {
    let is_bad = |arrow: &&Arrow| {
        let (from, to) = (crate_of(&arrow.from), crate_of(&arrow.to));
        from != to
            && !CRATE_FLOORS
                .iter()
                .any(|(own, allowed)| *own == from && allowed.contains(&to))
    };
    arrows.iter().filter(is_bad).map(describe).collect()
}

/// Uses of a word outside the places where it is allowed. `folder` is where the rule holds.
pub(crate) fn uses_of(sources: &[Source], word: &str, folder: &str, allowed: &[&str]) -> Vec<String> {
    let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| is_in(&source.path, folder)) {
        if allowed
            .iter()
            .any(|place| source.path == *place || is_in(&source.path, place))
        {
            continue;
        }
        for (at, _) in source.code.match_indices(word) {
            let bytes = source.code.as_bytes();
            let is_whole = at == 0 || !is_name(bytes.get(at - 1));
            if is_whole && !is_name(bytes.get(at + word.len())) {
                problems.push(format!("{}: `{word}` is not allowed here", source.place(at)));
            }
        }
    }
    problems
}

/// Files with too many lines.
pub(crate) fn long_files(sources: &[Source]) -> Vec<String> {
    let lines = |source: &Source| source.text.lines().count();
    let long = sources.iter().filter(|source| lines(source) > MAX_FILE_LINES);
    long.map(|source| format!("{}: {} lines, {MAX_FILE_LINES} at most", source.path, lines(source)))
        .collect()
}

/// Functions with too many lines.
pub(crate) fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        for (at, _) in source.code.match_indices("fn ") {
            let starts_word = at == 0 || !source.code.as_bytes()[at - 1].is_ascii_alphanumeric();
            let Some(end) = function_end(&source.code, at).filter(|_| starts_word) else {
                continue;
            };
            let lines = source.line(end) - source.line(at) + 1;
            if lines > MAX_FUNCTION_LINES {
                let name = source.code[at + 3..].split(['(', '<']).next().unwrap_or_default();
                problems.push(format!(
                    "{}: `{name}` has {lines} lines, {MAX_FUNCTION_LINES} at most",
                    source.place(at)
                ));
            }
        }
    }
    problems
}

/// The last byte of a function's body; `None` for a function without one and for the type of a function.
fn function_end(code: &str, at: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut at = at + code[at..].find('(')?;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => return Some(closing(code, at) - 1),
            b'(' | b'[' => at = closing(code, at),
            b';' | b',' | b')' | b'}' | b'=' => return None,
            _ => at += 1,
        }
    }
    None
}

/// Lines with a comment that are too long. Works for any language: a comment begins with one of `marks`.
pub(crate) fn wide_comments(path: &str, text: &str, marks: &[&str]) -> Vec<String> {
    let is_comment = |line: &str| {
        let line = line.trim_start();
        marks
            .iter()
            .any(|mark| line.starts_with(mark) || line.contains(&format!(" {mark} ")))
    };
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS && is_comment(line) {
            problems.push(format!(
                "{path}:{}: a comment of {columns} columns, {MAX_COLUMNS} at most",
                number + 1
            ));
        }
    }
    problems
}

/// Paths below `docs/` that a text names and `exists` does not know. A decision may be cited by its number alone.
pub(crate) fn dead_citations(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("docs/") {
            if line[..at].ends_with(belongs) {
                continue;
            }
            let cited = line[at..].split(|c| !belongs(c)).next().unwrap_or_default();
            let cited = cited.trim_end_matches(['.', '/']);
            if !exists(cited) {
                problems.push(format!("{path}:{}: `{cited}` does not exist", number + 1));
            }
        }
    }
    problems
}

/// Links of a Markdown file to other files that `exists` does not know. `exists` gets paths from the root.
pub(crate) fn dead_links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let link = line[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
            if link.is_empty() || link.contains(':') {
                continue;
            }
            if !exists(&joined(folder, link)) {
                problems.push(format!("{path}:{}: the link to `{link}` leads nowhere", number + 1));
            }
        }
    }
    problems
}

/// Paths in backticks of a Markdown file that begin with a folder of the repository and that `exists` does not know.
/// The ending `.rs` may be left out. Paths with placeholders are not checked.
pub(crate) fn dead_paths(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for named in line.split('`').skip(1).step_by(2) {
            let is_ours = ROOT_FOLDERS.iter().any(|folder| is_in(named, folder));
            if is_ours && named.chars().all(belongs) && !exists(named) && !exists(&format!("{named}.rs")) {
                problems.push(format!("{path}:{}: `{named}` does not exist", number + 1));
            }
        }
    }
    problems
}

fn joined(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn describe(arrow: &Arrow) -> String {
    format!("{}: `{}` leads to {}", arrow.place, arrow.path, arrow.to)
}

fn crate_of(path: &str) -> &'static str {
    CRATES
        .iter()
        .map(|(folder, _)| *folder)
        .find(|folder| is_in(path, folder))
        .unwrap_or("")
}

/// The floor of a file of the program's own crate; `None` for files of other crates and of modules without a floor.
fn floor(path: &str) -> Option<usize> {
    let inner = path.strip_prefix("src/")?;
    let module = inner.split('/').next()?.trim_end_matches(".rs");
    FLOORS.iter().position(|floor| floor.contains(&module))
}
