//! A walk through a whole tree, depth first, past whatever is damaged.

use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::TREE_MAX_DEPTH;
use lockstone_proto::vault::Entry;

use super::{FolderCursor, PageSource, folder_page};
use crate::damage::DamageKind;
use crate::error::VaultError;

/// Folders deeper than this below an open one give their pages back until the walk returns to them.
const OPEN_MAX: usize = 16;
/// No path in a tree is believed to be longer, bytes.
const PATH_MAX: usize = 4 << 20;

/// What a walk comes to.
#[derive(Debug)]
pub enum Walked {
    /// An entry. If it is a folder, what is in it comes next, unless it is skipped.
    Entry {
        /// Its path.
        path: Vec<u8>,
        /// The entry.
        entry: Box<Entry>,
    },
    /// The end of a folder that was entered; also of the root.
    Leave {
        /// The folder's path; empty for the root.
        path: Vec<u8>,
    },
    /// A part of a folder that cannot be read. The walk goes on behind it.
    Damaged {
        /// The folder's path.
        path: Vec<u8>,
        /// What is damaged: always damage, never a passing error.
        error: VaultError,
    },
}

/// A walk through a tree: in byte order of names, folders before what is in them.
pub struct TreeWalk<'a> {
    source: &'a dyn PageSource,
    /// The folders entered, from the root on: their cursors, and how long their paths are.
    open: Vec<(FolderCursor<'a>, usize)>,
    path: Vec<u8>,
    /// The folder that was come to last, and is entered next.
    enter: Option<ChunkId>,
}

impl<'a> TreeWalk<'a> {
    /// Begins at a folder by its top page. `base` is that folder's path: empty for the root.
    #[must_use]
    pub fn new(source: &'a dyn PageSource, root: Option<ChunkId>, base: Vec<u8>) -> Self {
        let open = vec![(FolderCursor::new(source, root), base.len())];
        Self {
            source,
            open,
            path: base,
            enter: None,
        }
    }

    /// The next step; `None` at the end. An error is never damage to the tree; asked again, it goes on.
    pub async fn next(&mut self) -> Result<Option<Walked>, VaultError> {
        if let Some(top) = self.enter.take() {
            if self.open.len() >= TREE_MAX_DEPTH || self.path.len() > PATH_MAX {
                let error = VaultError::damaged(DamageKind::Page, top.hex(), "it is deeper than the format allows");
                return Ok(Some(Walked::Damaged {
                    path: self.path.clone(),
                    error,
                }));
            }
            self.open
                .push((FolderCursor::new(self.source, Some(top)), self.path.len()));
            if let Some(far) = self.open.len().checked_sub(OPEN_MAX + 1) {
                self.open[far].0.park();
            }
        }
        let Some((cursor, len)) = self.open.last_mut() else {
            return Ok(None);
        };
        self.path.truncate(*len);
        match cursor.next().await {
            Ok(Some(entry)) => {
                self.path.push(b'/');
                self.path.extend_from_slice(&entry.name);
                self.enter = folder_page(&entry);
                Ok(Some(Walked::Entry {
                    path: self.path.clone(),
                    entry: Box::new(entry),
                }))
            }
            Ok(None) => {
                self.open.pop();
                Ok(Some(Walked::Leave {
                    path: self.path.clone(),
                }))
            }
            Err(error) if error.is_damage() => {
                cursor.pass_damage();
                Ok(Some(Walked::Damaged {
                    path: self.path.clone(),
                    error,
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// Does not enter the folder that was come to last. There will be no `Leave` for it.
    pub fn skip_folder(&mut self) {
        self.enter = None;
    }
}

impl std::fmt::Debug for TreeWalk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeWalk")
            .field("path", &self.path.escape_ascii().to_string())
            .finish_non_exhaustive()
    }
}
