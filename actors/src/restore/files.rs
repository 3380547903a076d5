//! Files and folders on their way back. Both count what is still to come; whoever brings the last of it finishes them.
//!
//! A file is written where nobody takes it for a whole one (see `lockstone_host::write`): a cancelled or failed restore leaves
//! none behind, and a killed one what the next knows and replaces. A folder gets its attributes when all that belongs in
//! it has arrived, as writing into it would change its times.

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
    /// In the recovery point, absolute.
    path: Vec<u8>,
    pub(crate) parent: Option<Arc<FolderOut>>,
    /// `None` in a dry run.
    pub(crate) dir: Option<Arc<Dir>>,
    /// Attributes to set at the end; `None`: it keeps those it has.
    pub(crate) entry: Option<Entry>,
    /// This restore made it: nothing in it is in the way of anything.
    pub(crate) is_fresh: bool,
    /// The Planner, and every file and folder in it that is not finished.
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

    /// In the recovery point, absolute, any bytes.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of `name` in it.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// One thing less to wait for; true for the last.
    pub(crate) fn one_done(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// What becomes of a file (or of anything else that is no folder).
pub(crate) enum Action {
    /// Write it under this name.
    Write {
        /// The name in the folder.
        name: Bytes,
        /// What stands there may go.
        replace: bool,
    },
    /// Its content is there already: only its attributes are set.
    Attributes,
    /// It is another name of this file, which comes before it in the tree.
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
    /// Offsets of chunks that the existing file has already; they are copied from it.
    pub(crate) kept: HashSet<u64>,
    /// The Planner, and every chunk that is not written.
    pending: AtomicU64,
    pub(crate) part: Mutex<Option<Arc<PartFile>>>,
    /// Other names of it, waiting until it is there; `None` once it is, or never will be.
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

    /// In the recovery point, absolute.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.folder.join(&self.entry.name)
    }

    /// Its name in the folder, once it is there.
    pub(crate) fn final_name(&self) -> &Bytes {
        match &self.action {
            Action::Write { name, .. } | Action::Link { name, .. } => name,
            Action::Attributes => &self.entry.name,
        }
    }

    /// Whether chunks have to be planned for it.
    pub(crate) fn needs_content(&self) -> bool {
        matches!(self.action, Action::Write { .. }) && self.entry.content.is_some()
    }

    /// Whether the existing file has this chunk at its place.
    pub(crate) fn has_already(&self, placed: &Placed) -> bool {
        self.kept.contains(&placed.offset)
    }

    /// One chunk more to wait for.
    pub(crate) fn expect_chunk(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// One thing less to wait for; true for the last.
    pub(crate) fn one_done(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// It can't be restored; the first reason is kept.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.lock().get_or_insert(reason);
    }

    /// Why it can't be restored.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }
}
