//! Files and folders that are being restored. Both count what is still to come. The thread that brings the last of it
//! finishes the file or folder.
//!
//! A file is written where nothing takes it for a whole one (see `lockstone_host::write`). A cancelled or failed
//! restore leaves no such file behind. After a killed restore, the next one recognises and replaces what is left. A
//! folder gets its attributes when everything in it has arrived, because writing into it would change its times.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use lockstone_host::write::{Dir, PartFile};
use lockstone_proto::vault::Entry;
use parking_lot::Mutex;

use crate::contents::Placed;

/// A folder being restored.
pub(crate) struct FolderOut {
    /// Absolute, in the recovery point.
    path: Vec<u8>,
    pub(crate) parent: Option<Arc<FolderOut>>,
    /// `None` in a dry run.
    pub(crate) dir: Option<Arc<Dir>>,
    /// The attributes to set at the end. `None`: the folder keeps those that it has.
    pub(crate) entry: Option<Entry>,
    /// Whether this restore made it, so that no place in it is taken.
    pub(crate) is_fresh: bool,
    /// What is still to come: the Planner, and every file and folder in it that is not finished.
    pending: AtomicUsize,
}

impl FolderOut {
    pub(crate) fn new(
        path: Vec<u8>,
        parent: Option<Arc<FolderOut>>,
        dir: Option<Arc<Dir>>,
        entry: Option<Entry>,
        is_fresh: bool,
    ) -> Arc<Self> {
        if let Some(parent) = &parent {
            parent.pending.fetch_add(1, Ordering::SeqCst);
        }
        Arc::new(Self {
            path,
            parent,
            dir,
            entry,
            is_fresh,
            pending: AtomicUsize::new(1),
        })
    }

    /// The absolute path in the recovery point, in any bytes.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of `name` in this folder.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Counts one thing that was still to come. True for the last one.
    pub(crate) fn one_done(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// What to do with a file, or with anything else except a folder.
pub(crate) enum Action {
    /// Write it under this name.
    Write {
        /// The name in the folder.
        name: Bytes,
        /// Whether it may replace what is there.
        replace: bool,
    },
    /// Only set its attributes, because its content is there already.
    Attributes,
    /// Make it another name of a file that comes earlier in the tree.
    Link {
        /// The name in the folder.
        name: Bytes,
        /// The file.
        first: Arc<FileOut>,
    },
}

/// A file being restored.
pub(crate) struct FileOut {
    pub(crate) folder: Arc<FolderOut>,
    pub(crate) entry: Entry,
    pub(crate) action: Action,
    /// The offsets of chunks that the existing file has; they are copied from it.
    pub(crate) kept: HashSet<u64>,
    /// What is still to come: the Planner, and every chunk that is not written.
    pending: AtomicU64,
    pub(crate) part: Mutex<Option<Arc<PartFile>>>,
    /// Other names of this file, which wait until it is there. `None` once it is finished or has failed.
    pub(crate) waiting_links: Mutex<Option<Vec<Arc<FileOut>>>>,
    failure: Mutex<Option<String>>,
}

impl FileOut {
    pub(crate) fn new(folder: &Arc<FolderOut>, entry: Entry, action: Action, kept: HashSet<u64>) -> Arc<Self> {
        folder.pending.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self {
            folder: Arc::clone(folder),
            entry,
            action,
            kept,
            pending: AtomicU64::new(1),
            part: Mutex::new(None),
            waiting_links: Mutex::new(Some(Vec::new())),
            failure: Mutex::new(None),
        })
    }

    /// The absolute path in the recovery point.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.folder.join(&self.entry.name)
    }

    /// The name that it gets in its folder.
    pub(crate) fn final_name(&self) -> &Bytes {
        match &self.action {
            Action::Write { name, .. } | Action::Link { name, .. } => name,
            Action::Attributes => &self.entry.name,
        }
    }

    /// Whether its chunks have to be fetched.
    pub(crate) fn needs_content(&self) -> bool {
        matches!(self.action, Action::Write { .. }) && self.entry.content.is_some()
    }

    /// Whether the existing file has this chunk at its place.
    pub(crate) fn has_already(&self, placed: &Placed) -> bool {
        self.kept.contains(&placed.offset)
    }

    /// Adds a chunk to what is still to come.
    pub(crate) fn expect_chunk(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one thing that was still to come. True for the last one.
    pub(crate) fn one_done(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Says that the file can't be restored. Only the first reason is kept. An empty one means that a warning was
    /// given.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.lock().get_or_insert(reason);
    }

    /// Why it can't be restored, if it can't.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }
}
