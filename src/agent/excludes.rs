//! From the exclude patterns that a person writes to the lines that the walk matches.
//!
//! A pattern that names a path is resolved as a source is: `./`, `../` and `~/` are understood, and symlinks above what
//! it names are resolved. A pattern with a slash in the middle, such as `data/tmp`, means the path below the current
//! folder if `data` is there, and below `/` otherwise. A pattern without such a slash matches a name at any depth.

use std::path::{Path, PathBuf};

use lockstone_host::walk::Pattern;

/// Where patterns are resolved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    current: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Place {
    /// The current folder and the user's home folder.
    pub(crate) fn here() -> Place {
        Place {
            current: std::env::current_dir().ok(),
            home: std::env::home_dir(),
        }
    }

    /// The pattern of an option. There are no comments in options, and white space at the end belongs to the name.
    pub(crate) fn option(&self, text: &str) -> Pattern {
        let mut line = self.resolved(text);
        if line.starts_with('#') {
            line.insert(0, '\\');
        }
        let kept = line.trim_end_matches(' ').len();
        if kept < line.len() && !line[..kept].ends_with('\\') {
            line = format!("{}{}", &line[..kept], "\\ ".repeat(line.len() - kept));
        }
        Pattern {
            line,
            shown: text.to_owned(),
        }
    }

    /// The patterns of a file, one a line. Empty lines and comments are left out.
    pub(crate) fn file(&self, text: &str) -> Vec<Pattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|line| Pattern {
                line: self.resolved(line),
                shown: line.to_owned(),
            })
            .collect()
    }

    fn resolved(&self, pattern: &str) -> String {
        let (again, path) = match pattern.strip_prefix('!') {
            Some(path) => ("!", path),
            None => ("", pattern),
        };
        let resolved = self.absolute(path).and_then(|path| resolve_links(&path));
        resolved.map_or_else(|| pattern.to_owned(), |path| format!("{again}{path}"))
    }

    /// The components of the path that a pattern names; `None` if it names none.
    fn absolute(&self, pattern: &str) -> Option<Named> {
        let relative = |folder: Option<&PathBuf>, rest: &str| {
            let mut named = Named::literal(folder?)?;
            named.add(rest);
            Some(named)
        };
        if pattern.starts_with('/') {
            let mut named = Named::default();
            named.add(pattern);
            return Some(named);
        }
        if let Some(rest) = pattern.strip_prefix("~/") {
            return relative(self.home.as_ref(), rest);
        }
        let (first, rest) = pattern.split_once('/').unwrap_or((pattern, ""));
        match first {
            "~" => relative(self.home.as_ref(), ""),
            "." | ".." => relative(self.current.as_ref(), pattern),
            _ if rest.is_empty() || is_glob(first) => None,
            _ => {
                let current = self.current.as_ref()?;
                let is_here = current.join(first).symlink_metadata().is_ok();
                is_here.then(|| relative(Some(current), pattern)).flatten()
            }
        }
    }
}

/// An absolute path, some of whose components may be globs.
#[derive(Debug, Default)]
struct Named {
    /// Each component, and whether it may be a glob.
    parts: Vec<(String, bool)>,
    /// It ends with a slash, so it means a folder.
    is_folder: bool,
}

impl Named {
    fn literal(path: &Path) -> Option<Named> {
        let parts = path.to_str()?.split('/').filter(|part| !part.is_empty());
        Some(Named {
            parts: parts.map(|part| (part.to_owned(), false)).collect(),
            is_folder: false,
        })
    }

    fn add(&mut self, pattern: &str) {
        for part in pattern.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    self.parts.pop();
                }
                part => self.parts.push((part.to_owned(), is_glob(part))),
            }
        }
        self.is_folder = pattern.ends_with('/');
    }
}

/// A pattern that holds below a folder only, as if it stood in a `.gitignore` there. An absolute path within the folder
/// may be given, too.
pub(crate) fn within(folder: &Path, pattern: &str) -> String {
    let (not, body) = pattern.strip_prefix('!').map_or(("", pattern), |body| ("!", body));
    let mut root = String::new();
    for c in folder.to_string_lossy().trim_end_matches('/').chars() {
        if "\\*?[".contains(c) {
            root.push('\\');
        }
        root.push(c);
    }
    if body.strip_prefix(&root).is_some_and(|rest| rest.starts_with('/')) {
        return pattern.to_owned();
    }
    let is_anchored = body.trim_end_matches('/').contains('/');
    let between = if is_anchored { "/" } else { "/**/" };
    format!("{not}{root}{between}{}", body.trim_start_matches('/'))
}

fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '[', '\\'])
}

/// The line for a path, with the symlinks above what it names resolved; `None` if there is nothing to resolve.
fn resolve_links(named: &Named) -> Option<String> {
    let parts = &named.parts;
    if parts.is_empty() {
        return None;
    }
    let literal = parts.iter().take_while(|(_, is_glob)| !is_glob).count();
    // A path without globs keeps its own last name, unless a slash says that it is a folder.
    let above = if literal == parts.len() && !named.is_folder {
        literal - 1
    } else {
        literal
    };
    let (folder, rest) = (0..=above).rev().find_map(|depth| {
        let mut path = PathBuf::from("/");
        path.extend(parts[..depth].iter().map(|(part, _)| part));
        Some((path.canonicalize().ok()?, &parts[depth..]))
    })?;
    let folder = Named::literal(&folder)?;
    let mut line = String::new();
    for (part, is_glob) in folder.parts.iter().chain(rest) {
        line.push('/');
        if *is_glob {
            line.push_str(part);
        } else {
            line.extend(part.chars().flat_map(|one| {
                let escape = matches!(one, '*' | '?' | '[' | '\\').then_some('\\');
                escape.into_iter().chain([one])
            }));
        }
    }
    if named.is_folder {
        line.push('/');
    }
    Some(line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, String, Place) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/data")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let place = Place {
            current: Some(root.join("link")),
            home: Some(root.join("real")),
        };
        let root = root.to_str().unwrap().to_owned();
        (folder, root, place)
    }

    #[test]
    fn a_pattern_that_names_a_path_is_resolved_as_a_source_is() {
        let (_folder, root, place) = place();
        let line = |text: &str| place.option(text).line;
        for here in ["./data", "data/../data/.", "~/data", "../link/data"] {
            let wanted = format!("{root}/real/data");
            assert_eq!(line(here).trim_end_matches('/'), wanted, "{here}");
        }
        assert_eq!(line(&format!("{root}/link/data")), format!("{root}/real/data"));
        assert_eq!(line(&format!("{root}/link")), format!("{root}/link"), "the link itself");
        assert_eq!(line(&format!("{root}/link/")), format!("{root}/real/"));
        assert_eq!(line(&format!("{root}/link/*/x")), format!("{root}/real/*/x"));
        assert_eq!(line("data/*.o"), format!("{root}/real/data/*.o"));
        assert_eq!(line("!./data"), format!("!{root}/real/data"));
        assert_eq!(line("none/x"), "none/x", "below the root folder");
        assert_eq!(line("/none/x/"), "/none/x/");
        for name in ["*.tmp", "**/node_modules", "cache/", "*/a/b", "name"] {
            assert_eq!(line(name), name);
        }
    }

    #[test]
    fn a_pattern_of_a_folder_holds_below_it() {
        for (pattern, expected) in [
            ("*.tmp", "/s/**/*.tmp"),
            ("cache/", "/s/**/cache/"),
            ("/top", "/s/top"),
            ("a/b", "/s/a/b"),
            ("**/x", "/s/**/x"),
            ("!keep", "!/s/**/keep"),
            ("/s/a", "/s/a"),
        ] {
            assert_eq!(within(Path::new("/s"), pattern), expected);
        }
        assert_eq!(within(Path::new("/a[1]"), "x"), "/a\\[1]/**/x");
        assert_eq!(within(Path::new("/"), "x"), "/**/x");
    }

    #[test]
    fn only_files_have_comments_and_marks_of_their_encoding() {
        let (_folder, _, place) = place();
        assert_eq!(place.option("#recycle").line, "\\#recycle");
        assert_eq!(place.option("a ").line, "a\\ ");
        let lines: Vec<String> = place
            .file("\u{feff}*.iso\r\n# comment\n\n  \nb\n")
            .into_iter()
            .map(|pattern| pattern.line)
            .collect();
        assert_eq!(lines, ["*.iso", "b"]);
    }
}
