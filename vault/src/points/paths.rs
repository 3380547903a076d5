//! Which paths of a recovery point a user may mean. Only texts are compared: nothing here reads the point's tree, or
//! the file system of this machine.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::log::Point;

/// The absolute paths that a user may mean by `path`, best first, each once, as the bytes that
/// [`lookup`](super::lookup) takes. An absolute path means itself. A relative path is taken from the working folder
/// first, if there is one, and then from each source of the point.
#[must_use]
pub fn candidates(point: &Point, path: &Path, working_folder: Option<&Path>) -> Vec<Vec<u8>> {
    let sources = point.body.sources.iter();
    let sources = sources.map(|source| Path::new(OsStr::from_bytes(source)));
    among(sources, path, working_folder)
}

fn among<'a>(sources: impl Iterator<Item = &'a Path>, path: &Path, working_folder: Option<&'a Path>) -> Vec<Vec<u8>> {
    if path.is_absolute() {
        return vec![clean(path)];
    }
    let mut found = Vec::new();
    for base in working_folder.into_iter().chain(sources) {
        let candidate = clean(&base.join(path));
        if !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

/// The path without `.`, `..` and doubled slashes. `..` is removed together with the name before it, even if that name
/// is a symlink.
fn clean(path: &Path) -> Vec<u8> {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    clean.as_os_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates_of(path: &str, working_folder: Option<&str>) -> Vec<Vec<u8>> {
        let sources = ["/srv/data", "/etc"].map(Path::new);
        among(sources.into_iter(), Path::new(path), working_folder.map(Path::new))
    }

    #[test]
    fn a_path_is_cleaned_without_looking_at_this_machine() {
        assert_eq!(clean(Path::new("/a/./b/../c//d/")), b"/a/c/d");
        assert_eq!(clean(Path::new("/../..")), b"/");
    }

    #[test]
    fn an_absolute_path_means_itself() {
        assert_eq!(candidates_of("/x/../y", Some("/home")), [b"/y"]);
    }

    #[test]
    fn a_relative_path_is_taken_from_the_working_folder_before_the_sources() {
        let wanted: [&[u8]; 3] = [b"/home/a/b", b"/srv/data/a/b", b"/etc/a/b"];
        assert_eq!(candidates_of("a/b", Some("/home")), wanted);
        assert_eq!(candidates_of("a/b", None), wanted[1..]);
    }

    #[test]
    fn a_candidate_comes_once() {
        let wanted: [&[u8]; 2] = [b"/etc/a", b"/srv/data/a"];
        assert_eq!(candidates_of("a", Some("/etc")), wanted);
    }
}
