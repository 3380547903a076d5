//! A temporary cache folder, for a session that must not use this server's own.
//!
//! A process that is killed cannot remove its folder. So each folder is locked by its process (flock), and the next
//! process that makes one removes those of this user that nobody holds.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::TempDir;

use crate::failure::Failure;

const PREFIX: &str = "lockstone-cache-";

/// A younger folder may be one that another process has made and not locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// The folder. It is removed when this is dropped.
pub(crate) struct Scratch {
    folder: TempDir,
    #[expect(dead_code, reason = "held as long as the folder is used")]
    lock: File,
}

impl Scratch {
    /// Makes a folder, and removes those of processes that are no more.
    pub(crate) fn new() -> Result<Scratch, Failure> {
        let place = std::env::temp_dir();
        remove_leftovers(&place, YOUNG);
        let failed = || format!("cannot make a folder in {}", place.display());
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&place)
            .with_context(failed)?;
        let lock = File::open(folder.path()).with_context(failed)?;
        flock(&lock, FlockOperation::LockExclusive).with_context(failed)?;
        Ok(Scratch { folder, lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of this user that nobody holds and that are older than `young`. What cannot be removed stays.
fn remove_leftovers(place: &Path, young: Duration) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_none_or(|name| !name.starts_with(PREFIX)) {
            continue;
        }
        // Never a symlink: it would lead out of the temporary folder.
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let Ok(folder) = OpenOptions::new().read(true).custom_flags(flags).open(entry.path()) else {
            continue;
        };
        let is_left = folder.metadata().is_ok_and(|found| {
            let age = found
                .modified()
                .ok()
                .and_then(|at| at.elapsed().ok())
                .unwrap_or_default();
            found.uid() == rustix::process::geteuid().as_raw() && age >= young
        });
        if is_left && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn folders_of_processes_that_are_no_more_are_removed_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["lockstone-cache-left", "lockstone-cache-held", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "x").unwrap();
        }
        std::os::unix::fs::symlink(path("other"), path("lockstone-cache-link")).unwrap();
        let held = File::open(path("lockstone-cache-held")).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        remove_leftovers(place.path(), YOUNG);
        assert!(path("lockstone-cache-left").exists());
        remove_leftovers(place.path(), Duration::ZERO);
        assert!(!path("lockstone-cache-left").exists());
        assert!(path("lockstone-cache-held/file").exists() && path("other/file").exists());
    }
}
