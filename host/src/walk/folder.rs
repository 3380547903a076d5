//! A handle of a folder of the source, by which its files are opened: by the walker, and by readers on other threads
//! who may hold it after the walk has left.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::Stat;

/// An open folder of the source.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: Arc<[u8]>,
    device: u64,
    device_raw: u64,
}

impl Folder {
    pub(super) fn new(handle: OwnedFd, path: &[u8], stat: &Stat) -> Arc<Self> {
        let path = if path.is_empty() { b"/" } else { path };
        Arc::new(Self {
            handle,
            path: path.into(),
            device: stat.device,
            device_raw: stat.device_raw,
        })
    }

    /// Opens a folder by its path, for its attributes: one above a source. Symbolic links above it are followed, it
    /// itself must be a folder.
    ///
    /// # Errors
    /// It is not there, no folder, or may not be seen.
    pub fn open(path: &Path) -> io::Result<(Arc<Self>, Stat)> {
        let (handle, _) = open_folder(rustix::fs::CWD, path)?;
        let stat = Stat::of(handle.as_fd())?;
        Ok((Self::new(handle, path.as_os_str().as_bytes(), &stat), stat))
    }

    /// The handle. Where the folder may not be read, it can only be asked for attributes (`O_PATH`).
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// The folder's absolute path in the source (not in a snapshot of it), for messages.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The same, for those who keep it when the handle is closed.
    #[must_use]
    pub fn shared_path(&self) -> Arc<[u8]> {
        Arc::clone(&self.path)
    }

    /// The path of an entry in it.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        path.extend_from_slice(&self.path);
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// `st_dev` of the source for an entry read here: entries of a snapshot have the folder's.
    pub(crate) fn map_device(&self, stat: &mut Stat) {
        if stat.device_raw == self.device_raw {
            stat.device = self.device;
        }
    }
}

/// Opens a folder for listing, without leaving a trace in its access time where that is permitted; where it may not be
/// read, for its attributes only (the error tells why).
pub(super) fn open_folder<P: rustix::path::Arg + Copy>(
    at: BorrowedFd<'_>,
    name: P,
) -> io::Result<(OwnedFd, Option<io::Error>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, name, flags | OFlags::NOATIME, Mode::empty()).or_else(|error| {
        // Only the owner may ask for that.
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

/// Opens a folder for its attributes only; mounts nothing.
pub(super) fn open_path<P: rustix::path::Arg>(at: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}
