//! Where the walk of a source is, and what the last recovery point has there.

use std::path::Path;

use lockstone_host::settle::Moment;
use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::Stat;
use lockstone_proto::vault::{Entry, EntryKind};

use super::previous_point::{OldFolder, OldPoint};
use crate::backup::source::BackupSource;

/// A source, and what the last recovery point has of it.
pub(super) struct Source {
    pub(super) asked: BackupSource,
    pub(super) frozen: FrozenSource,
    pub(super) path: Vec<u8>,
    pub(super) old: Option<OldSource>,
}

/// A source as the last recovery point has it.
pub(super) struct OldSource {
    pub(super) entry: Entry,
    pub(super) point: OldPoint,
    /// The number of the file system of the folder above it. 0: not known.
    pub(super) device_above: u64,
}

/// Where the walk of a source is.
pub(super) struct Place<'a> {
    pub(super) source: &'a Source,
    /// Sources that are still to be put among its entries.
    pub(super) beside: &'a [Source],
    /// Whether the source's own entry is in the tree. This is so for all sources except `/`.
    pub(super) named: bool,
    /// The `st_dev` of the folder above the source.
    pub(super) device_above: u64,
    /// The folders from the source down to here.
    pub(super) folders: Vec<Level>,
    /// A time before the entry was seen that the walk is at.
    pub(super) seen: Moment,
    pub(super) tally: SourceTally,
}

/// A folder on the way from the source to the entry that the walk is at.
pub(super) struct Level {
    /// Its entries in the last recovery point.
    pub(super) old: Option<OldFolder>,
    /// The number of its file system in that point; 0 if that is not known.
    pub(super) old_device: u64,
    /// Its `st_dev` in the source now.
    pub(super) device: u64,
}

/// What became of the entries of a source.
#[derive(Default)]
pub(super) struct SourceTally {
    /// Files, symlinks, fifos and devices.
    pub(super) kept: u64,
    /// Entries that were left out on purpose.
    pub(super) left_out: u64,
    /// Entries that could not be read.
    pub(super) problems: u64,
    /// The source itself is left out, as the user wishes or with a warning of its own.
    pub(super) is_left_out: bool,
}

impl Place<'_> {
    /// What the last recovery point has under this name.
    pub(super) fn old(&mut self, name: &[u8]) -> Option<Entry> {
        match self.folders.last_mut() {
            Some(level) => level.old.as_mut().and_then(|old| old.find(name)),
            None => self.source.old.as_ref().map(|old| old.entry.clone()),
        }
    }

    /// When the recovery point with which the source is compared was committed.
    pub(super) fn compared_with(&self) -> Option<i64> {
        self.source.old.as_ref().map(|old| old.point.committed_s)
    }

    /// Whether a folder with files in it was a mount point in the last recovery point, and is none now.
    pub(super) fn lost_its_mount(&self, old: &Entry, stat: &Stat) -> bool {
        let (old_above, above) = match self.folders.last() {
            Some(level) => (level.old_device, level.device),
            None => (
                self.source.old.as_ref().map_or(0, |old| old.device_above),
                self.device_above,
            ),
        };
        let was_mount = old.device != 0 && old_above != 0 && old.device != old_above;
        was_mount && stat.device == above && !old.page.is_empty()
    }

    /// Whether what is entered or left here is in the tree.
    pub(super) fn is_in_tree(&self) -> bool {
        self.named || !self.folders.is_empty()
    }
}

/// Whether an entry has the attributes that the last recovery point has of it. If that point's entry had not settled,
/// it may have changed nevertheless.
pub(super) fn looks_same(old: &Entry, stat: &Stat) -> bool {
    old.kind() == stat.kind()
        && (old.kind() == EntryKind::Folder || old.size == if stat.is_file() { stat.size } else { 0 })
        && (old.mtime_s, old.mtime_ns) == (stat.mtime_s, stat.mtime_ns)
        && (old.ctime_s, old.ctime_ns) == (stat.ctime_s, stat.ctime_ns)
        && (old.inode, old.device) == (stat.inode, stat.device)
}

/// Whether an entry is unchanged since it was read for the last recovery point.
pub(super) fn is_same(old: &Entry, stat: &Stat) -> bool {
    !old.unsettled && looks_same(old, stat)
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
