//! Reads the Rust files of the workspace and prepares them for the rules: comments, strings and test-only items are
//! blanked out, so that a rule sees production code only and every byte keeps its line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The crates of the workspace: the folder of its sources, and the name by which other crates import it.
pub(crate) const CRATES: [(&str, &str); 5] = [
    ("proto/src", "lockstone_proto"),
    ("vault/src", "lockstone_vault"),
    ("host/src", "lockstone_host"),
    ("actors/src", "lockstone_actors"),
    ("src", "lockstone"),
];

/// One Rust file.
pub(crate) struct Source {
    /// The path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// The file as it is.
    pub(crate) text: String,
    /// The file without comments, strings and test-only items; as long as `text`, with the same line breaks.
    pub(crate) code: String,
    /// Whether the whole file is for tests only.
    pub(crate) is_test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut code = text.as_bytes().to_vec();
        blank_comments_and_strings(&mut code);
        let mut code = String::from_utf8_lossy(&code).into_owned();
        let mut is_test = path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("tests/");
        is_test |= path.contains("/testing");
        blank_test_items(&mut code);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            is_test,
        }
    }

    /// The number of the line that holds a byte of the file; the first line is 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
    }

    /// `path:line` of a byte of the file.
    pub(crate) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.line(at))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the workspace: production code, tests and benches.
pub(crate) fn all() -> Vec<Source> {
    let folders = CRATES.iter().map(|(folder, _)| *folder);
    let rest = [
        "tests",
        "benches",
        "vault/tests",
        "actors/tests",
        "host/tests",
        "proto/tests",
    ];
    let mut paths = BTreeSet::new();
    for folder in folders.chain(rest) {
        paths.extend(files(&root().join(folder), &["rs"]));
    }
    let read = |path: &String| Source::new(path, &std::fs::read_to_string(root().join(path)).unwrap());
    let mut sources: Vec<Source> = paths.iter().map(read).collect();
    mark_test_modules(&mut sources);
    sources
}

/// The production code alone.
pub(crate) fn production() -> Vec<Source> {
    let mut sources = all();
    sources.retain(|source| !source.is_test && CRATES.iter().any(|(folder, _)| is_in(&source.path, folder)));
    sources
}

pub(crate) fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The files below a folder with one of these extensions, as paths from the root of the repository.
pub(crate) fn files(folder: &Path, extensions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ext| extensions.iter().any(|known| ext == *known))
            {
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
                found.push(path.to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Marks the files of modules that are declared behind `#[cfg(test)]` or a feature for tests.
fn mark_test_modules(sources: &mut [Source]) {
    let mut test_modules = Vec::new();
    for source in sources.iter() {
        let Some((folder, name)) = source.path.rsplit_once('/') else {
            continue;
        };
        let own = match name.strip_suffix(".rs") {
            Some("mod" | "lib" | "main") | None => folder.to_owned(),
            Some(module) => format!("{folder}/{module}"),
        };
        let mut declared = source.text.as_bytes().to_vec();
        blank_comments_and_strings(&mut declared);
        let declared = String::from_utf8_lossy(&declared).into_owned();
        for (attribute, end) in test_attributes(&source.text, &declared) {
            let item = declared[attribute..end].trim_end();
            if let Some(name) = item.strip_suffix(';').and_then(|item| item.rsplit_once("mod ")) {
                test_modules.push(format!("{own}/{}", name.1.trim()));
            }
        }
    }
    for source in sources {
        let module = source.path.trim_end_matches(".rs");
        source.is_test |= test_modules.iter().any(|test| module == test || is_in(module, test));
    }
}

/// Replaces comments, strings and character literals by spaces, and keeps line breaks.
fn blank_comments_and_strings(code: &mut [u8]) {
    let mut at = 0;
    while at < code.len() {
        let end = literal_end(code, at);
        if let Some(end) = end {
            for byte in &mut code[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end.unwrap_or(at + 1);
    }
}

/// The end of the comment, string or character literal that begins at `at`, if one does.
fn literal_end(code: &[u8], at: usize) -> Option<usize> {
    let rest = &code[at..];
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let follows_name = at > 0 && is_name(code[at - 1]);
    let until = |end: &[u8]| {
        let found = rest.windows(end.len()).position(|window| window == end);
        found.map_or(code.len(), |found| at + found)
    };
    if rest.starts_with(b"//") {
        return Some(until(b"\n"));
    }
    if rest.starts_with(b"/*") {
        return Some(block_comment_end(code, at));
    }
    if rest[0] == b'"' {
        return Some(string_end(code, at + 1));
    }
    if rest[0] == b'\'' {
        // A character literal, or a lifetime, which has no second quote.
        let escaped = rest.get(1) == Some(&b'\\');
        let width = std::str::from_utf8(&rest[1..rest.len().min(5)])
            .or_else(|error| std::str::from_utf8(&rest[1..=error.valid_up_to()]))
            .ok()
            .and_then(|text| text.chars().next())
            .map_or(1, char::len_utf8);
        let end = if escaped {
            at + 3 + code.get(at + 3..)?.iter().position(|&byte| byte == b'\'')?
        } else {
            at + 1 + width
        };
        return (code.get(end) == Some(&b'\'')).then_some(end + 1);
    }
    if !follows_name && matches!(rest[0], b'r' | b'b' | b'c') {
        let prefix = rest
            .iter()
            .take_while(|byte| matches!(byte, b'r' | b'b' | b'c'))
            .count();
        let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
        if rest.get(prefix + hashes) != Some(&b'"') || prefix > 2 {
            return None;
        }
        if rest[..prefix].contains(&b'r') {
            let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
            let from = prefix + hashes + 1;
            let found = rest[from..].windows(end.len()).position(|window| window == end);
            return Some(found.map_or(code.len(), |found| at + from + found + end.len()));
        }
        return (hashes == 0).then(|| string_end(code, at + prefix + 1));
    }
    None
}

fn string_end(code: &[u8], mut at: usize) -> usize {
    while at < code.len() {
        match code[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    code.len()
}

fn block_comment_end(code: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < code.len() {
        if code[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if code[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    code.len()
}

/// Replaces the items behind `#[cfg(test)]` and behind a feature for tests by spaces.
fn blank_test_items(code: &mut String) {
    let ranges = test_attributes(code, code);
    let mut bytes = std::mem::take(code).into_bytes();
    for (from, to) in ranges {
        for byte in &mut bytes[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    *code = String::from_utf8(bytes).unwrap();
}

/// Where attributes for tests and the items behind them begin and end. `text` has the attributes with their strings,
/// `code` the items.
fn test_attributes(text: &str, code: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (at, _) in code.match_indices("#[cfg(") {
        if found.last().is_some_and(|(_, end)| at < *end) {
            continue;
        }
        let attribute_end = closing(code, at + 1);
        let condition = &text[at..attribute_end];
        let is_for_tests = !condition.contains("not(")
            && (words(condition).any(|word| word == "test") || condition.contains("\"testing\""));
        if is_for_tests {
            found.push((at, item_end(code, attribute_end)));
        }
    }
    found
}

/// The words of a piece of code: names, keywords and numbers.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// The end of the item that begins after `at`, with its further attributes.
fn item_end(code: &str, mut at: usize) -> usize {
    let bytes = code.as_bytes();
    while let Some(next) = code[at..].find(|c: char| !c.is_whitespace()).map(|next| at + next) {
        at = next;
        if !code[at..].starts_with("#[") {
            break;
        }
        at = closing(code, at + 1);
    }
    let is_use = words(&code[at..]).take(4).any(|word| word == "use");
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at + 1,
            b'{' if !is_use => return closing(code, at),
            b'(' | b'[' | b'{' => at = closing(code, at),
            _ => at += 1,
        }
    }
    at
}

/// The byte after the bracket that closes the one at `at`.
pub(crate) fn closing(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (i, byte) in code.as_bytes()[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + i + 1;
        }
    }
    code.len()
}
