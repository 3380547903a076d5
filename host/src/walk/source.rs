//! Where a walk begins, and where it reads what belongs to a frozen source.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode};

use super::event::{SkipReason, WalkEvent};
use super::frame::Notice;
use super::rules::Rules;
use crate::folder::{Folder, open_folder};
use crate::path::FolderPath;
use crate::snapshot::{FrozenSource, SNAPSHOT_FOLDER_PREFIX, is_recorded};
use crate::stat::Stat;
use crate::volumes::is_pseudo_file_system;

/// Where the parts of a frozen source are read.
pub(super) struct Places {
    /// Pairs of `st_dev`: the one seen where a part is read, and the one it has in the source.
    devices: Vec<(u64, u64)>,
    /// Folders that are read from another place, by their paths in the source.
    redirects: HashMap<Vec<u8>, Redirect>,
    /// The folder with the records of snapshots.
    records: Option<PathBuf>,
}

/// A folder that is read from another place.
pub(super) struct Redirect {
    pub(super) read_from: PathBuf,
    /// Whether the folder is a mount point, and not only a nested subvolume.
    pub(super) is_mount: bool,
}

impl Places {
    pub(super) fn new(frozen: &FrozenSource) -> Self {
        let redirect = |inside: &crate::snapshot::Inside| Redirect {
            read_from: inside.read_from.clone(),
            is_mount: inside.is_mount,
        };
        let redirects = frozen
            .inside
            .iter()
            .map(|inside| (inside.path.as_os_str().as_bytes().to_vec(), redirect(inside)));
        Self {
            devices: frozen.devices.clone(),
            redirects: redirects.collect(),
            records: frozen.records.clone(),
        }
    }

    /// The other place of the folder at `path`, if it has one.
    pub(super) fn redirect(&self, path: &[u8]) -> Option<&Redirect> {
        if self.redirects.is_empty() {
            return None;
        }
        self.redirects.get(path)
    }

    /// Whether this program made the folder for its snapshots: its name says so, and it is root's alone, or in the
    /// records. A name alone does not tell: anybody can use it. A record alone does not reach far enough: another state
    /// folder may hold it.
    pub(super) fn is_snapshot_folder(&self, name: &[u8], stat: &Stat) -> bool {
        if !name.starts_with(SNAPSHOT_FOLDER_PREFIX.as_bytes()) {
            return false;
        }
        let is_roots_alone = stat.uid == 0 && stat.mode & 0o777 == Mode::RWXU.bits();
        let is_recorded = |records| is_recorded(records, (stat.device, stat.inode));
        is_roots_alone || self.records.as_deref().is_some_and(is_recorded)
    }

    /// Sets `stat.device` to the `st_dev` that the entry has in the source.
    pub(super) fn map_device(&self, stat: &mut Stat) {
        if let Some((_, source)) = self.devices.iter().find(|(seen, _)| *seen == stat.device_raw) {
            stat.device = *source;
        }
    }
}

/// How a walk begins.
pub(super) enum Start {
    /// The source is a folder.
    Folder {
        name: Vec<u8>,
        stat: Stat,
        folder: Arc<Folder>,
        notice: Option<Notice>,
    },
    /// The source is not a folder. The walk has this one event.
    Entry(WalkEvent),
    /// The walk has begun.
    Begun,
}

impl Start {
    /// Opens the source. `path` is its path in bytes, empty for `/`.
    ///
    /// # Errors
    /// The source cannot be found or opened.
    pub(super) fn open(frozen: &FrozenSource, rules: &Rules, places: &Places, path: &[u8]) -> io::Result<Self> {
        let skipped = |what| {
            Ok(Self::Entry(WalkEvent::Skipped {
                path: path.to_vec(),
                what,
            }))
        };
        let mut stat = Stat::at(CWD, &*frozen.read_from)?;
        places.map_device(&mut stat);
        if rules.exclude_source(path, stat.is_folder()) {
            return skipped(SkipReason::Excluded);
        }
        if rules.forbid_source(&frozen.source) || (stat.is_folder() && rules.forbid(path, &stat)) {
            return skipped(SkipReason::Forbidden);
        }
        let name = frozen
            .source
            .file_name()
            .map(|name| name.as_bytes().to_vec())
            .unwrap_or_default();
        if stat.is_folder() {
            let (handle, denied) = open_folder(CWD, &*frozen.read_from)?;
            let mut stat = Stat::of(handle.as_fd())?;
            places.map_device(&mut stat);
            let notice = if is_pseudo_file_system(handle.as_fd())? {
                Some(Notice::Skipped(SkipReason::PseudoFileSystem))
            } else {
                denied.map(Notice::Problem)
            };
            return Ok(Self::Folder {
                name,
                stat,
                folder: Folder::new(handle, FolderPath::whole(path), &stat),
                notice,
            });
        }
        let above = |path: &Path| path.parent().map(PathBuf::from).unwrap_or_else(|| "/".into());
        let (handle, _) = open_folder(CWD, &*above(&frozen.read_from))?;
        let mut around = Stat::of(handle.as_fd())?;
        places.map_device(&mut around);
        let folder = Folder::new(
            handle,
            FolderPath::whole(above(&frozen.source).as_os_str().as_bytes()),
            &around,
        );
        if stat.file_type() == FileType::Socket {
            return skipped(SkipReason::Socket);
        }
        if rules.is_too_large(&stat) {
            return skipped(SkipReason::TooLarge);
        }
        Ok(Self::Entry(WalkEvent::Entry { folder, name, stat }))
    }
}
