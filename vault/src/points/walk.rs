//! A walk through a whole tree, depth first. It goes on after damage.

use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::TREE_MAX_DEPTH;
use lockstone_proto::vault::Entry;

use super::{FolderCursor, PageSource, folder_page};
use crate::damage::DamageKind;
use crate::error::VaultError;

/// An open folder frees its pages while the walk is more than this many folders below it.
const OPEN_MAX: usize = 16;
/// The longest path that is accepted in a tree, bytes.
const PATH_MAX: usize = 4 << 20;

/// A step of a walk.
#[derive(Debug)]
pub enum Walked {
    /// An entry. If it is a folder, its content comes next, unless it is skipped.
    Entry {
        /// Its path.
        path: Vec<u8>,
        /// The entry.
        entry: Box<Entry>,
    },
    /// The end of a folder that was entered, including the root.
    Leave {
        /// The folder's path; empty for the root.
        path: Vec<u8>,
    },
    /// A part of a folder cannot be read. The walk goes on after it.
    Damaged {
        /// The folder's path.
        path: Vec<u8>,
        /// The damage. Never another kind of error.
        error: VaultError,
    },
}

/// A walk through a tree: in byte order of names, folders before their content.
pub struct TreeWalk<'a> {
    source: &'a dyn PageSource,
    /// The open folders from the root on: their cursors, and the lengths of their paths.
    open: Vec<(FolderCursor<'a>, usize)>,
    path: Vec<u8>,
    /// The folder that was returned last. It is entered next.
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

    /// The next step; `None` at the end. An error is never damage to the tree. After an error, `next` can be called
    /// again.
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

    /// Skips the content of the folder that was returned last. There will be no `Leave` for it.
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
