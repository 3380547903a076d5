//! What a snapshot provider is, and what it hands out. A provider knows one way to freeze what lies on a mount: one
//! kind of file system, or one kind of volume. The providers of this program are listed in `registry.rs`.

use std::io;
use std::path::{Path, PathBuf};

pub use lockstone_proto::vault::Consistency;

use crate::volumes::Mount;

/// Something that freezes what lies on one mount.
pub trait Provider: Send + Sync {
    /// The provider's name: lower-case letters only. It is part of the names of its records and of messages.
    fn name(&self) -> &'static str;

    /// Whether the provider can freeze what lies on this mount; if not, why.
    ///
    /// # Errors
    /// The reason, in words.
    fn offers(&self, mount: &Mount) -> Result<(), String>;

    /// Freezes the part of a source at `path`, which lies on `mount`. Called once for each part; parts on the same
    /// volume share a snapshot.
    ///
    /// # Errors
    /// The part could not be frozen. Nothing is left behind, or a record says what is.
    fn freeze(&mut self, path: &Path, mount: &Mount) -> Result<Part, SnapshotError>;

    /// Removes everything that this provider made. After an error, another call removes what is left.
    ///
    /// # Errors
    /// The first thing that could not be removed. The provider tries to remove all the others even so.
    fn release(&mut self) -> Result<(), SnapshotError>;

    /// Removes what a crashed run left behind, as one of this provider's records describes it. Succeeds if there is
    /// nothing left to remove: the record may have been written just before the crash.
    ///
    /// # Errors
    /// Something could not be removed, or it cannot be known whether it still exists. The record is then kept.
    fn remove_leftover(&self, leftover: &Leftover) -> io::Result<()>;
}

/// What a record says about a snapshot that a crashed run may have left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The record's random id: 16 hexadecimal digits, as the provider got it when it wrote the record.
    pub id: String,
    /// Where the snapshots are; cut short or empty if the run crashed while it wrote the record.
    pub place: PathBuf,
}

/// A frozen part of a source.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where the part can be read now.
    pub read_from: PathBuf,
    /// Whether the part is a snapshot or is read live.
    pub consistency: Consistency,
    /// Pairs of `st_dev`: the one seen where the part is read, and the one it has in the source.
    pub devices: Vec<(u64, u64)>,
    /// What is nested in the part and must be read elsewhere.
    pub inside: Vec<Inside>,
}

impl Part {
    /// A part that is not frozen but read where and as it is.
    #[must_use]
    pub fn live(path: &Path) -> Self {
        Self {
            read_from: path.to_owned(),
            consistency: Consistency::Live,
            devices: Vec::new(),
            inside: Vec::new(),
        }
    }

    /// Whether the part is read live.
    pub(super) fn is_live(&self) -> bool {
        self.consistency == Consistency::Live
    }
}

/// A folder below a source that must be read from another place than the walk would find it at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// The folder's absolute path in the source.
    pub path: PathBuf,
    /// Where the folder can be read.
    pub read_from: PathBuf,
    /// Whether the folder is a mount point, and not only a nested subvolume.
    pub is_mount: bool,
}

/// A source that cannot be frozen, or a snapshot that cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The source does not exist, or its attributes cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Source {
        /// The source's path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// No provider can freeze a part of the source, and [`SnapshotMode::Require`](super::SnapshotMode::Require) is set.
    #[error("{path} cannot be frozen: {reason}", path = path.display())]
    NotPossible {
        /// The path of the part.
        path: PathBuf,
        /// Why the last provider that was asked cannot freeze it.
        reason: String,
    },
    /// A snapshot or its record could not be made.
    #[error("no snapshot of {path} could be made: {error}", path = path.display())]
    Make {
        /// The path of the part.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A snapshot could not be removed.
    #[error("the snapshots in {folder} could not be removed: {error}", folder = folder.display())]
    Remove {
        /// The folder that holds the snapshots.
        folder: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}
