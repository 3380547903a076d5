//! The last recovery point as the Enumerator sees it: folders whose entries are read in order, page by page, beside the
//! walk. A page that can't be read is no fault: what it held counts as new, and is read again.

use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind, PageRef};
use lockstone_vault::tree::decode_page;

use super::Job;
use crate::flow::Fault;

/// A folder of an earlier point, read in byte order of names.
pub(super) struct OldFolder {
    job: Arc<Job>,
    /// Pages not read yet, the next one last; with their levels known only once read.
    ahead: Vec<Bytes>,
    entries: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
}

impl OldFolder {
    /// The folder with this top page (empty: no entries).
    pub(super) fn open(job: &Arc<Job>, page: Bytes) -> Self {
        let ahead = if page.is_empty() { Vec::new() } else { vec![page] };
        Self {
            job: Arc::clone(job),
            ahead,
            entries: Vec::new().into_iter(),
            next: None,
        }
    }

    /// The entry of this name. Names must be asked for in byte order; entries before it are passed over.
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
        let domain = &self.job.domain;
        let raw = match domain.index().page(&id)? {
            Some(raw) => raw,
            None => self.job.engine.finish(domain.read_tree_chunk(&id))?,
        };
        let page = decode_page(raw)?;
        Ok((page.entries, page.children))
    }
}

/// Where an absolute path stands in the tree below `root`: the folder entries on the way are passed through.
pub(super) fn resolve(job: &Arc<Job>, root: Bytes, path: &[u8]) -> Option<Entry> {
    let mut page = root;
    let mut found: Option<Entry> = None;
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        if let Some(above) = &found {
            if above.kind() != EntryKind::Folder {
                return None;
            }
            page = above.page.clone();
        }
        found = Some(OldFolder::open(job, page.clone()).find(name)?);
    }
    // The root itself is a folder without attributes.
    Some(found.unwrap_or_else(|| Entry {
        kind: EntryKind::Folder.into(),
        page,
        ..Entry::default()
    }))
}
