//! Read-only snapshots of btrfs subvolumes, by `ioctl`: of the subvolume a source lies in, and of those nested in it
//! below the source, which a snapshot shows as empty folders only. Subvolumes that are read-only already are read where
//! they are. Needs root. The snapshots of several subvolumes are not of one moment; that of each is.
//!
//! They lie in a folder `.lockstone-snapshots-<16 hex digits>` at the top of the mount, named `0`, `1`, …. Before it is
//! made, its path is written to a record, `<state>/snapshots/<the same digits>`, which stays locked (`flock`) as long as
//! this process lives: a record that can be locked is a dead run's. Folder and record are removed in that order, so a
//! crash at any moment leaves a record of what is left.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, flock, futimens, mkdirat,
    openat, unlinkat,
};
use rustix::io::Errno;

use super::{Consistency, Inside, Part, Provider, SNAPSHOT_FOLDER_PREFIX, SnapshotError};
use crate::stat::Stat;
use crate::sys;
use crate::volumes::Mount;

/// Nested subvolumes that are looked at for one source at most.
const NESTED_MAX: usize = 100_000;

/// The provider for btrfs.
#[derive(Debug)]
pub struct Btrfs {
    records: PathBuf,
    /// By mount point.
    folders: HashMap<PathBuf, SnapshotFolder>,
    /// By the live subvolume's `st_dev`: its snapshot, and the `st_dev` there.
    taken: HashMap<u64, (PathBuf, u64)>,
}

/// A folder with snapshots in it.
#[derive(Debug)]
struct SnapshotFolder {
    path: PathBuf,
    handle: OwnedFd,
    record: PathBuf,
    /// Locked; none once all is removed.
    lock: Option<File>,
    count: usize,
}

impl Btrfs {
    /// A provider that keeps its records in `<state_dir>/snapshots`.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            records: records(state_dir),
            folders: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    fn freeze_part(&mut self, path: &Path, mount: &Mount) -> io::Result<Part> {
        let top = subvolume_of(path)?;
        let handle = open(&top)?;
        let tree = sys::btrfs_tree_id(handle.as_fd())?;
        let nested = nested_below(&top, &handle, tree, path)?;
        let (snapshot, mut devices) = self.take(&top, &handle, mount)?;
        let mut inside = Vec::new();
        for place in nested {
            let handle = match open(&place.path) {
                Ok(handle) => handle,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // What is mounted over it hides it.
            if sys::btrfs_tree_id(handle.as_fd()).ok() != Some(place.tree) {
                continue;
            }
            let read_from = if sys::btrfs_is_read_only(handle.as_fd())? {
                place.path.clone()
            } else {
                let (snapshot, more) = self.take(&place.path, &handle, mount)?;
                devices.extend(more);
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

    /// The snapshot of a subvolume, taken now if it was not yet.
    fn take(&mut self, top: &Path, handle: &OwnedFd, mount: &Mount) -> io::Result<(PathBuf, Vec<(u64, u64)>)> {
        let live = Stat::of(handle.as_fd())?.device_raw;
        if let Some((snapshot, device)) = self.taken.get(&live) {
            return Ok((snapshot.clone(), vec![(*device, live)]));
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
        Ok((snapshot, vec![(device, live)]))
    }
}

impl Provider for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn offers(&self, mount: &Mount) -> Result<(), String> {
        if mount.fs != "btrfs" {
            Err(format!("no snapshots can be taken of {}", mount.fs))
        } else if mount.read_only {
            Err("it is mounted read-only, so that no snapshot can be made there".to_owned())
        } else if !crate::is_root() {
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
        self.folders.retain(|_, folder| folder.lock.is_some());
        outcome
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!("{error}");
        }
    }
}

impl SnapshotFolder {
    fn make(mount_point: &Path, records: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(records)?;
        let id = format!("{:016x}", std::hash::RandomState::new().build_hasher().finish());
        let path = mount_point.join(format!("{SNAPSHOT_FOLDER_PREFIX}{id}"));
        let record = records.join(&id);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&record)?;
        let made = (|| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            io::Write::write_all(&mut &file, path.as_os_str().as_bytes())?;
            file.sync_all()?;
            File::open(records)?.sync_all()?;
            unseen(mount_point, |top| {
                mkdirat(top, path.file_name().unwrap_or_default(), Mode::RWXU)
            })?;
            open(&path)
        })();
        match made {
            Ok(handle) => Ok(Self {
                path,
                handle,
                record,
                lock: Some(file),
                count: 0,
            }),
            Err(error) => {
                let _ = std::fs::remove_dir(&path);
                let _ = std::fs::remove_file(&record);
                Err(error)
            }
        }
    }

    fn remove(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            remove_folder(&self.path)?;
            std::fs::remove_file(&self.record)?;
            self.lock = None;
        }
        Ok(())
    }
}

/// Does something in a folder that must not be seen in its modification time: it may be (in) the source.
fn unseen(folder: &Path, change: impl FnOnce(&OwnedFd) -> Result<(), Errno>) -> io::Result<()> {
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

/// Removes a folder of snapshots with all that is in it.
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
    unseen(above, |above| unlinkat(above, name, AtFlags::REMOVEDIR))
}

fn records(state_dir: &Path) -> PathBuf {
    state_dir.join("snapshots")
}

/// See [`super::cleanup_leftovers`].
pub(super) fn cleanup(state_dir: &Path) -> Vec<String> {
    let records = match std::fs::read_dir(records(state_dir)) {
        Ok(records) => records,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![format!("the records of snapshots could not be read: {error}")],
    };
    let mut problems = Vec::new();
    for record in records {
        let cleaned = record.and_then(|record| {
            let record = record.path();
            cleanup_record(&record).map_err(|error| io::Error::other(format!("{}: {error}", record.display())))
        });
        if let Err(error) = cleaned {
            problems.push(format!("snapshots of an interrupted run could not be removed: {error}"));
        }
    }
    problems
}

fn cleanup_record(record: &Path) -> io::Result<()> {
    let file = match File::open(record) {
        Ok(file) => file,
        // Its run has ended just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Its run is going on.
        Err(Errno::WOULDBLOCK) => return Ok(()),
        locked => locked?,
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(std::fs::read(record)?));
    // Nothing but a folder of ours is ever removed. A record cut short was written before its folder was made.
    let expected = record
        .file_name()
        .map(|id| [SNAPSHOT_FOLDER_PREFIX.as_bytes(), id.as_bytes()].concat());
    if path.file_name().map(|name| name.as_bytes().to_vec()) == expected {
        match remove_folder(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_btrfs = |above: &Path| open(above).and_then(|above| sys::btrfs_tree_id(above.as_fd())).is_ok();
                if !path.parent().is_some_and(is_btrfs) {
                    return Err(io::Error::other(format!("{} is not mounted", path.display())));
                }
            }
            removed => {
                removed?;
                tracing::info!(folder = %path.display(), "removed the snapshots of an interrupted run");
            }
        }
    }
    std::fs::remove_file(record)
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, folder, flags, Mode::empty())?)
}

/// The root folder of the subvolume that `path` lies in.
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

struct Nested {
    tree: u64,
    path: PathBuf,
}

/// The subvolumes nested in the one at `top`, to any depth, that lie below `source`; those above are listed first.
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
            let is_ours = |part: &std::ffi::OsStr| part.as_bytes().starts_with(SNAPSHOT_FOLDER_PREFIX.as_bytes());
            let leads_there = path.starts_with(source) || source.starts_with(&path);
            if !leads_there || path.strip_prefix(top).is_ok_and(|below| below.iter().any(is_ours)) {
                continue;
            }
            if found.len() >= NESTED_MAX {
                return Err(io::Error::other(format!(
                    "there are more than {NESTED_MAX} nested subvolumes"
                )));
            }
            // One that the source itself lies in is another subvolume's business: it is not below the source.
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
