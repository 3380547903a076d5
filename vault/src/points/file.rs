//! One file's content, read back from its entry: which bytes of the file are which chunk, in the order of the file.
//! Restore, comparison, verification and a mount all read it here.
//!
//! Most files have one list of chunks, which stands in their entry and needs no read of the vault. Larger files have
//! nested lists. They are opened one after another as the reader reaches them, so memory does not grow with the file.

use std::borrow::Cow;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Content, Entry};

use super::PageSource;
use crate::damage::DamageKind;
use crate::error::VaultError;

/// At most this many lists are open at a time. The format allows far fewer levels; a hostile vault may say otherwise.
const MAX_OPEN_LISTS: usize = 64;

/// A chunk and its place in the file. Bytes of the file that no chunk covers are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedChunk {
    /// The chunk's id.
    pub id: ChunkId,
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// Its length, bytes.
    pub len: u32,
}

/// The chunks of one file, in file order.
pub struct FileChunks<'a> {
    source: &'a dyn PageSource,
    /// Lists being read, the innermost last.
    lists: Vec<List<'a>>,
}

struct List<'a> {
    content: Cow<'a, Content>,
    /// The next id.
    next: usize,
    /// The next hole.
    hole: usize,
    /// Where in the file the next id stands.
    position: u64,
}

/// A part of the file that a list names: a chunk, or a list one level lower.
struct Part {
    id: ChunkId,
    offset: u64,
    len: u64,
}

impl<'a> FileChunks<'a> {
    /// The chunks of a file's entry. The entry must come from a decoded page, so that its own list is sound.
    #[must_use]
    pub fn of(entry: &'a Entry, source: &'a dyn PageSource) -> Self {
        let lists = entry.content.iter();
        Self {
            source,
            lists: lists.map(|content| List::new(Cow::Borrowed(content), 0)).collect(),
        }
    }

    /// The next chunk if no list has to be read from the vault for it. Never waits.
    pub fn next_ready(&mut self) -> Option<PlacedChunk> {
        self.leave_finished();
        let list = self.lists.last_mut().filter(|list| list.content.level == 0)?;
        let Part { id, offset, len } = list.step()?;
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Some(PlacedChunk { id, offset, len })
    }

    /// Whether all chunks were given out.
    pub fn is_finished(&mut self) -> bool {
        self.leave_finished();
        self.lists.is_empty()
    }

    /// The next chunk; `None` at the end of the file. After an error there are no more.
    pub async fn next(&mut self) -> Result<Option<PlacedChunk>, VaultError> {
        loop {
            if let Some(chunk) = self.next_ready() {
                return Ok(Some(chunk));
            }
            let Some(list) = self.lists.last_mut() else {
                return Ok(None);
            };
            let level = list.content.level;
            let Some(part) = list.step() else { continue };
            match self.open(level, &part).await {
                Ok(content) => self.lists.push(List::new(Cow::Owned(content), part.offset)),
                Err(error) => {
                    self.lists.clear();
                    return Err(error);
                }
            }
        }
    }

    async fn open(&self, level: u32, part: &Part) -> Result<Content, VaultError> {
        let below = level.checked_sub(1).filter(|_| self.lists.len() < MAX_OPEN_LISTS);
        let Some(below) = below else {
            let reason = "a content list is nested too deep";
            return Err(VaultError::damaged(DamageKind::Page, part.id.hex(), reason));
        };
        self.source.content(&part.id, below, part.offset, part.len).await
    }

    fn leave_finished(&mut self) {
        while self.lists.last().is_some_and(List::is_finished) {
            self.lists.pop();
        }
    }
}

impl<'a> List<'a> {
    fn new(content: Cow<'a, Content>, base: u64) -> Self {
        let mut list = Self {
            content,
            next: 0,
            hole: 0,
            position: base,
        };
        list.skip_holes();
        list
    }

    fn skip_holes(&mut self) {
        while let Some(hole) = self.content.holes.get(self.hole) {
            if hole.offset != self.position {
                break;
            }
            self.position += hole.len;
            self.hole += 1;
        }
    }

    fn is_finished(&self) -> bool {
        let ids = self.content.ids.len() / ChunkId::LEN;
        self.next >= ids.min(self.content.lens.len())
    }

    fn step(&mut self) -> Option<Part> {
        let id = self
            .content
            .ids
            .get(self.next * ChunkId::LEN..(self.next + 1) * ChunkId::LEN)?;
        let id = ChunkId::try_from(id).ok()?;
        let len = *self.content.lens.get(self.next)?;
        let offset = self.position;
        self.next += 1;
        self.position += len;
        self.skip_holes();
        Some(Part { id, offset, len })
    }
}
