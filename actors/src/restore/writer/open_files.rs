//! Files and folders that are being restored. Both count what is still to come. The thread that brings the last of it
//! finishes the file or folder.
//!
//! A file is written where nothing takes it for a whole one (see `lockstone_host::write`). A cancelled or failed
//! restore leaves no such file behind. After a killed restore, the next one recognises and replaces what is left. A
//! folder gets its attributes when everything in it has arrived, because writing into it would change its times.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use lockstone_host::write::{Dir, PartFile};
use lockstone_proto::vault::Entry;
use parking_lot::Mutex;

use super::claims::Claims;
use super::seen::Seen;
use crate::contents::Placed;

/// A path in a message is cut to this many bytes: in a tree of any depth, paths have any length.
const SHOWN: usize = 4096;

/// A folder being restored.
pub(crate) struct FolderOut {
    /// Empty for `/`.
    name: Bytes,
    pub(crate) parent: Option<Arc<FolderOut>>,
    /// `None` in a dry run, where the folder is missing.
    pub(crate) dir: Option<Dir>,
    /// The attributes to set at the end. `None`: the folder keeps those that it has.
    pub(crate) entry: Option<Entry>,
    /// Whether this restore made it, so that no place in it is taken.
    pub(crate) is_fresh: bool,
    /// Which of the things that existed in it belong to entries of this restore.
    pub(crate) claims: Mutex<Claims>,
    /// What is still to come: the Planner, and every file and folder in it that is not finished.
    pending: AtomicUsize,
}

impl FolderOut {
    pub(crate) fn new(
        name: Bytes,
        parent: Option<Arc<FolderOut>>,
        dir: Option<Dir>,
        entry: Option<Entry>,
        is_fresh: bool,
    ) -> Arc<Self> {
        if let Some(parent) = &parent {
            parent.expect_one();
        }
        Arc::new(Self {
            name,
            parent,
            dir,
            entry,
            is_fresh,
            claims: Mutex::default(),
            pending: AtomicUsize::new(1),
        })
    }

    /// The whole absolute path in the recovery point, in any bytes and of any length.
    pub(crate) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = Some(self);
        while let Some(folder) = at {
            names.push(&folder.name);
            at = folder.parent.as_deref();
        }
        let mut path = Vec::new();
        for name in names.iter().rev().filter(|name| !name.is_empty()) {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// The path of the entry `name` for a message or a display; of a very long path, the end. With an empty name, the
    /// path of the folder.
    pub(crate) fn show(&self, name: &[u8], to: &mut Vec<u8>) {
        // Filled from its end.
        let mut shown = [0_u8; SHOWN];
        let mut start = SHOWN;
        let mut put = |name: &[u8]| {
            let Some(next) = start.checked_sub(name.len() + 1) else {
                return false;
            };
            shown[next] = b'/';
            shown[next + 1..start].copy_from_slice(name);
            start = next;
            true
        };
        let mut is_whole = name.is_empty() || put(name);
        let mut at = Some(self);
        while let (Some(folder), true) = (at, is_whole) {
            is_whole = folder.name.is_empty() || put(&folder.name);
            at = folder.parent.as_deref();
        }
        if !is_whole {
            to.extend_from_slice("…".as_bytes());
        }
        to.extend_from_slice(&shown[start..]);
        if start == SHOWN {
            to.push(b'/');
        }
    }

    /// The path of `name` in this folder, for a message.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        self.show(name, &mut path);
        path
    }

    /// Adds one thing to what is still to come. A folder that was finished already is finished once more then, and so
    /// are the folders above it.
    fn expect_one(&self) {
        let mut folder = Some(self);
        while let Some(again) = folder.take_if(|folder| folder.pending.fetch_add(1, Ordering::SeqCst) == 0) {
            folder = again.parent.as_deref();
        }
    }

    /// Counts one thing that was still to come. True for the last one.
    pub(crate) fn one_done(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

impl Drop for FolderOut {
    fn drop(&mut self) {
        // One after another, because a chain of folders may be too long for the stack.
        let mut parent = self.parent.take();
        while let Some(mut folder) = parent.and_then(Arc::into_inner) {
            parent = folder.parent.take();
        }
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
    /// It is there already, under this name, as it should be. Further names of the file are linked to it.
    Keep(Bytes),
    /// Make it another name of a file that comes earlier in the tree.
    Link {
        /// The name in the folder.
        name: Bytes,
        /// Whether it may replace what is there.
        replace: bool,
        /// The file.
        first: Arc<FileOut>,
    },
    /// This restore wrote it before it met another name of the same file that is there already, as it should be. It
    /// becomes a name of that file.
    Rejoin {
        /// The file as it was written.
        made: Arc<FileOut>,
        /// The file that was there.
        kept: Arc<FileOut>,
    },
}

/// What is decided about a file.
pub(crate) struct Plan {
    pub(crate) action: Action,
    pub(crate) kept: HashSet<u64>,
    pub(crate) seen: Option<Seen>,
}

impl From<Action> for Plan {
    fn from(action: Action) -> Self {
        Self {
            action,
            kept: HashSet::new(),
            seen: None,
        }
    }
}

/// A file being restored.
pub(crate) struct FileOut {
    pub(crate) folder: Arc<FolderOut>,
    pub(crate) entry: Entry,
    pub(crate) action: Action,
    /// The existing file that was compared, if there is one.
    pub(crate) seen: Option<Seen>,
    /// The offsets of chunks that the existing file has; they are copied from it.
    pub(crate) kept: HashSet<u64>,
    /// The name that it got, where its own was taken.
    pub(crate) beside: OnceLock<Bytes>,
    /// Copies of it on other file systems, where its further names could not be links.
    pub(crate) elsewhere: Mutex<Vec<Arc<FileOut>>>,
    /// What is still to come: the Planner, and every chunk that is not written.
    pending: AtomicU64,
    pub(crate) part: Mutex<Option<Arc<PartFile>>>,
    /// Other names of this file, which wait until it is there. `None` once it is finished or has failed.
    pub(crate) waiting_links: Mutex<Option<Vec<Arc<FileOut>>>>,
    failure: Mutex<Option<String>>,
}

impl FileOut {
    pub(crate) fn new(folder: &Arc<FolderOut>, entry: Entry, plan: Plan) -> Arc<Self> {
        folder.expect_one();
        Arc::new(Self {
            folder: Arc::clone(folder),
            entry,
            action: plan.action,
            seen: plan.seen,
            kept: plan.kept,
            beside: OnceLock::new(),
            elsewhere: Mutex::default(),
            pending: AtomicU64::new(1),
            part: Mutex::new(None),
            waiting_links: Mutex::new(Some(Vec::new())),
            failure: Mutex::new(None),
        })
    }

    /// The absolute path in the recovery point, for a message.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.folder.join(&self.entry.name)
    }

    /// The name that it gets in its folder.
    pub(crate) fn final_name(&self) -> &Bytes {
        if let Some(name) = self.beside.get() {
            return name;
        }
        match &self.action {
            Action::Write { name, .. } | Action::Link { name, .. } | Action::Keep(name) => name,
            Action::Attributes => &self.entry.name,
            Action::Rejoin { made, .. } => made.final_name(),
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
