//! From a path that a user names to a path in a recovery point.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

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
    id.map(Some).map_err(|error| {
        let hint = "run `lockstone check --read-data` to see what is damaged";
        Failure::new(Exit::Damaged, "damaged", format!("a tree is damaged: {error}"), hint)
    })
}

/// The path with the symlinks above it resolved on this machine, as a backup does with its sources. `None` if there is
/// no such folder here.
fn behind_links(path: &Path) -> Option<PathBuf> {
    let above = path.parent()?.canonicalize().ok()?;
    Some(above.join(path.file_name()?))
}

/// The paths that a user may mean, best first, in any of these points.
pub(crate) fn anywhere(points: &[&Point], path: &Path) -> Vec<Vec<u8>> {
    let working_folder = std::env::current_dir().ok();
    let mut all: Vec<Vec<u8>> = Vec::new();
    for point in points {
        for candidate in points::candidates(point, path, working_folder.as_deref()) {
            if !all.contains(&candidate) {
                all.push(candidate);
            }
        }
        if path.is_absolute() {
            break;
        }
    }
    let behind = behind_links(path).map(|path| path.into_os_string().into_vec());
    all.extend(behind.filter(|path| !all.contains(path)));
    all
}

/// The path in the point that a user means, and its entry; the root has no entry. Fails with `no-such-path` if the
/// point has no such path.
pub(crate) async fn find_path(
    session: &Session,
    point: &Point,
    path: &Path,
) -> Result<(Vec<u8>, Option<Box<Entry>>), Failure> {
    let root = root(point)?;
    let working_folder = std::env::current_dir().ok();
    let mut candidates = points::candidates(point, path, working_folder.as_deref());
    candidates.extend(behind_links(path).map(|path| path.into_os_string().into_vec()));
    for candidate in candidates {
        match points::lookup(&*session.domain, root, &candidate).await? {
            Found::Root => return Ok((candidate, None)),
            Found::Entry(entry) => return Ok((candidate, Some(entry))),
            Found::Missing => {}
        }
    }
    let message = format!("{} is not in recovery point {}", path.display(), short(&point.id));
    let hint = "`lockstone points ls POINT` shows what is";
    Err(Failure::failed("no-such-path", message, hint))
}
