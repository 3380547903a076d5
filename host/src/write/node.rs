//! What a folder of the target is made of: its place beneath the folder above, its handle, and what is known about it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use lockstone_proto::vault::Entry;
use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod};
use rustix::io::Errno;

use super::filesystem::FileSystem;
use super::handles::Slot;
use super::{Dir, Target};
use crate::metadata::{Born, path_of_handle, protect, unprotect};
use crate::stat::Stat;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) above: Option<Dir>,
    /// The name in the folder above; empty for the target itself, whose handle is always open.
    pub(super) name: Bytes,
    pub(super) held: Held,
    pub(super) target: Arc<Target>,
    pub(super) file_system: Arc<FileSystem>,
    /// The restore made this folder, so no other program expects anything in it before it is finished.
    pub(super) is_new: bool,
    /// The restore made this folder or one above it, and the topmost of them could be marked.
    pub(super) in_marked: bool,
    /// It has the mark itself.
    pub(super) has_mark: AtomicBool,
    /// A restore that was killed made it and did not finish it.
    pub(super) is_unfinished: bool,
    /// The attributes of new files in this folder, once one has been created; the inner `None` if they cannot be read.
    pub(super) born: OnceLock<Option<Born>>,
    /// Leftovers were looked for.
    pub(super) swept: AtomicBool,
    /// How the folder was shut before it was opened for the time of the restore.
    pub(super) shut: Mutex<Shut>,
}

/// What kept this process from writing to a folder, and was taken off.
#[derive(Debug, Default)]
pub(super) struct Shut {
    /// The mode that kept the folder's owner out.
    pub(super) mode: Option<Mode>,
    /// The inode flags that forbid changes.
    pub(super) flags: u32,
}

#[derive(Debug)]
pub(super) enum Held {
    Always(Arc<OwnedFd>),
    Slot(Arc<Slot>),
}

/// Names are resolved in steps of about this many bytes: the kernel takes paths of less than 4096.
const STEP: usize = 3500;

impl Node {
    pub(super) fn new(
        above: Option<Dir>,
        name: Bytes,
        held: Held,
        target: Arc<Target>,
        file_system: Arc<FileSystem>,
    ) -> Self {
        Self {
            above,
            name,
            held,
            target,
            file_system,
            is_new: false,
            in_marked: false,
            has_mark: AtomicBool::new(false),
            is_unfinished: false,
            born: OnceLock::new(),
            swept: AtomicBool::new(false),
            shut: Mutex::default(),
        }
    }

    pub(super) fn handle(&self) -> io::Result<Arc<OwnedFd>> {
        match &self.held {
            Held::Always(handle) => Ok(Arc::clone(handle)),
            Held::Slot(slot) => slot.get(|| self.open_again()),
        }
    }

    fn if_open(&self) -> Option<Arc<OwnedFd>> {
        match &self.held {
            Held::Always(handle) => Some(Arc::clone(handle)),
            Held::Slot(slot) => slot.if_open(),
        }
    }

    /// Opens the folder beneath the nearest folder above it that is open. Folders in between that end a step stay open,
    /// so that a long way up is not walked from the top for each folder.
    fn open_again(&self) -> io::Result<OwnedFd> {
        let mut closed = vec![self];
        let mut above = self.above.as_ref();
        let mut at = loop {
            let Some(dir) = above else {
                return Err(io::Error::from(Errno::BADF));
            };
            if let Some(handle) = dir.node.if_open() {
                break handle;
            }
            closed.push(&dir.node);
            above = dir.node.above.as_ref();
        };
        let mut path = Vec::new();
        while let Some(node) = closed.pop() {
            path.extend_from_slice(&node.name);
            let is_step = closed.last().is_none_or(|next| path.len() + next.name.len() > STEP);
            if !is_step {
                path.push(b'/');
                continue;
            }
            if closed.is_empty() {
                return open_beneath(at.as_fd(), &path);
            }
            if let Held::Slot(slot) = &node.held {
                at = slot.get(|| open_beneath(at.as_fd(), &path))?;
            }
            path.clear();
        }
        Err(io::Error::from(Errno::BADF))
    }

    pub(super) fn shut(&self) -> MutexGuard<'_, Shut> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the folder to its owner, if that is this user. The mode comes back when the restore has left the folder.
    pub(super) fn open_up(&self) -> bool {
        let mut shut = self.shut();
        if shut.mode.is_some() || self.target.options.read_only {
            return false;
        }
        let Ok(handle) = self.handle() else { return false };
        let Ok(stat) = Stat::of(handle.as_fd()) else {
            return false;
        };
        if stat.uid != rustix::process::geteuid().as_raw() {
            return false;
        }
        let mode = Mode::from_raw_mode(stat.permissions());
        let is_open = fchmod(&*handle, mode | Mode::RWXU).is_ok();
        if is_open {
            shut.mode = Some(mode);
        }
        is_open
    }

    /// Takes off the inode flags that forbid changes in the folder. They come back when the restore has left it.
    pub(super) fn take_flags_off(&self) -> bool {
        let mut shut = self.shut();
        if shut.flags != 0 || self.target.options.read_only {
            return false;
        }
        let flags = self.handle().and_then(|handle| unprotect(handle.as_fd()));
        shut.flags = flags.unwrap_or(0);
        shut.flags != 0
    }

    /// Gives the folder back the mode and the flags that it had before it was opened up.
    fn shut_again(&self) {
        let Shut { mode, flags } = std::mem::take(&mut *self.shut());
        if mode.is_none() && flags == 0 {
            return;
        }
        let Ok(handle) = self.handle() else { return };
        if let Some(mode) = mode {
            let _ = fchmod(&*handle, mode);
        }
        let flags = Entry {
            flags,
            ..Entry::default()
        };
        protect(handle.as_fd(), &flags, &mut Vec::new());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shut_again();
        // One after another, because a chain of folders may be too long for the stack.
        let mut above = self.above.take();
        while let Some(mut node) = above.and_then(|dir| Arc::into_inner(dir.node)) {
            node.shut_again();
            above = node.above.take();
        }
    }
}

/// Opens a folder by a path of checked names beneath another one.
pub(super) fn open_beneath(at: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(at, path, flags, Mode::empty(), resolve) {
        // A kernel before 5.6 or a sandbox does not have the call. The names are checked, and are opened one by one
        // with NOFOLLOW, so this does not lead outside either.
        Err(Errno::NOSYS) => {
            let mut names = path.split(|&byte| byte == b'/');
            let first = rustix::fs::openat(at, names.next().unwrap_or_default(), flags, Mode::empty())?;
            Ok(names.try_fold(first, |at, name| rustix::fs::openat(at, name, flags, Mode::empty()))?)
        }
        opened => Ok(opened?),
    }
}

/// Opens a folder of this user, which its owner may not open, to its owner. Returns the mode that it had.
pub(super) fn open_own(at: BorrowedFd<'_>, name: &[u8]) -> Option<Mode> {
    let (folder, stat) = open_special(at, name).ok()?;
    if !stat.is_folder() || stat.uid != rustix::process::geteuid().as_raw() {
        return None;
    }
    let mode = Mode::from_raw_mode(stat.permissions());
    rustix::fs::chmod(path_of_handle(folder.as_fd()), mode | Mode::RWXU).ok()?;
    Some(mode)
}

/// A handle of any entry, for its attributes only. A symbolic link is not followed.
pub(super) fn open_special(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(at, name, flags, Mode::empty())?;
    let stat = Stat::of(handle.as_fd())?;
    Ok((handle, stat))
}
