//! Read-only snapshots of btrfs subvolumes, by `ioctl`: of the subvolume that a source lies in, and of those nested in
//! it below the source, because a snapshot shows nested subvolumes as empty folders. A subvolume that is already
//! read-only is read where it is. Needs root. Each subvolume is frozen at one moment, but several subvolumes not at the
//! same moment.
//!
//! The snapshots lie in a folder `.lockstone-snapshots-<id>` at the top of the mount, named `0`, `1`, …. The id is that
//! of the record (`leftovers.rs`) that is written before the folder is made and deleted after the folder is removed.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, futimens, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;

use super::leftovers::{Record, Records};
use super::provider::{Consistency, Inside, Leftover, Part, Provider, SnapshotError};
use crate::process::is_root;
use crate::stat::Stat;
use crate::sys;
use crate::volumes::Mount;

/// Folders whose names begin like this hold snapshots of this program. The walk never enters one.
pub const SNAPSHOT_FOLDER_PREFIX: &str = ".lockstone-snapshots-";

/// The provider's name, which is also the file system's in `mountinfo`.
const NAME: &str = "btrfs";

/// At most this many nested subvolumes are frozen for one source.
const NESTED_MAX: usize = 100_000;

/// The provider for btrfs.
#[derive(Debug)]
pub(super) struct Btrfs {
    records: Records,
    /// The folders made so far, by mount point.
    folders: HashMap<PathBuf, SnapshotFolder>,
    /// The snapshots taken so far, by the live subvolume's `st_dev`: the snapshot's path and its own `st_dev`.
    taken: HashMap<u64, (PathBuf, u64)>,
}

/// A folder at the top of a mount that holds snapshots.
#[derive(Debug)]
struct SnapshotFolder {
    path: PathBuf,
    handle: OwnedFd,
    /// `None` once the folder is removed.
    record: Option<Record>,
    /// How many snapshots were taken into it; also the name of the next one.
    count: usize,
}

impl Btrfs {
    pub(super) fn new(records: Records) -> Self {
        Self {
            records,
            folders: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    fn freeze_part(&mut self, path: &Path, mount: &Mount) -> io::Result<Part> {
        let top = subvolume_of(path)?;
        let handle = open(&top)?;
        let tree = sys::btrfs_tree_id(handle.as_fd())?;
        let nested = nested_below(&top, &handle, tree, path)?;
        let (snapshot, device) = self.take(&top, &handle, mount)?;
        let mut devices = vec![device];
        let mut inside = Vec::new();
        for place in nested {
            let handle = match open(&place.path) {
                Ok(handle) => handle,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // Something else is mounted over the subvolume and hides it.
            if sys::btrfs_tree_id(handle.as_fd()).ok() != Some(place.tree) {
                continue;
            }
            let read_from = if sys::btrfs_is_read_only(handle.as_fd())? {
                place.path.clone()
            } else {
                let (snapshot, device) = self.take(&place.path, &handle, mount)?;
                devices.push(device);
                snapshot
            };
            inside.push(Inside {
                path: place.path,
                read_from,
                is_mount: false,
            });
        }
        let below = path.strip_prefix(&top).map_err(io::Error::other)?;
        let read_from = if below.as_os_str().is_empty() {
            snapshot
        } else {
            snapshot.join(below)
        };
        Ok(Part {
            read_from,
            consistency: Consistency::Snapshot,
            devices,
            inside,
        })
    }

    /// The snapshot of the subvolume with its root folder at `top`, taken now unless there is one already; and the pair
    /// of `st_dev` that goes with it.
    fn take(&mut self, top: &Path, handle: &OwnedFd, mount: &Mount) -> io::Result<(PathBuf, (u64, u64))> {
        let live = Stat::of(handle.as_fd())?.device_raw;
        if let Some((snapshot, device)) = self.taken.get(&live) {
            return Ok((snapshot.clone(), (*device, live)));
        }
        if !self.folders.contains_key(&mount.point) {
            let folder = SnapshotFolder::make(&mount.point, &self.records)?;
            self.folders.insert(mount.point.clone(), folder);
        }
        let Some(folder) = self.folders.get_mut(&mount.point) else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        let name = folder.count.to_string();
        sys::btrfs_snapshot(folder.handle.as_fd(), name.as_bytes(), handle.as_fd())?;
        folder.count += 1;
        let snapshot = folder.path.join(name);
        let device = Stat::at(CWD, &*snapshot)?.device_raw;
        tracing::debug!(of = %top.display(), at = %snapshot.display(), "took a snapshot");
        self.taken.insert(live, (snapshot.clone(), device));
        Ok((snapshot, (device, live)))
    }
}

impl Provider for Btrfs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn offers(&self, mount: &Mount) -> Result<(), String> {
        if mount.fs != NAME {
            Err(format!("no snapshots can be taken of {}", mount.fs))
        } else if mount.read_only {
            Err("it is mounted read-only, so that no snapshot can be made there".to_owned())
        } else if !is_root() {
            Err("only root may take and remove snapshots".to_owned())
        } else {
            Ok(())
        }
    }

    fn freeze(&mut self, path: &Path, mount: &Mount) -> Result<Part, SnapshotError> {
        self.freeze_part(path, mount).map_err(|error| SnapshotError::Make {
            path: path.to_owned(),
            error,
        })
    }

    fn release(&mut self) -> Result<(), SnapshotError> {
        self.taken.clear();
        let mut outcome = Ok(());
        for folder in self.folders.values_mut() {
            let removed = folder.remove();
            let failed = |error| SnapshotError::Remove {
                folder: folder.path.clone(),
                error,
            };
            outcome = outcome.and(removed.map_err(failed));
        }
        self.folders.retain(|_, folder| folder.record.is_some());
        outcome
    }

    fn remove_leftover(&self, leftover: &Leftover) -> io::Result<()> {
        let Leftover { id, place } = leftover;
        // Only a folder with this name is ever removed. A record that was cut short names another one: it was written
        // before its folder was made.
        let expected = format!("{SNAPSHOT_FOLDER_PREFIX}{id}");
        if place
            .file_name()
            .is_none_or(|name| name.as_bytes() != expected.as_bytes())
        {
            return Ok(());
        }
        match remove_folder(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_btrfs = |above: &Path| open(above).and_then(|above| sys::btrfs_tree_id(above.as_fd())).is_ok();
                if place.parent().is_some_and(is_btrfs) {
                    Ok(())
                } else {
                    Err(io::Error::other(format!("{} is not mounted", place.display())))
                }
            }
            Err(error) => Err(error),
            Ok(()) => {
                tracing::info!(folder = %place.display(), "removed the snapshots of an interrupted run");
                Ok(())
            }
        }
    }
}

impl SnapshotFolder {
    fn make(mount_point: &Path, records: &Records) -> io::Result<Self> {
        let place = |id: &str| mount_point.join(format!("{SNAPSHOT_FOLDER_PREFIX}{id}"));
        let (record, path) = records.write(NAME, place)?;
        let made = keep_mtime(mount_point, |top| {
            mkdirat(top, path.file_name().unwrap_or_default(), Mode::RWXU)
        })
        .and_then(|()| open(&path));
        match made {
            Ok(handle) => Ok(Self {
                path,
                handle,
                record: Some(record),
                count: 0,
            }),
            Err(error) => {
                let _ = std::fs::remove_dir(&path);
                let _ = record.delete();
                Err(error)
            }
        }
    }

    /// Removes the folder with its snapshots, then the record. Does nothing if that is already done.
    fn remove(&mut self) -> io::Result<()> {
        if let Some(record) = &self.record {
            remove_folder(&self.path)?;
            record.delete()?;
            self.record = None;
        }
        Ok(())
    }
}

/// Changes a folder and gives it back the modification time that it had before: the folder may belong to the source.
fn keep_mtime(folder: &Path, change: impl FnOnce(&OwnedFd) -> Result<(), Errno>) -> io::Result<()> {
    let handle = open(folder)?;
    let before = Stat::of(handle.as_fd())?;
    change(&handle)?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: before.mtime_s,
            tv_nsec: before.mtime_ns.into(),
        },
    };
    Ok(futimens(&handle, &times)?)
}

/// Removes a folder of snapshots with the snapshots in it.
fn remove_folder(path: &Path) -> io::Result<()> {
    let handle = open(path)?;
    for entry in Dir::read_from(&handle)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        sys::btrfs_destroy(handle.as_fd(), name.to_bytes())?;
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    keep_mtime(above, |above| unlinkat(above, name, AtFlags::REMOVEDIR))
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, folder, flags, Mode::empty())?)
}

/// The path of the root folder of the subvolume that `path` lies in.
fn subvolume_of(path: &Path) -> io::Result<PathBuf> {
    let start = Stat::at(CWD, path)?;
    for above in path.ancestors() {
        let stat = Stat::at(CWD, above)?;
        if stat.device_raw != start.device_raw || stat.mount_id != start.mount_id {
            break;
        }
        if stat.inode == sys::SUBVOLUME_ROOT_INODE {
            return Ok(above.to_owned());
        }
    }
    Err(io::Error::other("the root of its subvolume is not mounted"))
}

/// A nested subvolume: the id of its tree and the path of its root folder.
struct Nested {
    tree: u64,
    path: PathBuf,
}

/// The subvolumes nested in the one at `top`, at any depth, that lie below `source`. A subvolume comes before those
/// nested in it.
fn nested_below(top: &Path, handle: &OwnedFd, tree: u64, source: &Path) -> io::Result<Vec<Nested>> {
    let mut found = Vec::new();
    let mut open_trees = vec![Nested {
        tree,
        path: top.to_owned(),
    }];
    while let Some(parent) = open_trees.pop() {
        for nested in sys::btrfs_nested(handle.as_fd(), parent.tree)? {
            let folder = sys::btrfs_path_of(handle.as_fd(), parent.tree, nested.folder)?;
            let mut path = parent.path.clone();
            path.push(std::ffi::OsStr::from_bytes(&folder));
            path.push(std::ffi::OsStr::from_bytes(&nested.name));
            let is_snapshot_folder =
                |part: &std::ffi::OsStr| part.as_bytes().starts_with(SNAPSHOT_FOLDER_PREFIX.as_bytes());
            let is_relevant = path.starts_with(source) || source.starts_with(&path);
            if !is_relevant
                || path
                    .strip_prefix(top)
                    .is_ok_and(|below| below.iter().any(is_snapshot_folder))
            {
                continue;
            }
            if found.len() >= NESTED_MAX {
                return Err(io::Error::other(format!(
                    "there are more than {NESTED_MAX} nested subvolumes"
                )));
            }
            // A subvolume that the source itself lies in is only passed through: it is not below the source.
            if path.starts_with(source) && path != source {
                found.push(Nested {
                    tree: nested.tree,
                    path: path.clone(),
                });
            }
            open_trees.push(Nested {
                tree: nested.tree,
                path,
            });
        }
    }
    Ok(found)
}
