//! A place in one folder: its entries in order, across as many pages as it has. Holds one page a level; while parked, none.

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, Page};

use super::PageSource;
use crate::damage::DamageKind;
use crate::error::VaultError;
use crate::tree::check_child;

/// A place in a folder.
pub struct FolderCursor<'a> {
    source: &'a dyn PageSource,
    top: Option<ChunkId>,
    state: State,
    /// From the top page down; each with the place of its next entry or child.
    stack: Vec<(Page, usize)>,
}

enum State {
    /// Before the top page.
    Start,
    /// The stack says where; where it is empty, the folder is done.
    Open,
    /// The next entry is the first whose name is not before this one.
    Parked(Bytes),
}

/// What comes next in a folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Peek<'a> {
    /// A page that was not read yet. Level and first name are not known of the top page.
    Page {
        id: ChunkId,
        level: Option<u32>,
        first: &'a Bytes,
    },
    /// An entry.
    Entry(&'a Entry),
    /// Nothing.
    End,
}

static NO_NAME: Bytes = Bytes::new();

impl<'a> FolderCursor<'a> {
    /// Before the first entry of the folder with this top page; `None` is an empty folder.
    #[must_use]
    pub fn new(source: &'a dyn PageSource, top: Option<ChunkId>) -> Self {
        let state = if top.is_some() { State::Start } else { State::Open };
        Self {
            source,
            top,
            state,
            stack: Vec::new(),
        }
    }

    /// The next entry. After an error the cursor stands before the page that could not be read: `skip` passes over it.
    pub async fn next(&mut self) -> Result<Option<Entry>, VaultError> {
        loop {
            self.ready().await?;
            match self.peek() {
                Peek::Page { .. } => self.expand().await?,
                Peek::Entry(entry) => {
                    let entry = entry.clone();
                    self.skip();
                    return Ok(Some(entry));
                }
                Peek::End => return Ok(None),
            }
        }
    }

    /// Moves so that `next` gives the first entry whose name is not before `name`. Reads only the pages on the way.
    pub async fn seek(&mut self, name: &[u8]) -> Result<(), VaultError> {
        self.stack.clear();
        self.state = if self.top.is_some() { State::Start } else { State::Open };
        while let Peek::Page { .. } = self.peek() {
            self.expand().await?;
            let Some((page, next)) = self.stack.last_mut() else {
                break;
            };
            if page.level > 0 {
                // The child that would hold the name: the last that begins before or with it.
                *next = page
                    .children
                    .partition_point(|child| *child.first <= *name)
                    .saturating_sub(1);
            } else {
                *next = page.entries.partition_point(|entry| *entry.name < *name);
                break;
            }
        }
        Ok(())
    }

    /// Passes over what comes next: an entry, or a page and all below it.
    pub fn skip(&mut self) {
        match self.state {
            State::Start => self.state = State::Open,
            State::Open => {
                self.drop_finished();
                if let Some((_, next)) = self.stack.last_mut() {
                    *next += 1;
                }
            }
            State::Parked(_) => {}
        }
    }

    /// After damage: passes over the page that could not be read. Where that happened on the way back to a parked place,
    /// the rest of the folder is given up, because nothing tells which pages come behind it.
    pub(crate) fn pass_damage(&mut self) {
        if let State::Parked(_) = self.state {
            self.stack.clear();
            self.state = State::Open;
        } else {
            self.skip();
        }
    }

    /// Gives the pages back; the place is kept by name.
    pub fn park(&mut self) {
        self.drop_finished();
        if !matches!(self.state, State::Open) || self.stack.is_empty() {
            return;
        }
        let name = match self.peek() {
            Peek::Page { first, .. } => first.clone(),
            Peek::Entry(entry) => entry.name.clone(),
            Peek::End => return,
        };
        self.stack.clear();
        // A slice would keep its whole page alive.
        self.state = State::Parked(Bytes::copy_from_slice(&name));
    }

    /// Brings the pages of a parked cursor back. To be awaited before `peek`.
    pub(crate) async fn ready(&mut self) -> Result<(), VaultError> {
        if let State::Parked(name) = &self.state {
            let name = name.clone();
            if let Err(error) = self.seek(&name).await {
                self.stack.clear();
                self.state = State::Parked(name);
                return Err(error);
            }
        }
        self.drop_finished();
        Ok(())
    }

    /// What comes next. Only after `ready`, or where the cursor was never parked.
    pub(crate) fn peek(&self) -> Peek<'_> {
        if let (State::Start, Some(id)) = (&self.state, self.top) {
            return Peek::Page {
                id,
                level: None,
                first: &NO_NAME,
            };
        }
        for (page, next) in self.stack.iter().rev() {
            if let Some(entry) = page.entries.get(*next) {
                return Peek::Entry(entry);
            }
            if let Some(child) = page.children.get(*next)
                && let Ok(id) = ChunkId::try_from(child.id.as_ref())
            {
                return Peek::Page {
                    id,
                    level: page.level.checked_sub(1),
                    first: &child.first,
                };
            }
        }
        Peek::End
    }

    /// Reads the page that comes next.
    pub(crate) async fn expand(&mut self) -> Result<(), VaultError> {
        self.drop_finished();
        let Peek::Page { id, .. } = self.peek() else {
            return Ok(());
        };
        let page = self.source.page(&id).await?;
        if let Some((parent, next)) = self.stack.last_mut() {
            check_child(parent, *next, &page).map_err(|why| VaultError::damaged(DamageKind::Page, id.hex(), why))?;
            *next += 1;
        }
        self.state = State::Open;
        self.stack.push((page, 0));
        Ok(())
    }

    fn drop_finished(&mut self) {
        while self
            .stack
            .last()
            .is_some_and(|(page, next)| *next >= page.entries.len().max(page.children.len()))
        {
            self.stack.pop();
        }
    }
}

impl std::fmt::Debug for FolderCursor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FolderCursor")
            .field("top", &self.top)
            .finish_non_exhaustive()
    }
}
