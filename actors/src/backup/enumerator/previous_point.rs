//! The last recovery point as the Enumerator sees it: folders whose entries are read in order, page by page, in step
//! with the walk. A page that can't be read is not a fault: the files in it count as new and are read again.

use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind, PageRef};
use lockstone_vault::points::{Found, PageSource, lookup};

use crate::backup::job::BackupJob;
use crate::flow::Fault;

/// A folder of an earlier recovery point, read in byte order of names.
pub(super) struct OldFolder {
    job: Arc<BackupJob>,
    /// Ids of pages that are not read yet, the next one last. A page's level is only known when it is read.
    ahead: Vec<Bytes>,
    entries: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
}

impl OldFolder {
    /// The folder with this top page. An empty id: a folder without entries.
    pub(super) fn open(job: &Arc<BackupJob>, page: Bytes) -> Self {
        let ahead = if page.is_empty() { Vec::new() } else { vec![page] };
        Self {
            job: Arc::clone(job),
            ahead,
            entries: Vec::new().into_iter(),
            next: None,
        }
    }

    /// The entry of this name. Names must be asked for in byte order; entries before this one are skipped.
    pub(super) fn find(&mut self, name: &[u8]) -> Option<Entry> {
        loop {
            if self.next.is_none() {
                self.next = self.advance();
            }
            match self.next.as_ref()?.name.as_ref().cmp(name) {
                std::cmp::Ordering::Less => self.next = None,
                std::cmp::Ordering::Equal => return self.next.take(),
                std::cmp::Ordering::Greater => return None,
            }
        }
    }

    fn advance(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(entry);
            }
            let id = self.ahead.pop()?;
            match self.read(&id) {
                Ok((entries, children)) => {
                    self.entries = entries.into_iter();
                    self.ahead.extend(children.into_iter().rev().map(|child| child.id));
                }
                Err(error) => {
                    tracing::warn!(%error, "a tree page of the last point can't be read; its files are read again");
                    self.ahead.clear();
                    return None;
                }
            }
        }
    }

    fn read(&self, id: &[u8]) -> Result<(Vec<Entry>, Vec<PageRef>), Fault> {
        let Ok(id) = ChunkId::try_from(id) else {
            return Err(Fault::integrity("a page id of the wrong length"));
        };
        let page = self.job.engine.run_to_end(self.job.domain.page(&id))?;
        Ok((page.entries, page.children))
    }
}

/// What the recovery point with this root has at an absolute path. `None` if it has nothing there, or if a page on the
/// way can't be read.
pub(super) fn resolve(job: &BackupJob, root: &Bytes, path: &[u8]) -> Option<Entry> {
    let root_id = ChunkId::try_from(root.as_ref()).ok();
    match job.engine.run_to_end(lookup(&*job.domain, root_id, path)).ok()? {
        Found::Entry(entry) => Some(*entry),
        // The root itself is a folder without attributes.
        Found::Root => Some(Entry {
            kind: EntryKind::Folder.into(),
            page: root.clone(),
            ..Entry::default()
        }),
        Found::Missing => None,
    }
}
