//! Writes restored files beneath one folder, and nowhere else. The restore's stages call it from many threads.
//!
//! What keeps names of a hostile vault inside: a [`Dir`] is a handle, every name is one component and checked, folders
//! are opened by `openat2` beneath their parent without symbolic or magic links, and new entries are created under names
//! of our own that must not exist. Nothing ever resolves a path of several components.
//!
//! What keeps half a file from being taken for a whole one: it is made under a temporary name
//! (`.lockstone-<16 hex digits>.part`), gets its content and attributes there, and is renamed last. A part that is dropped
//! unfinished is removed.
//!
//! For small files the renaming is a third of the kernel's work. So in a folder that was made here, where nobody looks for
//! anything yet, a file that is written by one call has its own name from the start, and a mode that no other file has
//! until all else is done. What a killed restore leaves is known by such modes ([`is_unfinished`]), and the next one
//! replaces it. `docs/decisions/0009` weighs it.

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
use crate::walk::Stat;

/// The sticky bit: with it, and without any right for others, files and folders are made, and get their own mode last.
const UNFINISHED: Mode = Mode::SVTX;

/// Whether a restore was killed before this file or folder was whole. `mode`: that of what stands there; `wanted`: what the
/// entry that is to be restored has, for there may be one that really is like that.
#[must_use]
pub fn is_unfinished(mode: u32, is_folder: bool, wanted: u32) -> bool {
    let rights = if is_folder { Mode::RWXU } else { Mode::RUSR | Mode::WUSR };
    let marked = (UNFINISHED | rights).as_raw_mode();
    // A folder may inherit setgid from the one above.
    let is_marked = |mode: u32| mode & 0o5777 == marked;
    is_marked(mode) && !is_marked(wanted)
}

/// A folder of the target. Cheap to clone; holds one handle.
#[derive(Debug, Clone)]
pub struct Dir {
    handle: Arc<OwnedFd>,
    /// It was made here, and belongs to nobody else before it is whole.
    is_ours: bool,
    names: Arc<OwnerNames>,
    /// What files made in it are like, once one was; the inner `None`: that cannot be known.
    born: Arc<OnceLock<Option<Born>>>,
}

impl Dir {
    /// Opens the folder beneath which everything is written, making it and those above it where they are missing. This
    /// path is the user's own: symbolic links in it are followed.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            handle: Arc::new(handle),
            is_ours: false,
            names: Arc::new(OwnerNames::default()),
            born: Arc::default(),
        })
    }

    /// The handle.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// What stands under a name, if anything; a symbolic link is not followed.
    ///
    /// # Errors
    /// The name is no name, or the system's error.
    pub fn lookup(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match Stat::at(self.handle(), check(name)?) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a folder that is there.
    ///
    /// # Errors
    /// There is none, or a symbolic link or a file stands there, or it may not be opened.
    pub fn open_folder(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = open_beneath(self.handle(), check(name)?, flags)?;
        Ok(Self {
            handle: Arc::new(handle),
            is_ours: false,
            names: Arc::clone(&self.names),
            born: Arc::default(),
        })
    }

    /// Makes a folder that only its owner may enter, until it gets its attributes, and opens it.
    ///
    /// # Errors
    /// `AlreadyExists` where something stands there, or the system's error.
    pub fn make_folder(&self, name: &[u8]) -> io::Result<Self> {
        rustix::fs::mkdirat(self.handle(), check(name)?, Mode::RWXU | UNFINISHED)?;
        let made = self.open_folder(name)?;
        Ok(Self { is_ours: true, ..made })
    }

    /// Removes what a killed restore left under temporary names in a folder that [`is_unfinished`].
    ///
    /// # Errors
    /// It cannot be listed, or one cannot be removed.
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

    /// Removes something that is no folder, also if it is protected by its inode flags.
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

    /// Opens a regular file that is there, to read it.
    ///
    /// # Errors
    /// There is none, or it may not be opened.
    pub fn open_file(&self, name: &[u8]) -> io::Result<OpenedFile> {
        OpenedFile::open_in(self.handle(), check(name)?)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// There is none.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self.handle(), check(name)?, Vec::new())?.into_bytes())
    }

    /// Begins the file that is to be called `name`: `entry` says what must be known before its first byte.
    ///
    /// # Errors
    /// It cannot be made, or the name is no name.
    pub fn create_part(&self, name: &Bytes, entry: &Entry) -> io::Result<PartFile> {
        check(name)?;
        PartFile::create(self, name, entry)
    }

    /// Makes a symbolic link, fifo or device with its attributes. `replace`: what stands under `name` may go, if it is
    /// no folder. What could not be given back is told in `warnings`.
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`, or the system's error: without root there are no devices.
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
        // Nothing about it could tell that its attributes are still missing.
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

    /// Gives a file that is already restored, `of_name` in the folder `of`, another name. What stands there, if no
    /// folder, is replaced.
    ///
    /// # Errors
    /// The file is not there, or lies on another file system, or its links are too many.
    pub fn hard_link(&self, of: &Self, of_name: &[u8], name: &[u8]) -> io::Result<()> {
        let (of_name, name) = (check(of_name)?, check(name)?);
        let make = || {
            let link = |part: &[u8]| rustix::fs::linkat(of.handle(), of_name, self.handle(), part, AtFlags::empty());
            if self.is_ours && link(name) == Ok(()) {
                return Ok(());
            }
            let (mut part, ()) = Part::create_beside(self, link)?;
            part.is_link = true;
            part.publish(name, true)
        };
        match make() {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                // A protected file takes no further names.
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

    /// Gives a file, or anything else that is there and no folder, `entry`'s attributes.
    ///
    /// # Errors
    /// It is not there, or of another kind, or the file system fails.
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

    /// Gives the folder itself `entry`'s attributes: when all that belongs in it is there.
    ///
    /// # Errors
    /// The file system fails.
    pub fn apply_to_self(&self, entry: &Entry, options: &ApplyOptions, warnings: &mut Vec<String>) -> io::Result<()> {
        unprotect(self.handle())?;
        apply(ApplyTo::Handle(self.handle()), entry, options, &self.names, warnings)?;
        protect(self.handle(), entry, warnings);
        Ok(())
    }

    /// Takes protecting flags off a file; gives it with those it had.
    fn unprotect(&self, name: &[u8]) -> io::Result<Option<(OpenedFile, u32)>> {
        let file = match OpenedFile::open_in(self.handle(), name) {
            Ok(file) => file,
            // Only regular files and folders have them.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = unprotect(file.as_fd())?;
        Ok(Some((file, flags)))
    }
}

/// Something that is not whole yet; removed unless it is published.
#[derive(Debug)]
pub(crate) struct Part {
    dir: Dir,
    /// A temporary one, or its own in a folder that was made here.
    name: Bytes,
    published: bool,
    is_link: bool,
}

/// Temporary names: these around 16 hexadecimal digits.
const PREFIX: &str = ".lockstone-";
const SUFFIX: &str = ".part";

fn is_temporary(name: &[u8]) -> bool {
    let digits = name
        .strip_prefix(PREFIX.as_bytes())
        .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// How often a fresh temporary name may be taken before something is wrong.
const TRIES: usize = 100;

impl Part {
    /// Makes it under a free temporary name.
    fn create_beside<T>(dir: &Dir, make: impl Fn(&[u8]) -> Result<T, Errno>) -> io::Result<(Self, T)> {
        for _ in 0..TRIES {
            // Keys of a new hasher are random enough for a name that nobody has to guess.
            let random = std::hash::RandomState::new().build_hasher().finish();
            let name = Bytes::from(format!("{PREFIX}{random:016x}{SUFFIX}"));
            if let Some(made) = Self::try_name(dir, name, &make)? {
                return Ok(made);
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// `None`: the name is taken.
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

    /// Gives it its final name.
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
                    // The file system cannot do it in one step.
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
        // Renaming one name of a file over another of the same file leaves both, says POSIX. (Dropping removes ours.)
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

/// One path component, as the kernel takes it.
fn check(name: &[u8]) -> io::Result<&[u8]> {
    let is_bad = name.is_empty() || name == b"." || name == b".." || name.iter().any(|&byte| byte == b'/' || byte == 0);
    if is_bad {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file name"))
    } else {
        Ok(name)
    }
}

fn open_beneath(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(at, name, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a sandbox that does not know the call: the name is one checked component and the flags
        // say NOFOLLOW, so this cannot lead elsewhere either.
        Err(Errno::NOSYS) => Ok(rustix::fs::openat(at, name, flags, Mode::empty())?),
        opened => Ok(opened?),
    }
}
