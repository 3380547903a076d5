//! From a path that a user names to a path in a recovery point.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::Entry;
use lockstone_vault::log::Point;
use lockstone_vault::points::{self, Found};

use super::session::Session;
use crate::failure::{Exit, Failure};
use crate::text::point::short;

/// The top page of a point's tree; `None` if the tree is empty.
pub(crate) fn root(point: &Point) -> Result<Option<ChunkId>, Failure> {
    if point.body.root.is_empty() {
        return Ok(None);
    }
    let id = ChunkId::try_from(&point.body.root[..]);
    id.map(Some)
        .map_err(|error| Failure::new(Exit::Damaged, "damaged", format!("a tree is damaged: {error}"), ""))
}

/// The path in the point that a user means, and its entry; the root has no entry. Fails with `no-such-path` if the
/// point has no such path.
pub(crate) async fn find_path(
    session: &Session,
    point: &Point,
    path: &Path,
) -> Result<(Vec<u8>, Option<Box<Entry>>), Failure> {
    let root = root(point)?;
    for candidate in candidates(point, path) {
        match points::lookup(&*session.domain, root, &candidate).await? {
            Found::Root => return Ok((candidate, None)),
            Found::Entry(entry) => return Ok((candidate, Some(entry))),
            Found::Missing => {}
        }
    }
    let message = format!("{} is not in recovery point {}", path.display(), short(&point.id));
    let hint = "see `lockstone points ls` for what is";
    Err(Failure::failed("no-such-path", message, hint))
}

/// The paths of a point that a user may mean, best first. An absolute path means itself. A relative path is taken
/// from the working folder first, then from each source.
fn candidates(point: &Point, path: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut add = |path: PathBuf| {
        let clean = lexical(&path);
        if !found.contains(&clean) {
            found.push(clean);
        }
    };
    if path.is_absolute() {
        add(path.to_owned());
        return found;
    }
    if let Ok(here) = std::env::current_dir() {
        add(here.join(path));
    }
    for source in &point.body.sources {
        add(PathBuf::from(OsStr::from_bytes(source)).join(path));
    }
    found
}

/// The path without `.`, `..` and doubled slashes. Only the text counts: the path may no longer exist on this machine.
fn lexical(path: &Path) -> Vec<u8> {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean.as_os_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_without_looking_at_this_machine() {
        assert_eq!(lexical(Path::new("/a/./b/../c//d/")), b"/a/c/d");
        assert_eq!(lexical(Path::new("/../..")), b"/");
    }
}
