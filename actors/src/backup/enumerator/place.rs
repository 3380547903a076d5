//! Where the walk of a source is, and what the last recovery point has there.

use std::path::Path;

use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::Stat;
use lockstone_proto::vault::{Entry, EntryKind};

use super::previous_point::OldFolder;
use crate::backup::job::settled_before;

/// A source, and what the last recovery point has of it.
pub(super) struct Source {
    pub(super) frozen: FrozenSource,
    pub(super) path: Vec<u8>,
    pub(super) old: Option<OldSource>,
}

/// A source as the last recovery point has it.
pub(super) struct OldSource {
    pub(super) entry: Entry,
    /// When that point's backup began. It may have missed what changed later.
    pub(super) started: (i64, u32),
}

/// Where the walk of a source is.
pub(super) struct Place<'a> {
    pub(super) source: &'a Source,
    /// Whether the source's own entry is in the tree.
    pub(super) named: bool,
    /// The folders from the source down to here, with what the last recovery point has of each.
    pub(super) folders: Vec<Option<OldFolder>>,
}

impl Place<'_> {
    /// What the last recovery point has under this name.
    pub(super) fn old(&mut self, name: &[u8]) -> Option<Entry> {
        match self.folders.last_mut() {
            Some(old) => old.as_mut().and_then(|old| old.find(name)),
            None => self.source.old.as_ref().map(|old| old.entry.clone()),
        }
    }

    /// When that recovery point's backup began.
    pub(super) fn started(&self) -> Option<(i64, u32)> {
        self.source.old.as_ref().map(|old| old.started)
    }

    /// Whether what is entered or left here is in the tree.
    pub(super) fn is_in_tree(&self) -> bool {
        self.named || !self.folders.is_empty()
    }
}

/// Whether an entry is unchanged since a recovery point that was begun at `started`. A change in the clock's last tick
/// before that may have left the times as they were, so a file with such a time counts as changed.
pub(super) fn is_same(old: &Entry, stat: &Stat, started: (i64, u32)) -> bool {
    old.kind() == stat.kind()
        && (old.kind() == EntryKind::Folder || old.size == if stat.is_file() { stat.size } else { 0 })
        && (old.mtime_s, old.mtime_ns) == (stat.mtime_s, stat.mtime_ns)
        && (old.ctime_s, old.ctime_ns) == (stat.ctime_s, stat.ctime_ns)
        && (old.inode, old.device) == (stat.inode, stat.device)
        && settled_before((stat.ctime_s, stat.ctime_ns), started)
}

pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}

pub(super) fn os_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

pub(super) fn os_path(name: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name))
}
