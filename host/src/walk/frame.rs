//! The walker's note of one folder on the way down from the source to the entry that it looks at.

use std::io;
use std::sync::Arc;

use super::event::{SkipReason, WalkEvent};
use super::names::Mark;
use crate::folder::Folder;
use crate::path::FolderPath;
use crate::stat::Stat;

/// A folder on the way down.
pub(super) struct Frame {
    /// `None` while the folder is closed.
    pub(super) folder: Option<Arc<Folder>>,
    pub(super) path: Arc<FolderPath>,
    /// The folder must stay open: `..` does not lead back to it, or there is nothing above it.
    pub(super) pinned: bool,
    pub(super) stat: Stat,
    /// Where the folder's names begin in `Names`.
    pub(super) mark: Mark,
    /// Index in `Names` of the name to look at next.
    pub(super) next: usize,
    pub(super) listing: Listing,
    /// What to report before the folder's entries.
    pub(super) notice: Option<Notice>,
    /// Only this entry of the folder is kept: the index of its name in `Walker::wanted`.
    pub(super) only: Option<u8>,
    /// Length of the folder's path in `Walker::path`.
    pub(super) path_len: usize,
}

/// How much of a folder's listing has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// Nothing yet.
    Unread,
    /// A batch; more names follow after it.
    Partial,
    /// Everything, or the folder is not to be listed.
    Done,
}

/// Why the content of a folder is left out, in whole or in part.
pub(super) enum Notice {
    Skipped(SkipReason),
    Problem(io::Error),
}

impl Notice {
    /// The event that reports this about the folder at `path`.
    pub(super) fn about(self, path: Vec<u8>) -> WalkEvent {
        match self {
            Self::Skipped(what) => WalkEvent::Skipped { path, what },
            Self::Problem(error) => WalkEvent::Problem { path, error },
        }
    }
}
