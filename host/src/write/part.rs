//! A regular file on its way to being whole. Chunks may be written in any order and by several threads; what is never
//! written stays a hole.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use lockstone_proto::vault::Entry;
use rustix::fs::{
    Advice, FallocateFlags, IFlags, Mode, OFlags, copy_file_range, fadvise, fallocate, fdatasync, ftruncate,
    ioctl_ficlone, ioctl_getflags, ioctl_setflags, openat,
};
use rustix::io::Errno;

use super::{ApplyOptions, Dir, Part, UNFINISHED};
use crate::metadata::{ApplyTo, Born, NO_COW_FLAG, apply, protect};
use crate::read::OpenedFile;

/// Bytes copied at once where the kernel cannot copy by itself.
const COPY_BUFFER: usize = 256 * 1024;

/// A file that is not whole yet.
#[derive(Debug)]
pub struct PartFile {
    file: OwnedFd,
    part: Part,
    /// The name it is to have.
    name: Bytes,
    /// How long it is by what was written; `UNKNOWN` after a clone.
    len: AtomicU64,
    /// One thread writes at a time. The kernel has a lock of its own, but waits for it by spinning.
    turn: Mutex<()>,
}

/// A length that no file has.
const UNKNOWN: u64 = u64::MAX;

impl PartFile {
    pub(super) fn create(dir: &Dir, name: &Bytes, entry: &Entry) -> io::Result<Self> {
        // More than one chunk takes longer, and may come to nothing half-way.
        let is_written_at_once = entry
            .content
            .as_ref()
            .is_none_or(|content| content.level == 0 && content.lens.len() <= 1);
        let marked = if is_written_at_once {
            Self::create_marked(dir, name)?
        } else {
            None
        };
        let (part, file) = match marked {
            Some(made) => made,
            None => Part::create_beside(dir, |part| open_new(dir, part, Mode::empty()))?,
        };
        dir.born.get_or_init(|| Born::of(file.as_fd()));
        if entry.flags & NO_COW_FLAG != 0 {
            // Only an empty file takes it. Where it does not, applying the attributes says so.
            if let Ok(now) = ioctl_getflags(&file) {
                let _ = ioctl_setflags(&file, IFlags::from_bits_retain(now.bits() | NO_COW_FLAG));
            }
        }
        let len = AtomicU64::new(0);
        let turn = Mutex::default();
        Ok(Self {
            file,
            part,
            name: name.clone(),
            len,
            turn,
        })
    }

    /// Under its own name, where that may be seen: in a folder that was made here, on a file system that keeps the mark.
    fn create_marked(dir: &Dir, name: &Bytes) -> io::Result<Option<(Part, OwnedFd)>> {
        let keeps_mark = |born: &Option<Born>| {
            born.as_ref()
                .is_some_and(|born| born.mode & UNFINISHED.as_raw_mode() != 0)
        };
        if !dir.is_ours || dir.born.get().is_some_and(|born| !keeps_mark(born)) {
            return Ok(None);
        }
        let made = Part::try_name(dir, name.clone(), |name| open_new(dir, name, UNFINISHED))?;
        // The first of a folder tells; if it tells that the mark is lost, it goes again.
        Ok(made.filter(|(_, file)| keeps_mark(dir.born.get_or_init(|| Born::of(file.as_fd())))))
    }

    /// Writes all of `bytes` at an offset.
    ///
    /// # Errors
    /// What the system said; then an unknown part of it was written.
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        self.len
            .fetch_max(offset.saturating_add(bytes.len() as u64), Ordering::Relaxed);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.file, bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Fills `bytes` with what was written at an offset.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before, or what the system said.
    pub fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::pread(&self.file, &mut *bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    bytes = &mut bytes[n..];
                    offset += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sets the length: what lies behind the last byte written becomes a hole.
    ///
    /// # Errors
    /// The file system cannot hold a file of that size.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        // Whoever says how long it is has seen all of its writes end.
        if self.len.load(Ordering::Relaxed) != len {
            ftruncate(&self.file, len)?;
            self.len.store(len, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a range from an existing file to the same place in this one: by reference where the file system shares
    /// blocks, else copied within the kernel, else by hand.
    ///
    /// # Errors
    /// `UnexpectedEof` where the existing file ends before, or what the system said.
    pub fn copy_from(&self, from: &OpenedFile, offset: u64, len: u64) -> io::Result<()> {
        let (mut at, mut to, end) = (offset, offset, offset.saturating_add(len));
        self.len.fetch_max(end, Ordering::Relaxed);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
            match copy_file_range(from, Some(&mut at), &self.file, Some(&mut to), wanted) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::BADF) => {
                    return self.copy_by_hand(from, at, end);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn copy_by_hand(&self, from: &OpenedFile, mut at: u64, end: u64) -> io::Result<()> {
        let mut buffer = vec![0; COPY_BUFFER];
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(COPY_BUFFER);
            match from.read_at(&mut buffer[..wanted], at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    self.write_at(&buffer[..n], at)?;
                    at += n as u64;
                }
            }
        }
        Ok(())
    }

    /// Makes this file's content that of an existing one, sharing its blocks, before anything is written. False: the
    /// file system cannot.
    ///
    /// # Errors
    /// What the system said.
    pub fn clone_from_file(&self, from: &OpenedFile) -> io::Result<bool> {
        self.len.store(UNKNOWN, Ordering::Relaxed);
        match ioctl_ficlone(&self.file, from) {
            Ok(()) => Ok(true),
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS | Errno::PERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a range a hole, or zeros where the file system knows no holes: after [`PartFile::clone_from_file`].
    ///
    /// # Errors
    /// What the system said.
    pub fn punch_hole(&self, mut offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match fallocate(
            &self.file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            len,
        ) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let zeros = vec![0; COPY_BUFFER];
                let end = offset.saturating_add(len);
                while offset < end {
                    let n = usize::try_from(end - offset).unwrap_or(usize::MAX).min(COPY_BUFFER);
                    self.write_at(&zeros[..n], offset)?;
                    offset += n as u64;
                }
                Ok(())
            }
            punched => Ok(punched?),
        }
    }

    /// Writes what is in memory to the disk and forgets it there, so that the next read asks the disk.
    ///
    /// # Errors
    /// The disk could not take it.
    pub fn drop_cached(&self) -> io::Result<()> {
        self.sync()?;
        // A wish; a file system in memory cannot grant it.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        Ok(())
    }

    /// Writes what is in memory to the disk.
    ///
    /// # Errors
    /// The disk could not take it.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(&self.file)?)
    }

    /// Gives the file its attributes and then its name. `replace`: what stands under the name may go, if it is no
    /// folder. What could not be given back is told in `warnings`.
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`, `IsADirectory` with it, or the system's error; the part is then removed.
    pub fn finish(
        self,
        entry: &Entry,
        options: &ApplyOptions,
        replace: bool,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        let Self { file, part, name, .. } = self;
        let to = match part.dir.born.get() {
            // One without copy-on-write is not as it was born any more.
            Some(Some(born)) if entry.flags & NO_COW_FLAG == 0 => ApplyTo::Newborn(file.as_fd(), born),
            _ => ApplyTo::Handle(file.as_fd()),
        };
        apply(to, entry, options, &part.dir.names, warnings)?;
        part.publish(&name, replace)?;
        protect(file.as_fd(), entry, warnings);
        Ok(())
    }
}

/// Makes an empty file, which must not exist, that only its owner may open.
fn open_new(dir: &Dir, name: &[u8], mark: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir.handle(), name, flags, Mode::RUSR | Mode::WUSR | mark)
}

impl AsFd for PartFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
