//! Which file imports which: reads `use` declarations and paths within the code, and finds the files that they lead to.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{CRATES, Source, closing, is_in};

/// One file uses something of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: String,
    pub(crate) to: String,
    /// `path:line` in `from`.
    pub(crate) place: String,
    /// The path as it is written there.
    pub(crate) path: String,
}

/// The arrows between the files of the workspace, at most one for each pair of files and line.
pub(crate) fn arrows(sources: &[Source]) -> Vec<Arrow> {
    let modules = Modules::new(sources);
    let mut arrows = BTreeSet::new();
    for source in sources {
        let Some(own) = Module::of(&source.path) else {
            continue;
        };
        for (at, path) in paths(source) {
            let Some(to) = modules.file_of(&own, source, at, &path) else {
                continue;
            };
            if to != source.path {
                arrows.insert(Arrow {
                    from: source.path.clone(),
                    to,
                    place: source.place(at),
                    path: path.join("::"),
                });
            }
        }
    }
    arrows.into_iter().collect()
}

/// A module: the folder of its crate's sources, and its path in the crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Module {
    crate_folder: &'static str,
    path: Vec<String>,
}

impl Module {
    pub(crate) fn of(file: &str) -> Option<Self> {
        let (crate_folder, _) = CRATES.into_iter().find(|(folder, _)| is_in(file, folder))?;
        let inner = file[crate_folder.len() + 1..].strip_suffix(".rs")?;
        let mut path: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            path.pop();
        }
        Some(Self { crate_folder, path })
    }

    /// Whether the other module lies in this one, at any depth.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.crate_folder == other.crate_folder && other.path.starts_with(&self.path)
    }
}

/// The file of each module.
struct Modules(BTreeMap<Module, String>);

impl Modules {
    fn new(sources: &[Source]) -> Self {
        let mut files = BTreeMap::new();
        for source in sources {
            if let Some(module) = Module::of(&source.path)
                && source.path != "src/main.rs"
            {
                files.insert(module, source.path.clone());
            }
        }
        Self(files)
    }

    /// The file that a path leads to: that of the innermost module on the path.
    fn file_of(&self, own: &Module, source: &Source, at: usize, path: &[String]) -> Option<String> {
        let mut module = own.clone();
        module.path.extend(inline_modules(&source.code, at));
        let mut rest = path;
        let first = rest.first()?.as_str();
        if let Some((folder, _)) = CRATES.iter().find(|(_, name)| *name == first) {
            module = Module {
                crate_folder: folder,
                path: Vec::new(),
            };
            rest = &rest[1..];
        } else if first == "crate" {
            module.path.clear();
            rest = &rest[1..];
        } else if first == "self" || first == "super" {
            while let Some(step) = rest.first() {
                match step.as_str() {
                    "self" => {}
                    "super" => {
                        module.path.pop();
                    }
                    _ => break,
                }
                rest = &rest[1..];
            }
        } else {
            // A path that begins with a module within this one; else it leads out of the workspace.
            let mut child = module.clone();
            child.path.push(first.to_owned());
            self.0.get(&child)?;
        }
        module.path.extend_from_slice(rest);
        while !self.0.contains_key(&module) && module.path.pop().is_some() {}
        self.0.get(&module).cloned()
    }
}

/// The names of the modules with a body in this file that hold the byte at `at`, the outermost first.
fn inline_modules(code: &str, at: usize) -> Vec<String> {
    let mut names = Vec::new();
    for (start, _) in code[..at].match_indices("mod ") {
        let begins_word = start == 0 || !is_name(code.as_bytes()[start - 1]);
        let head = &code[start + 4..];
        let Some(brace) = head.find(['{', ';']) else { continue };
        let name = head[..brace].trim();
        if begins_word && head.as_bytes()[brace] == b'{' && name.bytes().all(is_name) {
            let open = start + 4 + brace;
            if open < at && at < closing(code, open) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The paths of a file that may lead to another one, each with the byte at which it is written: those of `use`
/// declarations, with their groups spread out, and those within the code that have at least two steps.
pub(crate) fn paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let code = &source.code;
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !is_name(bytes[at]) || bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|&&byte| is_name(byte)).count();
        if &code[at..end] == "use" && !bytes[..at].ends_with(b"$") {
            let semicolon = code[end..].find(';').map_or(code.len(), |found| end + found);
            spread(code, end, semicolon, &[], &mut found);
            at = semicolon;
            continue;
        }
        let (path, end) = plain_path(code, at);
        if path.len() > 1 && !follows_path(bytes, at) {
            found.push((at, path));
        }
        at = end;
    }
    found
}

/// Whether the name at `at` continues something else: a path, a method call or a macro variable.
fn follows_path(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[..at];
    before.ends_with(b"::") || before.ends_with(b"$") || (before.ends_with(b".") && !before.ends_with(b".."))
}

/// The path that begins at `at`, such as `crate::a::b`, and its end.
fn plain_path(code: &str, at: usize) -> (Vec<String>, usize) {
    let bytes = code.as_bytes();
    let (mut path, mut end) = (Vec::new(), at);
    loop {
        let step = bytes[end..].iter().take_while(|&&byte| is_name(byte)).count();
        path.push(code[end..end + step].to_owned());
        end += step;
        let goes_on = bytes[end..].starts_with(b"::") && bytes.get(end + 2).is_some_and(|&byte| is_name(byte));
        if !goes_on {
            return (path, end);
        }
        end += 2;
    }
}

/// Spreads out the groups of a `use` declaration between two bytes, behind the steps of `before`.
fn spread(code: &str, from: usize, to: usize, before: &[String], found: &mut Vec<(usize, Vec<String>)>) {
    let bytes = code.as_bytes();
    let mut at = from;
    while at < to {
        if bytes[at].is_ascii_whitespace() || bytes[at] == b',' || bytes[at] == b':' {
            at += 1;
            continue;
        }
        let end = branch_end(bytes, at, to);
        let mut path = before.to_vec();
        let mut step = at;
        loop {
            let len = bytes[step..end].iter().take_while(|&&byte| is_name(byte)).count();
            if len > 0 {
                path.push(code[step..step + len].to_owned());
            }
            step += len;
            if step < end && bytes[step] == b'{' {
                spread(code, step + 1, closing(code, step) - 1, &path, found);
                break;
            }
            if !bytes[step..end].starts_with(b"::") {
                found.push((at, path));
                break;
            }
            step += 2;
        }
        at = end;
    }
}

/// The end of one branch of a group: the next comma that is not in an inner group.
fn branch_end(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().take(to).skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
    }
    to
}

/// The circles among files: for each, the arrows between its files. `counts` says which arrows matter.
pub(crate) fn circles(arrows: &[Arrow], counts: impl Fn(&Arrow) -> bool) -> Vec<Vec<&Arrow>> {
    let arrows: Vec<&Arrow> = arrows.iter().filter(|arrow| counts(arrow)).collect();
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for arrow in &arrows {
        next.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let reach = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = next.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = open.pop() {
            if reached.insert(file) {
                open.extend(next.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|file| (*file, reach(file))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (file, reaches) in &reached {
        if !reaches.contains(file) || seen.contains(file) {
            continue;
        }
        let is_in_circle =
            |other: &str| reaches.contains(other) && reached.get(other).is_some_and(|back| back.contains(file));
        let circle: Vec<&Arrow> = arrows
            .iter()
            .copied()
            .filter(|arrow| is_in_circle(&arrow.from) && is_in_circle(&arrow.to))
            .collect();
        seen.extend(circle.iter().map(|arrow| arrow.from.as_str()));
        circles.push(circle);
    }
    circles
}
