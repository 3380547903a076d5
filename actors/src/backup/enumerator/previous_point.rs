//! The last recovery point as the Enumerator sees it: folders whose entries are read in order, page by page, in step
//! with the walk. A page that can't be read is not a fault: the files in it count as new and are read again.

use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind, PageRef};
use lockstone_vault::log::Point;
use lockstone_vault::points::{Found, PageSource, lookup};

use crate::backup::job::BackupJob;
use crate::flow::Fault;

/// The recovery point with which a source is compared.
#[derive(Clone)]
pub(super) struct OldPoint {
    /// Top page of its root folder.
    pub(super) root: Bytes,
    /// The attributes of its root folder.
    pub(super) root_folder: Option<Entry>,
    /// When it was committed, seconds since the epoch.
    pub(super) committed_s: i64,
}

impl OldPoint {
    pub(super) fn of(point: &Point) -> Self {
        Self {
            root: point.body.root.clone(),
            root_folder: point.body.root_folder.clone(),
            committed_s: point.time_s,
        }
    }
}

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
        let page = self.job.engine.run_unless_cancelled(self.job.domain.page(&id));
        let page = page.map_err(|_| Fault::permanent("the backup was cancelled"))??;
        Ok((page.entries, page.children))
    }
}

/// What a recovery point has at an absolute path. `None` if it has nothing there, or if a page on the way can't be
/// read.
pub(super) fn resolve(job: &BackupJob, point: &OldPoint, path: &[u8]) -> Option<Entry> {
    let root_id = ChunkId::try_from(point.root.as_ref()).ok();
    let found = job.engine.run_unless_cancelled(lookup(&*job.domain, root_id, path));
    match found.ok()?.ok()? {
        Found::Entry(entry) => Some(*entry),
        Found::Root => Some(Entry {
            kind: EntryKind::Folder.into(),
            page: point.root.clone(),
            ..point.root_folder.clone().unwrap_or_default()
        }),
        Found::Missing => None,
    }
}

/// Whether there is anything but folders below a folder of an earlier recovery point. If a page can't be read, it is
/// taken for empty.
pub(super) fn has_files(job: &Arc<BackupJob>, folder: &Entry) -> bool {
    let mut folders = vec![folder.page.clone()];
    while let Some(page) = folders.pop() {
        let mut old = OldFolder::open(job, page);
        while let Some(entry) = old.advance() {
            if entry.kind() != EntryKind::Folder {
                return true;
            }
            if !entry.page.is_empty() {
                folders.push(entry.page);
            }
        }
    }
    folder.kind() != EntryKind::Folder
}
