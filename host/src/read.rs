//! Reads the content of one file, opened by its name in a folder. The hasher's reader threads read the source with it;
//! the restore compares existing files with it. Symbolic links are not followed, a fifo in the place of the file does
//! not block, and access times do not change where the system permits that.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::Errno;

use crate::folder::Folder;
use crate::stat::Stat;

/// An open regular file.
#[derive(Debug)]
pub struct OpenedFile {
    handle: OwnedFd,
    stat: Stat,
    has_holes: bool,
}

impl OpenedFile {
    /// Opens the file `name` of a folder.
    ///
    /// # Errors
    /// `InvalidInput` if `name` is not, or no longer, a regular file; else the system's error.
    pub fn open(folder: &Folder, name: &[u8]) -> io::Result<Self> {
        let mut file = Self::open_in(folder.handle(), name)?;
        folder.map_device(&mut file.stat);
        Ok(file)
    }

    pub(crate) fn open_in(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        let handle = open_handle(folder, name)?;
        let stat = Stat::of(handle.as_fd())?;
        if !stat.is_file() {
            return Err(not_a_file());
        }
        Ok(Self {
            handle,
            has_holes: stat.may_have_holes(),
            stat,
        })
    }

    /// Opens a small file and reads all of it into the front of `room`, with three system calls. Returns `None` if the
    /// file is, after that, not the one that the walk saw, `seen`. `room` must be at least one byte longer than the
    /// file.
    ///
    /// # Errors
    /// The system's error.
    pub fn read_whole(folder: &Folder, name: &[u8], seen: &Stat, room: &mut [u8]) -> io::Result<Option<Self>> {
        let handle = open_handle(folder.handle(), name)?;
        let read = loop {
            match rustix::io::pread(&handle, &mut *room, 0) {
                Err(Errno::INTR) => {}
                // It is no longer a regular file; `open` reports that.
                Err(Errno::AGAIN | Errno::ISDIR | Errno::SPIPE | Errno::NXIO) => return Ok(None),
                read => break read?,
            }
        };
        let mut stat = Stat::of(handle.as_fd())?;
        folder.map_device(&mut stat);
        let is_same = (stat.device_raw, stat.inode, stat.mode) == (seen.device_raw, seen.inode, seen.mode)
            && version(&stat) == version(seen);
        Ok((is_same && read as u64 == seen.size).then_some(Self {
            handle,
            has_holes: stat.may_have_holes(),
            stat,
        }))
    }

    /// The file's attributes at the time it was opened.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The first run of data at or after `from`; the bytes between `from` and its start are a hole. `None` if only a
    /// hole follows, up to the size that the file had when it was opened.
    ///
    /// # Errors
    /// The system's error.
    pub fn next_data(&mut self, from: u64) -> io::Result<Option<Range<u64>>> {
        let size = self.stat.size;
        if from >= size {
            return Ok(None);
        }
        if !self.has_holes {
            return Ok(Some(from..size));
        }
        let start = match seek(&self.handle, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // The file system does not report holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                self.has_holes = false;
                return Ok(Some(from..size));
            }
            Err(error) => return Err(error.into()),
        };
        if start >= size {
            return Ok(None);
        }
        let end = match seek(&self.handle, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            // The file was shortened in the meantime; reading it will show that.
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        Ok(Some(start..end))
    }

    /// Reads at an offset and returns the number of bytes read: possibly fewer than the buffer holds, 0 at the end.
    ///
    /// # Errors
    /// The system's error.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match rustix::io::pread(&self.handle, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                read => return Ok(read?),
            }
        }
    }

    /// Reads at an offset until the buffer is full or the file ends, and returns the number of bytes read.
    ///
    /// # Errors
    /// The system's error.
    pub fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        Ok(filled)
    }

    /// Whether the file's size, mtime or ctime has changed since it was opened.
    ///
    /// # Errors
    /// The system's error.
    pub fn changed_since_open(&self) -> io::Result<bool> {
        let now = Stat::of(self.handle.as_fd())?;
        Ok(version(&now) != version(&self.stat))
    }
}

impl AsFd for OpenedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn open_handle(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may ask the system to keep the access time.
        Err(Errno::PERM) => openat(folder, name, flags, Mode::empty()),
        // Another program holds a lease on the file: wait until the kernel has taken it back. Opening a regular file
        // blocks in no other case, and a fifo returns another error.
        Err(Errno::WOULDBLOCK) if Stat::at(folder, name)?.is_file() => {
            openat(folder, name, flags & !OFlags::NONBLOCK, Mode::empty())
        }
        opened => opened,
    }
    .map_err(|error| {
        if error == Errno::LOOP {
            not_a_file()
        } else {
            error.into()
        }
    })
}

/// The attributes that change when a file's content changes.
fn version(stat: &Stat) -> (u64, i64, u32, i64, u32) {
    (stat.size, stat.mtime_s, stat.mtime_ns, stat.ctime_s, stat.ctime_ns)
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no longer a regular file")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    fn open(folder: &Path, name: &str) -> io::Result<OpenedFile> {
        OpenedFile::open(&Folder::open(folder).unwrap().0, name.as_bytes())
    }

    #[test]
    fn holes_are_found_and_data_read() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = std::fs::File::create(folder.path().join("f")).unwrap();
        file.write_all_at(b"abc", 1 << 20).unwrap();
        file.set_len(4 << 20).unwrap();
        let mut opened = open(folder.path(), "f").unwrap();
        let data = opened.next_data(0).unwrap().unwrap();
        assert!(data.start > 0 && data.start <= 1 << 20 && data.end >= (1 << 20) + 3 && data.end < 4 << 20);
        assert_eq!(opened.next_data(data.end).unwrap(), None);
        let mut bytes = [0; 8];
        assert_eq!(opened.read_at(&mut bytes, 1 << 20).unwrap(), 8);
        assert_eq!(&bytes, b"abc\0\0\0\0\0");
        assert_eq!(opened.read_at(&mut bytes, 4 << 20).unwrap(), 0);
        std::fs::write(folder.path().join("dense"), b"xyz").unwrap();
        assert_eq!(open(folder.path(), "dense").unwrap().next_data(1).unwrap(), Some(1..3));
        std::fs::write(folder.path().join("empty"), b"").unwrap();
        assert_eq!(open(folder.path(), "empty").unwrap().next_data(0).unwrap(), None);
        let all_hole = std::fs::File::create(folder.path().join("hole")).unwrap();
        all_hole.set_len(1 << 30).unwrap();
        assert_eq!(open(folder.path(), "hole").unwrap().next_data(0).unwrap(), None);
    }

    #[test]
    fn a_small_file_is_read_whole_only_if_it_is_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), b"three").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fifo"), Mode::RUSR).unwrap();
        let (handle, _) = Folder::open(folder.path()).unwrap();
        let seen = *OpenedFile::open(&handle, b"f").unwrap().stat();
        let mut room = [0; 6];
        let file = OpenedFile::read_whole(&handle, b"f", &seen, &mut room)
            .unwrap()
            .unwrap();
        assert_eq!((&room[..5], file.stat()), (&b"three"[..], &seen));
        assert!(
            OpenedFile::read_whole(&handle, b"fifo", &seen, &mut room)
                .unwrap()
                .is_none()
        );
        for changed in [b"four, and more".as_slice(), b"four", b"seven"] {
            std::fs::write(folder.path().join("f"), changed).unwrap();
            let there = OpenedFile::read_whole(&handle, b"f", &seen, &mut room).unwrap();
            assert!(there.is_none_or(|file| file.stat().ctime_ns == seen.ctime_ns));
        }
    }

    #[test]
    fn what_took_the_place_of_a_file_is_refused_and_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fifo"), Mode::RUSR).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        for name in ["fifo", "link", "folder"] {
            assert_eq!(
                open(folder.path(), name).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{name}"
            );
        }
        assert_eq!(open(folder.path(), "none").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_change_while_it_is_read_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), b"one").unwrap();
        let opened = open(folder.path(), "f").unwrap();
        assert!(!opened.changed_since_open().unwrap());
        std::fs::write(folder.path().join("f"), b"three").unwrap();
        assert!(opened.changed_since_open().unwrap());
    }
}
