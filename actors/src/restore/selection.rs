//! Which entries of a tree are to be restored.

use super::writer::open_files::FolderOut;

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// It is not selected.
    Nothing,
    /// It is a folder on the way to something that is selected.
    Through,
    /// It is selected, or lies in a folder that is.
    All,
}

/// The selected absolute paths. Without any, everything is selected.
pub(super) struct Selection {
    paths: Vec<Vec<u8>>,
}

impl Selection {
    pub(super) fn new(paths: &[Vec<u8>]) -> Self {
        let paths = paths.iter().map(|path| normal(path)).collect();
        Self { paths }
    }

    /// The paths, without double or trailing slashes and without `.`.
    pub(super) fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }

    /// Whether `/` itself is selected, with everything in it.
    pub(super) fn is_all(&self) -> bool {
        self.paths.is_empty() || self.paths.iter().any(Vec::is_empty)
    }

    /// What to do with `name` in `folder`.
    pub(super) fn pick(&self, folder: &FolderOut, name: &[u8]) -> Pick {
        if self.paths.is_empty() {
            return Pick::All;
        }
        self.pick_in(&folder.path(), name)
    }

    fn pick_in(&self, folder: &[u8], name: &[u8]) -> Pick {
        let mut path = normal(folder);
        path.push(b'/');
        path.extend_from_slice(name);
        let mut pick = Pick::Nothing;
        for wanted in &self.paths {
            if is_within(&path, wanted) {
                return Pick::All;
            }
            if is_within(wanted, &path) {
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
mod tests {
    use super::*;

    #[test]
    fn a_path_picks_itself_what_is_beneath_and_the_way_to_it() {
        let selection = Selection::new(&[b"/a//b/".to_vec(), b"/c".to_vec()]);
        assert_eq!(selection.pick_in(b"/", b"a"), Pick::Through);
        assert_eq!(selection.pick_in(b"/a", b"b"), Pick::All);
        assert_eq!(selection.pick_in(b"/a", b"bc"), Pick::Nothing);
        assert_eq!(selection.pick_in(b"/a/b", b"x"), Pick::All);
        assert_eq!(selection.pick_in(b"/", b"c"), Pick::All);
        assert_eq!(selection.pick_in(b"/", b"d"), Pick::Nothing);
        assert!(!selection.is_all());
        assert!(Selection::new(&[]).is_all() && Selection::new(&[b"//".to_vec()]).is_all());
        assert_eq!(Selection::new(&[b"/".to_vec()]).pick_in(b"/", b"d"), Pick::All);
    }
}
