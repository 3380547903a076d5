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
