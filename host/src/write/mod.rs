//! Writes restored files beneath one folder, and nowhere else. The restore's stages call it from many threads.
//!
//! # Names from a hostile vault cannot lead outside
//!
//! A [`Dir`] is a folder that was opened. Every name is checked to be one path component. Folders are opened by
//! `openat2` beneath the folder around them, without symbolic or magic links, and new entries are created under names
//! that must not exist yet. The handles of folders are closed when there are too many of them ([`Handles`]); a folder
//! that is opened again must be the same one.
//!
//! # An unfinished file is never taken for a finished one
//!
//! A file is created under a temporary name (`.lockstone-<16 hex digits>.part`), gets its content and attributes there,
//! and is renamed last. A part that is dropped unfinished is removed. What a killed restore leaves is removed by the
//! next one that writes into the folder.
//!
//! For small files the renaming would be a third of the kernel's work. In a folder that the restore made itself, no
//! other program expects any file yet. There, a file that is written by one call has its own name from the start, and a
//! mode that no finished file has until everything else is done. A mode alone proves nothing, because users' files may
//! have it. So the topmost folder that a restore makes also has an extended attribute until everything in it is
//! finished (`marks.rs`). The reasons are in `docs/decisions/0009-marked-until-whole.md`.
//!
//! # What is finished is on the disk
//!
//! A file that replaces another has its content on the disk before it gets the name. Everything else is there when
//! [`Dir::sync`] returns.

mod dir;
mod extra;
mod filesystem;
mod follow;
mod handles;
pub(crate) mod marks;
mod node;
mod part;
pub(crate) mod temporary;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

pub use self::dir::Dir;
pub use self::handles::Handles;
pub use self::part::PartFile;
pub use crate::metadata::ApplyOptions;
use crate::metadata::OwnerNames;
use filesystem::FileSystems;

/// How a target is written.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// Content is on the disk before it replaces something, and [`Dir::sync`] writes everything to the disk.
    pub sync: bool,
    /// Nothing is changed: folders that cannot be opened are not opened for the time of the restore.
    pub read_only: bool,
    /// How many handles may be open.
    pub handles: Handles,
    /// The job's id. It is the value of the mark of unfinished folders.
    pub job: Vec<u8>,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self {
            sync: true,
            read_only: false,
            handles: Handles::new(1024),
            job: b"lockstone".to_vec(),
        }
    }
}

/// What all folders of one target share.
#[derive(Debug)]
struct Target {
    options: TargetOptions,
    names: OwnerNames,
    file_systems: Arc<FileSystems>,
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
