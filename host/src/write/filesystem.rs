//! The file systems of a target: what has to be written to the disk at the end, and which times they keep.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lockstone_proto::vault::Entry;
use rustix::fs::syncfs;

use crate::stat::Stat;

/// A file system of the target.
#[derive(Debug)]
pub(super) struct FileSystem {
    /// Any folder of it.
    handle: OwnedFd,
    /// The restore wrote something there.
    written: AtomicBool,
    /// A time with nanoseconds was kept as it is.
    keeps_nanoseconds: AtomicBool,
    /// An odd second was kept (FAT keeps even ones only).
    keeps_odd_seconds: AtomicBool,
    /// It was said that it cuts off parts of seconds.
    said: AtomicBool,
}

/// The file systems of a target, by device number.
#[derive(Debug, Default)]
pub(super) struct FileSystems {
    known: Mutex<HashMap<u64, Arc<FileSystem>>>,
}

impl FileSystems {
    /// The file system of an open folder.
    pub(super) fn of(&self, device: u64, folder: BorrowedFd<'_>) -> io::Result<Arc<FileSystem>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&device) {
            return Ok(Arc::clone(found));
        }
        let new = Arc::new(FileSystem {
            handle: folder.try_clone_to_owned()?,
            written: AtomicBool::new(false),
            keeps_nanoseconds: AtomicBool::new(false),
            keeps_odd_seconds: AtomicBool::new(false),
            said: AtomicBool::new(false),
        });
        known.insert(device, Arc::clone(&new));
        Ok(new)
    }

    /// Writes everything to the disk, on each file system that the restore wrote to.
    pub(super) fn sync(&self) -> io::Result<()> {
        let known: Vec<Arc<FileSystem>> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().cloned().collect()
        };
        for file_system in known {
            if file_system.written.load(Ordering::Relaxed) {
                syncfs(&file_system.handle)?;
            }
        }
        Ok(())
    }
}

impl FileSystem {
    /// Something is written there now.
    pub(super) fn is_written(&self) {
        // Read first: a value that only few threads change is cheap to read.
        if !self.written.load(Ordering::Relaxed) {
            self.written.store(true, Ordering::Relaxed);
        }
    }

    /// Reads the time of modification back, if this file system may have cut it off, and says so in `warnings`.
    pub(super) fn check_time(&self, of: BorrowedFd<'_>, entry: &Entry, warnings: &mut Vec<String>) {
        let (wanted_s, wanted_ns) = (entry.mtime_s, entry.mtime_ns.min(999_999_999));
        let exact = self.keeps_nanoseconds.load(Ordering::Relaxed);
        let whole = wanted_ns == 0 || exact;
        let even = wanted_s % 2 == 0 || exact || self.keeps_odd_seconds.load(Ordering::Relaxed);
        if whole && even && i32::try_from(wanted_s).is_ok() {
            return;
        }
        let Ok(now) = Stat::of(of) else { return };
        if (now.mtime_s, now.mtime_ns) == (wanted_s, wanted_ns) {
            self.keeps_odd_seconds.fetch_or(wanted_s % 2 != 0, Ordering::Relaxed);
            // A file system may keep units of 100 ns, or microseconds.
            self.keeps_nanoseconds.fetch_or(wanted_ns % 100 != 0, Ordering::Relaxed);
        } else if now.mtime_s.abs_diff(wanted_s) > 2 {
            let now = now.mtime_s;
            warnings.push(format!(
                "its time of modification, {wanted_s} seconds since 1970, is out of range for this file system, which \
                 made it {now}"
            ));
        } else if !self.said.swap(true, Ordering::Relaxed) {
            warnings.push(
                "this file system cuts off parts of its time of modification, and of that of the others there"
                    .to_owned(),
            );
        }
    }
}
