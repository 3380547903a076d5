//! Writes restored files beneath one folder, and nowhere else. The restore's stages call it from many threads.
//!
//! # Names from a hostile vault cannot lead outside
//!
//! A [`Dir`] is a handle. Every name is checked to be one path component. Folders are opened by `openat2` beneath the
//! folder around them, without symbolic or magic links, and new entries are created under names that must not exist
//! yet. No path of several components is ever resolved.
//!
//! # An unfinished file is never taken for a finished one
//!
//! A file is created under a temporary name (`.lockstone-<16 hex digits>.part`), gets its content and attributes there,
//! and is renamed last. A part that is dropped unfinished is removed.
//!
//! For small files the renaming would be a third of the kernel's work. In a folder that the restore made itself, no
//! other program expects any file yet. There, a file that is written by one call has its own name from the start, and a
//! mode that no finished file has until everything else is done. By such a mode ([`is_unfinished`]) the next restore
//! recognises what a killed restore left, and replaces it. The reasons are in
//! `docs/decisions/0009-marked-until-whole.md`.

mod part;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use lockstone_proto::vault::{Entry, EntryKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

pub use self::part::PartFile;
pub use crate::metadata::ApplyOptions;
use crate::metadata::{ApplyTo, Born, OwnerNames, apply, protect, unprotect};
use crate::read::OpenedFile;
use crate::stat::Stat;

/// The sticky bit. Unfinished files and folders have it, and no rights for group and others; they get their own mode
/// last.
const UNFINISHED: Mode = Mode::SVTX;

/// Whether a restore was killed before this file or folder was finished. `mode` is the mode of the existing file or
/// folder, `wanted` that of the entry to restore: if the entry itself has such a mode, the mode tells nothing.
#[must_use]
pub fn is_unfinished(mode: u32, is_folder: bool, wanted: u32) -> bool {
    let rights = if is_folder { Mode::RWXU } else { Mode::RUSR | Mode::WUSR };
    let marked = (UNFINISHED | rights).as_raw_mode();
    // A folder may have inherited setgid from the folder around it.
    let is_marked = |mode: u32| mode & 0o5777 == marked;
    is_marked(mode) && !is_marked(wanted)
}

/// A folder of the target. Cheap to clone; holds one handle.
#[derive(Debug, Clone)]
pub struct Dir {
    handle: Arc<OwnedFd>,
    /// The restore made this folder, so no other program expects anything in it before it is finished.
    is_new: bool,
    names: Arc<OwnerNames>,
    /// The attributes of new files in this folder, once one has been created; the inner `None` if they cannot be read.
    born: Arc<OnceLock<Option<Born>>>,
}

impl Dir {
    /// Opens the folder beneath which everything is written. Creates it and the folders above it if they are missing.
    /// The path comes from the user, so symbolic links in it are followed.
    ///
    /// # Errors
    /// The folder cannot be created or opened.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            handle: Arc::new(handle),
            is_new: false,
            names: Arc::new(OwnerNames::default()),
            born: Arc::default(),
        })
    }

    /// The folder's handle.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// The attributes of the entry with this name, `None` if there is no such entry. Does not follow a symbolic link.
    ///
    /// # Errors
    /// `InvalidInput` if the name is not one path component, or the system's error.
    pub fn lookup(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match Stat::at(self.handle(), check(name)?) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens an existing folder.
    ///
    /// # Errors
    /// There is no entry with this name, it is not a folder (a symbolic link is not followed), or this process
    /// may not open it.
    pub fn open_folder(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = open_beneath(self.handle(), check(name)?, flags)?;
        Ok(Self {
            handle: Arc::new(handle),
            is_new: false,
            names: Arc::clone(&self.names),
            born: Arc::default(),
        })
    }

    /// Creates a folder and opens it. Only its owner may enter it until it gets its attributes.
    ///
    /// # Errors
    /// `AlreadyExists` if there is an entry with this name, or the system's error.
    pub fn make_folder(&self, name: &[u8]) -> io::Result<Self> {
        rustix::fs::mkdirat(self.handle(), check(name)?, Mode::RWXU | UNFINISHED)?;
        let made = self.open_folder(name)?;
        Ok(Self { is_new: true, ..made })
    }

    /// Removes the temporary files that a killed restore left in a folder that [`is_unfinished`].
    ///
    /// # Errors
    /// The folder cannot be listed, or a file cannot be removed.
    pub fn remove_leftovers(&self) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(self.handle())? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if is_temporary(name) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Removes an entry that is not a folder, even if inode flags protect it.
    ///
    /// # Errors
    /// `IsADirectory` for a folder, or the system's error.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        let name = check(name)?;
        match rustix::fs::unlinkat(self.handle(), name, AtFlags::empty()) {
            Err(Errno::PERM) => {
                self.unprotect(name)?;
                Ok(rustix::fs::unlinkat(self.handle(), name, AtFlags::empty())?)
            }
            removed => Ok(removed?),
        }
    }

    /// Opens an existing regular file for reading.
    ///
    /// # Errors
    /// There is no regular file with this name, or this process may not open it.
    pub fn open_file(&self, name: &[u8]) -> io::Result<OpenedFile> {
        OpenedFile::open_in(self.handle(), check(name)?)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// There is no symbolic link with this name.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self.handle(), check(name)?, Vec::new())?.into_bytes())
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
        let node = |part: &[u8], kind, device| rustix::fs::mknodat(self.handle(), part, kind, Mode::RUSR, device);
        let device = rustix::fs::makedev(entry.rdev_major, entry.rdev_minor);
        // Always under a temporary name: such an entry cannot be marked as unfinished by its mode.
        let (part, ()) = Part::create_beside(self, |part| match entry.kind() {
            EntryKind::Symlink => rustix::fs::symlinkat(&entry.link_target[..], self.handle(), part),
            EntryKind::Fifo => node(part, FileType::Fifo, 0),
            EntryKind::CharDevice => node(part, FileType::CharacterDevice, device),
            EntryKind::BlockDevice => node(part, FileType::BlockDevice, device),
            _ => Err(Errno::INVAL),
        })?;
        apply(
            ApplyTo::Name(self.handle(), &part.name),
            entry,
            options,
            &self.names,
            warnings,
        )?;
        part.publish(name, replace)
    }

    /// Gives a restored file, `of_name` in the folder `of`, the further name `name` in this folder. An existing entry
    /// `name` that is not a folder is replaced.
    ///
    /// # Errors
    /// The file does not exist, is on another file system, or has too many links.
    pub fn hard_link(&self, of: &Self, of_name: &[u8], name: &[u8]) -> io::Result<()> {
        let (of_name, name) = (check(of_name)?, check(name)?);
        let make = || {
            let link = |part: &[u8]| rustix::fs::linkat(of.handle(), of_name, self.handle(), part, AtFlags::empty());
            if self.is_new && link(name) == Ok(()) {
                return Ok(());
            }
            let (mut part, ()) = Part::create_beside(self, link)?;
            part.is_link = true;
            part.publish(name, true)
        };
        match make() {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                // A file with protecting inode flags cannot get further names.
                let (file, flags) = of.unprotect(of_name)?.ok_or(error)?;
                let made = make();
                let mut warnings = Vec::new();
                protect(
                    file.as_fd(),
                    &Entry {
                        flags,
                        ..Entry::default()
                    },
                    &mut warnings,
                );
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
        if entry.kind() != EntryKind::File {
            let there = Stat::at(self.handle(), name)?;
            if there.kind() != entry.kind() || there.is_folder() {
                return Err(io::Error::other("something else has taken its place"));
            }
            return apply(
                ApplyTo::Name(self.handle(), name),
                entry,
                options,
                &self.names,
                warnings,
            );
        }
        let file = self.open_file(name)?;
        unprotect(file.as_fd())?;
        apply(ApplyTo::Handle(file.as_fd()), entry, options, &self.names, warnings)?;
        protect(file.as_fd(), entry, warnings);
        Ok(())
    }

    /// Sets `entry`'s attributes on the folder itself. Call it when the folder's content is complete.
    ///
    /// # Errors
    /// The file system fails.
    pub fn apply_to_self(&self, entry: &Entry, options: &ApplyOptions, warnings: &mut Vec<String>) -> io::Result<()> {
        unprotect(self.handle())?;
        apply(ApplyTo::Handle(self.handle()), entry, options, &self.names, warnings)?;
        protect(self.handle(), entry, warnings);
        Ok(())
    }

    /// Clears the protecting inode flags of a file. Returns the file with the flags that were set.
    fn unprotect(&self, name: &[u8]) -> io::Result<Option<(OpenedFile, u32)>> {
        let file = match OpenedFile::open_in(self.handle(), name) {
            Ok(file) => file,
            // Only regular files and folders have inode flags.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = unprotect(file.as_fd())?;
        Ok(Some((file, flags)))
    }
}

/// An entry that is not finished yet. Dropping it removes the entry, unless it was published.
#[derive(Debug)]
pub(crate) struct Part {
    dir: Dir,
    /// A temporary name, or the entry's own name in a folder that the restore made.
    name: Bytes,
    published: bool,
    is_link: bool,
}

/// A temporary name is a prefix, 16 hexadecimal digits, and a suffix.
const PREFIX: &str = ".lockstone-";
const SUFFIX: &str = ".part";

fn is_temporary(name: &[u8]) -> bool {
    let digits = name
        .strip_prefix(PREFIX.as_bytes())
        .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// How many temporary names are tried before the creation fails.
const TRIES: usize = 100;

impl Part {
    /// Creates an entry under a free temporary name.
    fn create_beside<T>(dir: &Dir, make: impl Fn(&[u8]) -> Result<T, Errno>) -> io::Result<(Self, T)> {
        for _ in 0..TRIES {
            // The keys of a new hasher are random enough: the name only has to be free, not secret.
            let random = std::hash::RandomState::new().build_hasher().finish();
            let name = Bytes::from(format!("{PREFIX}{random:016x}{SUFFIX}"));
            if let Some(made) = Self::try_name(dir, name, &make)? {
                return Ok(made);
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Creates an entry under this name. `None` if the name exists already.
    fn try_name<T>(dir: &Dir, name: Bytes, make: impl Fn(&[u8]) -> Result<T, Errno>) -> io::Result<Option<(Self, T)>> {
        match make(&name) {
            Ok(made) => {
                let part = Self {
                    dir: dir.clone(),
                    name,
                    published: false,
                    is_link: false,
                };
                Ok(Some((part, made)))
            }
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the entry its final name.
    fn publish(mut self, name: &[u8], replace: bool) -> io::Result<()> {
        if self.name == name {
            self.published = true;
            return Ok(());
        }
        let at = self.dir.handle();
        let rename = || {
            if replace {
                rustix::fs::renameat(at, &self.name[..], at, name)
            } else {
                match rustix::fs::renameat_with(at, &self.name[..], at, name, RenameFlags::NOREPLACE) {
                    // The file system cannot check and rename in one step.
                    Err(Errno::INVAL) => match Stat::at(at, name) {
                        Ok(_) => Err(Errno::EXIST),
                        Err(_) => rustix::fs::renameat(at, &self.name[..], at, name),
                    },
                    renamed => renamed,
                }
            }
        };
        match rename() {
            Err(Errno::PERM) if replace => {
                self.dir.unprotect(name)?;
                rename()?;
            }
            renamed => renamed?,
        }
        // By POSIX, renaming one name of a file over another name of the same file leaves both. Dropping then removes
        // the temporary one.
        self.published = !self.is_link || Stat::at(at, &self.name[..]).is_err();
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.published {
            let _ = self.dir.remove(&self.name);
        }
    }
}

/// Checks that a name is one path component: not empty, `.` or `..`, and without `/` and 0.
fn check(name: &[u8]) -> io::Result<&[u8]> {
    let is_bad = name.is_empty() || name == b"." || name == b".." || name.iter().any(|&byte| byte == b'/' || byte == 0);
    if is_bad {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file name"))
    } else {
        Ok(name)
    }
}

fn open_beneath(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(at, name, flags, Mode::empty(), resolve) {
        // A kernel before 5.6 or a sandbox does not have the call. The name is one checked component and the flags
        // contain NOFOLLOW, so this does not lead outside either.
        Err(Errno::NOSYS) => Ok(rustix::fs::openat(at, name, flags, Mode::empty())?),
        opened => Ok(opened?),
    }
}
