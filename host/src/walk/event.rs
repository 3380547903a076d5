//! What a walk reports to its caller.

use std::io;
use std::sync::Arc;

use crate::folder::Folder;
use crate::stat::Stat;

/// One thing that the walk reports.
#[derive(Debug)]
pub enum WalkEvent {
    /// A folder begins: the source itself, or a folder in the one entered last. Its entries follow, then its `Leave`.
    Enter {
        /// The folder's name. The source's name is the last component of its path, and empty for `/`.
        name: Vec<u8>,
        /// The folder's attributes.
        stat: Stat,
        /// The open folder itself.
        folder: Arc<Folder>,
    },
    /// A file, symbolic link, fifo or device.
    Entry {
        /// The folder that holds the entry. For a source that is not a folder, the folder around it.
        folder: Arc<Folder>,
        /// The entry's name in that folder.
        name: Vec<u8>,
        /// The entry's attributes.
        stat: Stat,
    },
    /// The folder entered last has no more entries.
    Leave,
    /// An entry, or the content of a folder, was left out on purpose.
    Skipped {
        /// Its absolute path in the source.
        path: Vec<u8>,
        /// The reason.
        what: SkipReason,
    },
    /// An entry, or the content of a folder, cannot be read.
    Problem {
        /// Its absolute path in the source.
        path: Vec<u8>,
        /// The system's error.
        error: io::Error,
    },
}

/// Why an entry, or the content of a folder, was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// A socket: it is useless without the program that listens on it.
    Socket,
    /// A glob matches it.
    Excluded,
    /// Another file system is mounted on the folder or file, and the rules say not to enter one.
    OtherFileSystem,
    /// A view into the kernel (`proc`, `sysfs`, …) is mounted on the folder.
    PseudoFileSystem,
    /// The folder has a valid `CACHEDIR.TAG`; only the tag is kept.
    CacheDir,
    /// The folder has an entry of [`Rules::markers`](super::Rules::markers); only that is kept.
    Marked,
    /// The file is larger than [`Rules::max_size`](super::Rules::max_size).
    TooLarge,
    /// It holds snapshots that this program took, in this run or another one that has the same state folder.
    Snapshots,
    /// A restore is writing it, or was killed while it wrote it.
    Unfinished,
    /// The folder was given to [`Rules::exclude_folder`](super::Rules::exclude_folder).
    Forbidden,
}
