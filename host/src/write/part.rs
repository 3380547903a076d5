//! A regular file that is being restored. Chunks may be written in any order and by several threads; a range that is
//! never written stays a hole.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lockstone_proto::vault::Entry;
use rustix::fs::{
    Advice, IFlags, Mode, OFlags, copy_file_range, fadvise, fdatasync, ftruncate, ioctl_getflags, ioctl_setflags,
    openat,
};
use rustix::io::Errno;

use super::handles::Slot;
use super::marks::UNFINISHED;
use super::temporary::Part;
use super::{ApplyOptions, Dir};
use crate::metadata::{ApplyTo, Born, NO_COW_FLAG, apply, protect};
use crate::read::OpenedFile;

/// Bytes that are copied at a time if the kernel cannot copy between the two files.
const COPY_BUFFER: usize = 256 * 1024;

/// A file that is not finished yet. Dropping it removes the file.
#[derive(Debug)]
pub struct PartFile {
    held: Held,
    part: Part,
    /// The file's final name.
    name: Bytes,
    /// The file's length by what was written so far.
    len: AtomicU64,
    /// Held while a thread writes. The kernel has a lock of its own, but threads wait for that one by spinning.
    turn: Mutex<()>,
}

#[derive(Debug)]
enum Held {
    /// A file that is written by one call is not open for long.
    Always(Arc<OwnedFd>),
    /// Its handle may be closed between two writes.
    Slot(Arc<Slot>),
}

impl PartFile {
    pub(super) fn create(dir: &Dir, name: &Bytes, entry: &Entry) -> io::Result<Self> {
        // A file of several chunks takes longer to write, and the restore may end in the middle of it.
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
            None => {
                let at = dir.handle()?;
                Part::create_beside(dir, |part| open_new(&at, part, Mode::empty()))?
            }
        };
        dir.born().get_or_init(|| Born::of(file.as_fd()));
        if entry.flags & NO_COW_FLAG != 0 {
            // Only an empty file can get this flag. If that fails here, applying the attributes reports it.
            if let Ok(now) = ioctl_getflags(&file) {
                let _ = ioctl_setflags(&file, IFlags::from_bits_retain(now.bits() | NO_COW_FLAG));
            }
        }
        let len = AtomicU64::new(0);
        let turn = Mutex::default();
        let held = if is_written_at_once {
            Held::Always(Arc::new(file))
        } else {
            Held::Slot(Slot::holding(&dir.options().handles, file))
        };
        Ok(Self {
            held,
            part,
            name: name.clone(),
            len,
            turn,
        })
    }

    /// Creates the file under its own name, marked as unfinished by its mode. `None` if that is not possible: the
    /// restore did not make the folder, the file system does not keep the mark, or the name is taken.
    fn create_marked(dir: &Dir, name: &Bytes) -> io::Result<Option<(Part, OwnedFd)>> {
        let keeps_mark = |born: &Option<Born>| {
            born.as_ref()
                .is_some_and(|born| born.mode & UNFINISHED.as_raw_mode() != 0)
        };
        if !dir.may_mark() || dir.born().get().is_some_and(|born| !keeps_mark(born)) {
            return Ok(None);
        }
        let at = dir.handle()?;
        let made = Part::try_name(dir, name.clone(), |name| open_new(&at, name, UNFINISHED))?;
        // The first file of a folder shows whether the file system keeps the mark. If not, the file is removed again.
        Ok(made.filter(|(_, file)| keeps_mark(dir.born().get_or_init(|| Born::of(file.as_fd())))))
    }

    /// The open file.
    fn file(&self) -> io::Result<Arc<OwnedFd>> {
        match &self.held {
            Held::Always(file) => Ok(Arc::clone(file)),
            Held::Slot(slot) => slot.get(|| {
                let at = self.part.dir.handle()?;
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Ok(openat(&at, &self.part.name[..], flags, Mode::empty())?)
            }),
        }
    }

    /// Writes all of `bytes` at an offset.
    ///
    /// # Errors
    /// The system's error. An unknown part of the bytes was then written.
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        self.len
            .fetch_max(offset.saturating_add(bytes.len() as u64), Ordering::Relaxed);
        let file = self.file()?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while !bytes.is_empty() {
            match rustix::io::pwrite(&file, bytes, offset) {
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

    /// Fills `bytes` with what the file has at an offset.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before, or the system's error.
    pub fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        let file = self.file()?;
        while !bytes.is_empty() {
            match rustix::io::pread(&file, &mut *bytes, offset) {
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

    /// Sets the file's length. Everything after the last byte that was written becomes a hole. Call it when all writes
    /// are done.
    ///
    /// # Errors
    /// The file system cannot hold a file of that size.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        // All writes are done, so the relaxed load sees the final length.
        if self.len.load(Ordering::Relaxed) != len {
            ftruncate(self.file()?, len)?;
            self.len.store(len, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies a range from an existing file to the same place in this one. If the file system can share blocks, the
    /// kernel shares them; else the kernel copies; if it cannot, this process does.
    ///
    /// # Errors
    /// `UnexpectedEof` if the existing file ends before, or the system's error.
    pub fn copy_from(&self, from: &OpenedFile, offset: u64, len: u64) -> io::Result<()> {
        let (mut at, mut to, end) = (offset, offset, offset.saturating_add(len));
        let file = self.file()?;
        self.len.fetch_max(end, Ordering::Relaxed);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
            match copy_file_range(from, Some(&mut at), &file, Some(&mut to), wanted) {
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

    /// Writes the file's content to the disk and drops it from the page cache, so that the next read comes from the
    /// disk.
    ///
    /// # Errors
    /// The disk cannot store the content.
    pub fn drop_cached(&self) -> io::Result<()> {
        let file = self.file()?;
        fdatasync(&file)?;
        // This is only advice; a file system in memory cannot follow it.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        Ok(())
    }

    /// Sets the file's attributes and then its name. With `replace`, an existing entry of that name that is not a
    /// folder is replaced; the content is then on the disk first. Pushes a line to `warnings` for each attribute that
    /// cannot be set.
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`, `IsADirectory` with it, or the system's error. The file is still unfinished
    /// then, and can be finished under another name; dropping it removes it.
    pub fn finish(
        &self,
        entry: &Entry,
        options: &ApplyOptions,
        replace: bool,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        self.finish_as(&self.name, entry, options, replace, warnings)
    }

    /// The same, with another name than the one that was planned.
    ///
    /// # Errors
    /// As for [`finish`](Self::finish). Also if the name is not one path component.
    pub fn finish_as(
        &self,
        name: &[u8],
        entry: &Entry,
        options: &ApplyOptions,
        replace: bool,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        let name = super::check(name)?;
        let dir = &self.part.dir;
        let file = self.file()?;
        let to = match dir.born().get() {
            // A file whose copy-on-write was switched off has other flags than a new file.
            Some(Some(born)) if entry.flags & NO_COW_FLAG == 0 => ApplyTo::Newborn(file.as_fd(), born),
            _ => ApplyTo::Handle(file.as_fd()),
        };
        apply(to, entry, options, dir.names(), warnings)?;
        dir.check_time(file.as_fd(), entry, warnings);
        if replace && dir.options().sync {
            fdatasync(&file)?;
        }
        self.part.publish(name, replace)?;
        protect(file.as_fd(), entry, warnings);
        Ok(())
    }
}

/// Creates an empty file that only its owner may open. Nothing with this name may exist.
fn open_new(at: &OwnedFd, name: &[u8], mark: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::RUSR | Mode::WUSR | mark)
}
