//! A folder of the target, and what can be made in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};

use bytes::Bytes;
use lockstone_proto::vault::{Entry, EntryKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::filesystem::{FileSystem, FileSystems};
use super::handles::Slot;
use super::marks::{self, UNFINISHED};
use super::node::{Held, Node, Shut, open_beneath, open_own, open_special};
use super::temporary::{Part, is_leftover, is_temporary};
use super::{ApplyOptions, PartFile, Target, TargetOptions, check};
use crate::metadata::{
    ApplyTo, Born, CaptureFrom, OwnerNames, apply, capture, capture_existing, protect, same_attributes, unprotect,
    without_proc,
};
use crate::read::OpenedFile;
use crate::stat::Stat;

/// A folder of the target. Cheap to clone. Its handle may be closed while it is not used, and is opened again beneath
/// the folders above it.
#[derive(Debug, Clone)]
pub struct Dir {
    pub(super) node: Arc<Node>,
}

impl Dir {
    /// Opens the folder beneath which everything is written, with the default options.
    ///
    /// # Errors
    /// The folder cannot be created or opened.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        Self::open_target(path, TargetOptions::default())
    }

    /// Opens the folder beneath which everything is written. Creates it and the folders above it if they are missing.
    /// The path comes from the user, so symbolic links in it are followed.
    ///
    /// # Errors
    /// The folder cannot be created or opened.
    pub fn open_target(path: &Path, options: TargetOptions) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        let file_systems = Arc::new(FileSystems::default());
        let file_system = file_systems.of(Stat::of(handle.as_fd())?.device_raw, handle.as_fd())?;
        let target = Target {
            options,
            names: OwnerNames::default(),
            file_systems,
        };
        let held = Held::Always(Arc::new(handle));
        let node = Node::new(None, Bytes::new(), held, Arc::new(target), file_system);
        Ok(Self { node: Arc::new(node) })
    }

    /// The folder's handle. Opens it again if it was closed.
    ///
    /// # Errors
    /// The folder was moved or replaced meanwhile, or cannot be opened.
    pub fn handle(&self) -> io::Result<Arc<OwnedFd>> {
        self.node.handle()
    }

    /// Writes everything that was restored to the disk, on each file system beneath the target that was written to.
    ///
    /// # Errors
    /// A disk could not store something that was written.
    pub fn sync(&self) -> io::Result<()> {
        self.node.target.file_systems.sync()
    }

    /// Device and inode number of the folder.
    ///
    /// # Errors
    /// The system's error.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = Stat::of(self.handle()?.as_fd())?;
        Ok((stat.device_raw, stat.inode))
    }

    /// Whether a restore that was killed made this folder and did not finish it.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.node.is_unfinished
    }

    /// Whether a file in this folder is what a killed restore left of `wanted`.
    #[must_use]
    pub fn is_unfinished_file(&self, there: &Stat, wanted: &Entry) -> bool {
        let are_files = there.is_file() && wanted.kind() == EntryKind::File;
        self.node.is_unfinished && are_files && marks::has_mode(there.mode, false, wanted.mode)
    }

    /// The folder above. `None` for the target itself.
    #[must_use]
    pub fn above(&self) -> Option<&Self> {
        self.node.above.as_ref()
    }

    /// The attributes of the entry with this name, `None` if there is no such entry. Does not follow a symbolic link.
    ///
    /// # Errors
    /// `InvalidInput` if the name is not one path component, or the system's error.
    pub fn lookup(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match Stat::at(self.handle()?.as_fd(), check(name)?) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens an existing folder. `wanted` is the mode that the folder has when it is finished.
    ///
    /// # Errors
    /// There is no entry with this name, it is not a folder (a symbolic link is not followed), or this process
    /// may not open it.
    pub fn open_folder(&self, name: &[u8], wanted: u32) -> io::Result<Self> {
        let (at, name) = (self.handle()?, check(name)?);
        let mut shut = None;
        let handle = match open_beneath(at.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.node.target.options.read_only => {
                shut = open_own(at.as_fd(), name);
                shut.ok_or(error)?;
                open_beneath(at.as_fd(), name)?
            }
            opened => opened?,
        };
        let stat = Stat::of(handle.as_fd())?;
        let file_system = self.node.target.file_systems.of(stat.device_raw, handle.as_fd())?;
        let has_mode = marks::has_mode(stat.mode, true, wanted);
        let has_mark = has_mode && marks::is_set(handle.as_fd());
        let mut node = self.below(name, handle, file_system);
        node.has_mark = AtomicBool::new(has_mark);
        node.is_unfinished = has_mark || has_mode && self.node.is_unfinished;
        node.shut.get_mut().unwrap_or_else(PoisonError::into_inner).mode = shut;
        Ok(Self { node: Arc::new(node) })
    }

    /// Creates a folder and opens it. Only its owner may enter it until it gets its attributes.
    ///
    /// # Errors
    /// `AlreadyExists` if there is an entry with this name, or the system's error.
    pub fn make_folder(&self, name: &[u8]) -> io::Result<Self> {
        let (at, name) = (self.handle()?, check(name)?);
        self.writing(|| rustix::fs::mkdirat(&at, name, Mode::RWXU | UNFINISHED))?;
        let handle = open_beneath(at.as_fd(), name)?;
        let has_mark = !self.node.in_marked && marks::set(handle.as_fd(), &self.node.target.options.job);
        let mut node = self.below(name, handle, Arc::clone(&self.node.file_system));
        node.is_new = true;
        node.in_marked = self.node.in_marked || has_mark;
        node.has_mark = AtomicBool::new(has_mark);
        Ok(Self { node: Arc::new(node) })
    }

    fn below(&self, name: &[u8], handle: OwnedFd, file_system: Arc<FileSystem>) -> Node {
        let target = Arc::clone(&self.node.target);
        let held = Held::Slot(Slot::holding(&target.options.handles, handle));
        Node::new(
            Some(self.clone()),
            Bytes::copy_from_slice(name),
            held,
            target,
            file_system,
        )
    }

    /// Removes the temporary entries that killed restores left in this folder.
    ///
    /// # Errors
    /// The folder cannot be listed, or a file cannot be removed.
    pub fn remove_leftovers(&self) -> io::Result<()> {
        self.node.swept.store(true, Ordering::Relaxed);
        let handle = self.handle()?;
        for entry in rustix::fs::Dir::read_from(&*handle)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !is_temporary(name) {
                continue;
            }
            if self.lookup(name)?.is_some_and(|stat| is_leftover(name, &stat)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Removes leftovers, once, before the restore makes a temporary entry in a folder that existed.
    pub(super) fn sweep(&self) {
        if !self.node.is_new && !self.node.swept.swap(true, Ordering::Relaxed) {
            // What cannot be removed costs nothing but its space.
            let _ = self.remove_leftovers();
        }
    }

    /// Removes an entry that is not a folder, even if inode flags protect it.
    ///
    /// # Errors
    /// `IsADirectory` for a folder, or the system's error.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        let (at, name) = (self.handle()?, check(name)?);
        let remove = || rustix::fs::unlinkat(&at, name, AtFlags::empty());
        match self.writing(remove) {
            Err(Errno::PERM) => {
                self.unprotect(name)?;
                Ok(remove()?)
            }
            removed => Ok(removed?),
        }
    }

    /// Opens an existing regular file for reading.
    ///
    /// # Errors
    /// There is no regular file with this name, or this process may not open it.
    pub fn open_file(&self, name: &[u8]) -> io::Result<OpenedFile> {
        OpenedFile::open_in(self.handle()?.as_fd(), check(name)?)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// There is no symbolic link with this name.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self.handle()?, check(name)?, Vec::new())?.into_bytes())
    }

    /// Begins the file `name`. `entry` gives the attributes that must be known before the first byte is written.
    ///
    /// # Errors
    /// The file cannot be created, or the name is not one path component.
    pub fn create_part(&self, name: &Bytes, entry: &Entry) -> io::Result<PartFile> {
        check(name)?;
        PartFile::create(self, name, entry)
    }

    /// Creates a symbolic link, fifo or device with its attributes. With `replace`, an existing entry `name` that is
    /// not a folder is replaced. Pushes a line to `warnings` for each attribute that cannot be set.
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`, or the system's error: only root can create devices.
    pub fn make_special(
        &self,
        name: &[u8],
        entry: &Entry,
        options: &ApplyOptions,
        replace: bool,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        check(name)?;
        let at = self.handle()?;
        let node = |part: &[u8], kind, device| rustix::fs::mknodat(&at, part, kind, Mode::RUSR, device);
        let device = rustix::fs::makedev(entry.rdev_major, entry.rdev_minor);
        // Always under a temporary name: such an entry cannot be marked as unfinished by its mode.
        let (part, ()) = Part::create_beside(self, |part| match entry.kind() {
            EntryKind::Symlink => rustix::fs::symlinkat(&entry.link_target[..], &at, part),
            EntryKind::Fifo => node(part, FileType::Fifo, 0),
            EntryKind::CharDevice => node(part, FileType::CharacterDevice, device),
            EntryKind::BlockDevice => node(part, FileType::BlockDevice, device),
            _ => Err(Errno::INVAL),
        })?;
        // The owner of the folder may have put something else in its place. What has only one name, has this kind and
        // belongs to this user is what was made here, or as good.
        let (made, stat) = open_special(at.as_fd(), &part.name)?;
        if stat.kind() != entry.kind() || stat.links != 1 || stat.uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("something else has taken its place"));
        }
        apply(ApplyTo::Special(made.as_fd()), entry, options, self.names(), warnings).map_err(without_proc)?;
        self.check_time(made.as_fd(), entry, warnings);
        part.publish(name, replace)
    }

    /// Gives a restored file, `of_name` in the folder `of`, the further name `name` in this folder. With `replace`, an
    /// existing entry `name` that is not a folder is replaced.
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`. The file does not exist, is on another file system, or has too many links.
    pub fn hard_link(&self, of: &Self, of_name: &[u8], name: &[u8], replace: bool) -> io::Result<()> {
        let (of_name, name) = (check(of_name)?, check(name)?);
        let (from, at) = (of.handle()?, self.handle()?);
        if replace && self.node.target.options.sync {
            // What it replaces must not be lost before the content is on the disk.
            if let Ok(file) = OpenedFile::open_in(from.as_fd(), of_name) {
                rustix::fs::fdatasync(file.as_fd())?;
            }
        }
        let make = || {
            let link = |part: &[u8]| rustix::fs::linkat(&from, of_name, &at, part, AtFlags::empty());
            if self.node.is_new && link(name) == Ok(()) {
                self.node.file_system.is_written();
                return Ok(());
            }
            let (part, ()) = Part::create_beside(self, link)?;
            part.into_link().publish(name, replace)
        };
        match make() {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                // A file with protecting inode flags cannot get further names.
                let (file, flags) = of.unprotect(of_name)?.ok_or(error)?;
                let made = make();
                let mut warnings = Vec::new();
                let flags = Entry {
                    flags,
                    ..Entry::default()
                };
                protect(file.as_fd(), &flags, &mut warnings);
                made?;
                warnings.pop().map_or(Ok(()), |warning| Err(io::Error::other(warning)))
            }
            made => made,
        }
    }

    /// Sets `entry`'s attributes on an existing entry of the same kind that is not a folder.
    ///
    /// # Errors
    /// There is no such entry, it is of another kind, or the file system fails.
    pub fn apply(
        &self,
        name: &[u8],
        entry: &Entry,
        options: &ApplyOptions,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        let name = check(name)?;
        self.node.file_system.is_written();
        if entry.kind() != EntryKind::File {
            let (special, there) = open_special(self.handle()?.as_fd(), name)?;
            if there.kind() != entry.kind() || there.is_folder() {
                return Err(io::Error::other("something else has taken its place"));
            }
            apply(
                ApplyTo::Special(special.as_fd()),
                entry,
                options,
                self.names(),
                warnings,
            )?;
            self.check_time(special.as_fd(), entry, warnings);
            return Ok(());
        }
        self.apply_to_file(&self.open_file(name)?, entry, options, warnings)
    }

    /// Sets `entry`'s attributes on an open file of this folder.
    ///
    /// # Errors
    /// The file system fails.
    pub fn apply_to_file(
        &self,
        file: &OpenedFile,
        entry: &Entry,
        options: &ApplyOptions,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        self.node.file_system.is_written();
        unprotect(file.as_fd())?;
        apply(ApplyTo::Handle(file.as_fd()), entry, options, self.names(), warnings)?;
        self.check_time(file.as_fd(), entry, warnings);
        protect(file.as_fd(), entry, warnings);
        Ok(())
    }

    /// Sets `entry`'s attributes on the folder itself. Call it when the folder's content is complete.
    ///
    /// # Errors
    /// The file system fails.
    pub fn apply_to_self(&self, entry: &Entry, options: &ApplyOptions, warnings: &mut Vec<String>) -> io::Result<()> {
        let handle = self.handle()?;
        self.node.file_system.is_written();
        unprotect(handle.as_fd())?;
        apply(ApplyTo::Handle(handle.as_fd()), entry, options, self.names(), warnings)?;
        self.check_time(handle.as_fd(), entry, warnings);
        // It has its own mode now, and gets its own flags below.
        *self.node.shut() = Shut::default();
        if self.node.has_mark.swap(false, Ordering::Relaxed) {
            marks::remove(handle.as_fd(), entry.mode);
        }
        protect(handle.as_fd(), entry, warnings);
        Ok(())
    }

    /// Whether an existing entry of the same kind has `wanted`'s attributes, so far as they can be set there.
    ///
    /// # Errors
    /// There is no such entry, or its attributes cannot be read.
    pub fn has_attributes(&self, name: &[u8], wanted: &Entry, options: &ApplyOptions) -> io::Result<bool> {
        let there = capture_existing(self.handle()?.as_fd(), check(name)?, self.names())?;
        Ok(same_attributes(wanted, &there, options, self.names()))
    }

    /// Whether the folder itself has `wanted`'s attributes, so far as they can be set there. Its time of modification
    /// does not count: each change of what is in it changes that.
    ///
    /// # Errors
    /// Its attributes cannot be read.
    pub fn is_like(&self, wanted: &Entry, options: &ApplyOptions) -> io::Result<bool> {
        let handle = self.handle()?;
        let stat = Stat::of(handle.as_fd())?;
        let from = CaptureFrom::Handle(handle.as_fd(), b"");
        let there = capture(from, &stat, self.names(), &mut Vec::new())?;
        let wanted = Entry {
            mtime_s: there.mtime_s,
            mtime_ns: there.mtime_ns,
            ..wanted.clone()
        };
        Ok(same_attributes(&wanted, &there, options, self.names()))
    }

    /// Does something that changes the folder. If its owner may not write to it, and is this user, it is opened for the
    /// time of the restore. So is a folder whose inode flags forbid changes, if this process may take them off.
    pub(super) fn writing<T>(&self, call: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        self.node.file_system.is_written();
        match call() {
            Err(Errno::ACCESS) if self.node.open_up() => call(),
            Err(Errno::PERM) if self.node.take_flags_off() => call(),
            done => done,
        }
    }

    /// Whether a file may have its own name from the start, marked as unfinished.
    pub(super) fn may_mark(&self) -> bool {
        self.node.is_new && self.node.in_marked
    }

    pub(super) fn born(&self) -> &OnceLock<Option<Born>> {
        &self.node.born
    }

    pub(super) fn names(&self) -> &OwnerNames {
        &self.node.target.names
    }

    pub(super) fn options(&self) -> &TargetOptions {
        &self.node.target.options
    }

    pub(super) fn check_time(&self, of: BorrowedFd<'_>, entry: &Entry, warnings: &mut Vec<String>) {
        self.node.file_system.check_time(of, entry, warnings);
    }

    /// Clears the protecting inode flags of a file. Returns the file with the flags that were set.
    pub(super) fn unprotect(&self, name: &[u8]) -> io::Result<Option<(OpenedFile, u32)>> {
        let file = match OpenedFile::open_in(self.handle()?.as_fd(), name) {
            Ok(file) => file,
            // Only regular files and folders have inode flags.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = unprotect(file.as_fd())?;
        Ok(Some((file, flags)))
    }
}
