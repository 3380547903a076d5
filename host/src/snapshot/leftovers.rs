//! Records of snapshots that must be removed, so that a crash at any moment leaves a trace of what is left behind.
//!
//! A record is a file `<state>/snapshots/<provider>-<id>`, where the id is 16 random hexadecimal digits. It is written
//! before the snapshot's place is made, and holds that place's path. It stays locked (`flock`) while its run lives, so
//! a record that can be locked belongs to a run that has crashed. It is deleted after the snapshots are.
//!
//! A record whose name is an id alone was written by a version that knew btrfs only.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, flock};
use rustix::io::Errno;

use super::provider::{Leftover, Provider};
use crate::stat::Stat;

/// The provider of a record whose name does not say it.
const DEFAULT_PROVIDER: &str = "btrfs";

/// The folder that holds the records.
#[derive(Debug, Clone)]
pub(super) struct Records {
    folder: PathBuf,
}

/// A record of this run. The lock is held until the record is deleted or dropped.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    _lock: File,
}

impl Records {
    /// The records in `<state_dir>/snapshots`.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            folder: folder(state_dir),
        }
    }

    /// Writes a record, durably, of a place that the provider is about to make. `place` returns its path for the id
    /// that the record gets.
    pub(super) fn write(&self, provider: &str, place: impl FnOnce(&str) -> PathBuf) -> io::Result<(Record, PathBuf)> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let id = format!("{:016x}", std::hash::RandomState::new().build_hasher().finish());
        let place = place(&id);
        let path = self.folder.join(format!("{provider}-{id}"));
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let written = (|| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            io::Write::write_all(&mut &file, place.as_os_str().as_bytes())?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()
        })();
        let record = Record { path, _lock: file };
        match written {
            Ok(()) => Ok((record, place)),
            Err(error) => {
                let _ = record.delete();
                Err(error)
            }
        }
    }
}

impl Record {
    /// Deletes the record: nothing is left to remove.
    pub(super) fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The folder that holds the records.
pub(super) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("snapshots")
}

/// Whether a record in this folder names the folder with this device and inode.
pub(crate) fn is_recorded(records: &Path, identity: (u64, u64)) -> bool {
    let Ok(records) = std::fs::read_dir(records) else {
        return false;
    };
    let places = records.filter_map(|record| std::fs::read(record.ok()?.path()).ok());
    places
        .filter_map(|place| Stat::at(CWD, &*PathBuf::from(std::ffi::OsString::from_vec(place))).ok())
        .any(|stat| (stat.device, stat.inode) == identity)
}

/// Removes what crashed runs left behind, each record by its provider. See [`super::cleanup_leftovers`].
pub(super) fn cleanup(state_dir: &Path, providers: &[Box<dyn Provider>]) -> Vec<String> {
    let records = match std::fs::read_dir(Records::new(state_dir).folder) {
        Ok(records) => records,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![format!("the records of snapshots could not be read: {error}")],
    };
    let mut problems = Vec::new();
    for record in records {
        let cleaned = record.and_then(|record| {
            let record = record.path();
            cleanup_record(&record, providers)
                .map_err(|error| io::Error::other(format!("{}: {error}", record.display())))
        });
        if let Err(error) = cleaned {
            problems.push(format!("snapshots of an interrupted run could not be removed: {error}"));
        }
    }
    problems
}

fn cleanup_record(record: &Path, providers: &[Box<dyn Provider>]) -> io::Result<()> {
    let file = match File::open(record) {
        Ok(file) => file,
        // Its run has just ended and deleted it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Its run is still going.
        Err(Errno::WOULDBLOCK) => return Ok(()),
        locked => locked?,
    }
    let name = record.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (provider, id) = name.split_once('-').unwrap_or((DEFAULT_PROVIDER, &name));
    let Some(provider) = providers.iter().find(|known| known.name() == provider) else {
        return Err(io::Error::other(format!(
            "this version has no snapshot provider named {provider:?}"
        )));
    };
    provider.remove_leftover(&Leftover {
        id: id.to_owned(),
        place: PathBuf::from(std::ffi::OsString::from_vec(std::fs::read(record)?)),
    })?;
    std::fs::remove_file(record)
}
