//! Which entries of a tree are to be restored: by the paths that were named, and within these by patterns.

use lockstone_host::walk::Rules;

use super::job::RestoreRequest;

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// It is not selected.
    Nothing,
    /// It is a folder on the way to something that is selected.
    Through,
    /// It is a folder in which there may be something that is selected.
    Search,
    /// It is selected, or lies in a folder that is.
    All,
}

/// How much of a folder is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What the selected paths pick.
    Selected,
    /// What the patterns pick.
    Search,
    /// Everything that no pattern leaves out.
    Whole,
}

/// The selected absolute paths, and the patterns. Without paths, everything is selected.
pub(super) struct Selection {
    paths: Vec<Vec<u8>>,
    include: Option<Rules>,
    exclude: Option<Rules>,
}

impl Selection {
    pub(super) fn new(request: &RestoreRequest) -> Self {
        Self::of(&request.paths, request.include.clone(), request.exclude.clone())
    }

    fn of(paths: &[Vec<u8>], include: Option<Rules>, exclude: Option<Rules>) -> Self {
        let paths = paths.iter().map(|path| normal(path)).collect();
        Self {
            paths,
            include,
            exclude,
        }
    }

    /// The paths, without double or trailing slashes and without `.`.
    pub(super) fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }

    /// Whether `/` itself is selected, with everything in it.
    pub(super) fn is_all(&self) -> bool {
        self.include.is_none() && (self.paths.is_empty() || self.paths.iter().any(Vec::is_empty))
    }

    /// Whether `pick` has to be asked in a folder of this scope. Everything is selected otherwise.
    pub(super) fn decides(&self, scope: Scope) -> bool {
        match scope {
            Scope::Selected => !self.paths.is_empty() || self.include.is_some() || self.exclude.is_some(),
            Scope::Search => true,
            Scope::Whole => self.exclude.is_some(),
        }
    }

    /// What to do with the entry at `path`, in its normal form. `scope`: of the folder that it is in.
    pub(super) fn pick(&self, scope: Scope, path: &[u8], is_folder: bool) -> Pick {
        if scope == Scope::Selected {
            let by_path = self.pick_path(path);
            if by_path != Pick::All {
                return by_path;
            }
        }
        if self.leaves_out(path, is_folder) {
            return Pick::Nothing;
        }
        match &self.include {
            Some(include) if scope != Scope::Whole => match include.leaves_out(path, is_folder) {
                true => Pick::All,
                false if is_folder => Pick::Search,
                false => Pick::Nothing,
            },
            _ => Pick::All,
        }
    }

    /// Whether a pattern leaves this path out.
    pub(super) fn leaves_out(&self, path: &[u8], is_folder: bool) -> bool {
        let exclude = self.exclude.as_ref();
        exclude.is_some_and(|exclude| exclude.leaves_out(path, is_folder))
    }

    /// The patterns that were to pick something and picked nothing.
    pub(super) fn fruitless(&self) -> Vec<String> {
        let counts = self.include.iter().flat_map(Rules::counts);
        counts
            .filter(|(_, count)| *count == 0)
            .map(|(pattern, _)| pattern)
            .collect()
    }

    fn pick_path(&self, path: &[u8]) -> Pick {
        if self.paths.is_empty() {
            return Pick::All;
        }
        let mut pick = Pick::Nothing;
        for wanted in &self.paths {
            if is_within(path, wanted) {
                return Pick::All;
            }
            if is_within(wanted, path) {
                pick = Pick::Through;
            }
        }
        pick
    }
}

/// Whether `path` is `above` or lies beneath it.
fn is_within(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn normal(path: &[u8]) -> Vec<u8> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .flat_map(|name| [b"/", name].concat())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_path_picks_itself_what_is_beneath_and_the_way_to_it() {
        let of = |paths: &[Vec<u8>]| Selection::of(paths, None, None);
        let selection = of(&[b"/a//b/".to_vec(), b"/c".to_vec()]);
        assert_eq!(selection.pick_path(b"/a"), Pick::Through);
        assert_eq!(selection.pick_path(b"/a/b"), Pick::All);
        assert_eq!(selection.pick_path(b"/a/bc"), Pick::Nothing);
        assert_eq!(selection.pick_path(b"/a/b/x"), Pick::All);
        assert_eq!(selection.pick_path(b"/c"), Pick::All);
        assert_eq!(selection.pick_path(b"/d"), Pick::Nothing);
        assert!(!selection.is_all());
        assert!(of(&[]).is_all() && of(&[b"//".to_vec()]).is_all());
        assert_eq!(of(&[b"/".to_vec()]).pick_path(b"/d"), Pick::All);
    }

    #[test]
    fn patterns_pick_within_the_paths() {
        let rules = |patterns: &[&str]| Some(Rules::new(patterns).unwrap());
        let selection = Selection::of(
            &[b"/a".to_vec()],
            rules(&["*.c", "/a/whole"]),
            rules(&["*.tmp", "/a/no/"]),
        );
        let selected = |path: &str, is_folder| selection.pick(Scope::Selected, path.as_bytes(), is_folder);
        assert_eq!(selected("/a", true), Pick::Search);
        assert_eq!(selected("/b.c", false), Pick::Nothing);
        let search = |path: &str, is_folder| selection.pick(Scope::Search, path.as_bytes(), is_folder);
        assert_eq!(search("/a/x.c", false), Pick::All);
        assert_eq!(search("/a/x.h", false), Pick::Nothing);
        assert_eq!(search("/a/more", true), Pick::Search);
        assert_eq!(search("/a/whole", true), Pick::All);
        assert_eq!(search("/a/no", true), Pick::Nothing);
        let whole = |path: &str| selection.pick(Scope::Whole, path.as_bytes(), false);
        assert_eq!(whole("/a/whole/x"), Pick::All);
        assert_eq!(whole("/a/whole/x.tmp"), Pick::Nothing);
        assert!(selection.fruitless().is_empty() && !selection.is_all());
        let none = Selection::of(&[], rules(&["*.none"]), None);
        assert_eq!(none.fruitless(), ["*.none"]);
        assert!(!Selection::of(&[], None, None).decides(Scope::Selected));
    }
}
