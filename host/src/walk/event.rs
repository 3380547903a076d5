//! What a walk tells whoever drives it.

use std::io;
use std::sync::Arc;

use super::{Folder, Stat};

/// What the walk meets.
#[derive(Debug)]
pub enum WalkEvent {
    /// A folder begins: the source itself, or one in the folder entered last. Its entries follow, then its `Leave`.
    Enter {
        /// Its name; the source's own is the last component of its path, empty for `/`.
        name: Vec<u8>,
        /// Its attributes.
        stat: Stat,
        /// Its handle.
        folder: Arc<Folder>,
    },
    /// A file, symbolic link, fifo or device.
    Entry {
        /// The folder it is in; for a source that is no folder, the one around it.
        folder: Arc<Folder>,
        /// Its name there.
        name: Vec<u8>,
        /// Its attributes.
        stat: Stat,
    },
    /// The folder entered last is done.
    Leave,
    /// Something was left out on purpose: an entry, or what is in a folder.
    Skipped {
        /// Absolute, in the source.
        path: Vec<u8>,
        /// Why.
        what: SkipReason,
    },
    /// An entry, or what is in a folder, cannot be read.
    Problem {
        /// Absolute, in the source.
        path: Vec<u8>,
        /// What the system said.
        error: io::Error,
    },
}

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// A socket: it means nothing without the program that listens.
    Socket,
    /// By a glob.
    Excluded,
    /// The content of a folder where another file system is mounted.
    OtherFileSystem,
    /// The content of a folder where a view into the kernel is mounted.
    PseudoFileSystem,
    /// The content, but for the tag, of a folder with a valid `CACHEDIR.TAG`.
    CacheDir,
    /// A folder left out by [`Rules::exclude_folder`](super::Rules::exclude_folder).
    Forbidden,
}
