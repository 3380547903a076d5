//! A cursor in one folder: its entries in order, across all of its pages. It holds one page for each level, and none
//! while it is parked.

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, Page};

use super::PageSource;
use crate::damage::DamageKind;
use crate::error::VaultError;
use crate::tree::{check_child, check_end};

/// A cursor in one folder.
pub struct FolderCursor<'a> {
    source: &'a dyn PageSource,
    top: Option<ChunkId>,
    state: State,
    /// The open pages from the top page down, each with the position of its next entry or child.
    stack: Vec<(Page, usize)>,
}

enum State {
    /// Before the top page.
    Start,
    /// At the position that the stack says. If the stack is empty, the folder is finished.
    Open,
    /// The next entry is the first whose name is not before this one.
    Parked(Bytes),
}

/// What is next in a folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Peek<'a> {
    /// A page that was not read yet. Of the top page, level and first name are not known.
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
    /// A cursor before the first entry of the folder with this top page. `None` means an empty folder.
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

    /// The next entry. After an error the cursor is before the page that could not be read; `skip` passes over it.
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

    /// Moves the cursor so that `next` returns the first entry whose name is not before `name`. Reads only the pages
    /// that lead to it.
    pub async fn seek(&mut self, name: &[u8]) -> Result<(), VaultError> {
        self.stack.clear();
        self.state = if self.top.is_some() { State::Start } else { State::Open };
        while let Peek::Page { .. } = self.peek() {
            self.expand().await?;
            let Some((page, next)) = self.stack.last_mut() else {
                break;
            };
            if page.level > 0 {
                // The child that would hold the name: the last one whose first name is not after it.
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

    /// Passes over what is next: an entry, or a page and everything below it.
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

    /// Passes over a page that could not be read because of damage. If that happened while a parked cursor went back to
    /// its place, the rest of the folder is given up, because it is not known which pages follow.
    pub(crate) fn pass_damage(&mut self) {
        if let State::Parked(_) = self.state {
            self.stack.clear();
            self.state = State::Open;
        } else {
            self.skip();
        }
    }

    /// Frees the pages. The cursor keeps its place by name.
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
        // A slice would keep the whole page in memory.
        self.state = State::Parked(Bytes::copy_from_slice(&name));
    }

    /// Reads the pages of a parked cursor again. To be awaited before `peek`.
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

    /// What is next. Call it only after `ready`, or if the cursor was never parked.
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

    /// Reads the next page.
    pub(crate) async fn expand(&mut self) -> Result<(), VaultError> {
        self.drop_finished();
        let Peek::Page { id, .. } = self.peek() else {
            return Ok(());
        };
        let page = self.source.page(&id).await?;
        let damaged = |why| VaultError::damaged(DamageKind::Page, id.hex(), why);
        if let Some(((parent, next), above)) = self.stack.split_last_mut() {
            check_child(parent, *next, &page).map_err(damaged)?;
            // What is below a child of a page higher up ends before that page's next child, too.
            for (page_above, next) in above {
                if let Some(bound) = page_above.children.get(*next) {
                    check_end(&page, &bound.first).map_err(damaged)?;
                }
            }
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
