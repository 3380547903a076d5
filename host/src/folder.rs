//! An open folder of the source, through which its entries are reached. The walker opens it, readers on other threads
//! open its files, and they may keep it after the walk has left the folder.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::path::FolderPath;
use crate::stat::Stat;

/// An open folder of the source.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: Arc<FolderPath>,
    /// `st_dev` in the source.
    device: u64,
    /// `st_dev` where the folder is read.
    device_raw: u64,
}

impl Folder {
    pub(crate) fn new(handle: OwnedFd, path: Arc<FolderPath>, stat: &Stat) -> Arc<Self> {
        Arc::new(Self {
            handle,
            path,
            device: stat.device,
            device_raw: stat.device_raw,
        })
    }

    /// Opens a folder by its path, and returns its attributes too. Symbolic links in the path are followed, except in
    /// its last component, which must be a folder.
    ///
    /// # Errors
    /// There is no such folder, or this process may not see it.
    pub fn open(path: &Path) -> io::Result<(Arc<Self>, Stat)> {
        let (handle, _) = open_folder(rustix::fs::CWD, path)?;
        let stat = Stat::of(handle.as_fd())?;
        Ok((
            Self::new(handle, FolderPath::whole(path.as_os_str().as_bytes()), &stat),
            stat,
        ))
    }

    /// The folder's handle. If this process may not read the folder, the handle serves for attributes only (`O_PATH`).
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// The folder's absolute path in the source (not in a snapshot of it).
    #[must_use]
    pub fn path(&self) -> &Arc<FolderPath> {
        &self.path
    }

    /// The absolute path in the source of the folder's entry `name`.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        self.path.join(name)
    }

    /// Whether an entry of this folder, or the folder itself, lies on the folder's file system. A single file can be
    /// mounted from another one.
    #[must_use]
    pub fn is_on(&self, stat: &Stat) -> bool {
        stat.device_raw == self.device_raw
    }

    /// Sets `stat.device` of an entry of this folder: an entry that is read from a snapshot gets the `st_dev` of the
    /// source.
    pub(crate) fn map_device(&self, stat: &mut Stat) {
        if stat.device_raw == self.device_raw {
            stat.device = self.device;
        }
    }
}

/// Opens a folder for listing, without a change of its access time where the system permits that. If this process may
/// not read the folder, opens it for its attributes only, and returns the reason beside the handle.
pub(crate) fn open_folder<P: rustix::path::Arg + Copy>(
    at: BorrowedFd<'_>,
    name: P,
) -> io::Result<(OwnedFd, Option<io::Error>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, name, flags | OFlags::NOATIME, Mode::empty()).or_else(|error| {
        // Only the owner may ask the system to keep the access time.
        if error == Errno::PERM {
            openat(at, name, flags, Mode::empty())
        } else {
            Err(error)
        }
    }) {
        Ok(handle) => Ok((handle, None)),
        Err(error @ (Errno::ACCESS | Errno::PERM)) => Ok((open_path(at, name)?, Some(error.into()))),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder for its attributes only. Does not trigger an automount.
pub(crate) fn open_path<P: rustix::path::Arg>(at: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}
