//! Content lists: the chunks of a file, and its holes. The Cataloguer fills one `ContentWriter` for each file. Restore
//! and `check` read lists with `decode_content`.
//!
//! If a file has one list, the list is in its `Entry`. A list is full when it has `CONTENT_MAX_IDS` chunks or holes. It
//! is also full after a chunk whose id begins with ten zero bits (the low ten of the first two bytes as little-endian
//! u16), once it has 1,024 chunks. So a change in the middle of a large file leaves most later lists as they were. When
//! something follows a full list, the list becomes a tree chunk, and its id goes into a list of the next level, which
//! fills by the same rule.
//!
//! Promise: a writer holds one list for each level, however large the file is. A list that decodes covers exactly the
//! part of the file that it should cover, without overlaps.

use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::{CHUNK_MAX, CONTENT_MAX_IDS, LEVEL_MAX, PAGE_MAX};
use lockstone_proto::vault::{ChunkKind, Content, Hole};
use prost::Message;

use super::NewPage;
use super::error::TreeError;
use crate::bounds::has_more_than;
use crate::canonical;
use crate::crypto::keys::Keys;

/// A list with fewer ids is never full.
const LIST_MIN_IDS: usize = 1024;
/// On average every 1,024th id ends a list.
const LIST_END_MASK: u16 = 0x3ff;

/// Collects a file's chunks and holes in file order.
pub struct ContentWriter {
    keys: Arc<Keys>,
    // Level 0 has its own field, because nearly every file has only that level.
    chunks: List,
    upper: Vec<List>,
    position: u64,
}

#[derive(Default)]
struct List {
    ids: Vec<u8>,
    lens: Vec<u64>,
    holes: Vec<Hole>,
    /// Bytes of the file it covers.
    covers: u64,
    full: bool,
}

impl List {
    fn push(&mut self, id: &ChunkId, len: u64) {
        self.ids.extend_from_slice(id.as_bytes());
        self.lens.push(len);
        self.covers += len;
        let [first, second, ..] = *id.as_bytes();
        let ends = u16::from_le_bytes([first, second]) & LIST_END_MASK == 0;
        self.full = self.lens.len() == CONTENT_MAX_IDS || (self.lens.len() >= LIST_MIN_IDS && ends);
    }

    fn take(&mut self, level: usize) -> (Content, u64) {
        let list = std::mem::take(self);
        let content = Content {
            level: level as u32,
            ids: list.ids.into(),
            lens: list.lens,
            holes: list.holes,
        };
        (content, list.covers)
    }
}

impl ContentWriter {
    /// A writer for one file.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            chunks: List::default(),
            upper: Vec::new(),
            position: 0,
        }
    }

    /// How many bytes of the file are covered. The next chunk or hole begins there.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Adds the next chunk. Completed lists are added to `out`.
    pub fn chunk(&mut self, id: &ChunkId, len: u32, out: &mut Vec<NewPage>) -> Result<(), TreeError> {
        if len == 0 || len as usize > CHUNK_MAX {
            return Err(TreeError::Content("has a chunk of an impossible length"));
        }
        self.advance(u64::from(len), out)?;
        self.chunks.push(id, u64::from(len));
        Ok(())
    }

    /// Adds a hole of `len` bytes at `offset`, which must equal `position`. Completed lists are added to `out`.
    pub fn hole(&mut self, offset: u64, len: u64, out: &mut Vec<NewPage>) -> Result<(), TreeError> {
        if len == 0 || offset != self.position {
            return Err(TreeError::Content("has a hole of no length, or out of order"));
        }
        self.advance(len, out)?;
        let list = &mut self.chunks;
        list.covers += len;
        match list.holes.last_mut() {
            Some(last) if last.offset + last.len == offset => last.len += len,
            _ => list.holes.push(Hole { offset, len }),
        }
        list.full |= list.holes.len() == CONTENT_MAX_IDS;
        Ok(())
    }

    /// Ends the file. Returns the list for its `Entry`; `None` for an empty file. The last lists below it are added to
    /// `out`.
    pub fn finish(mut self, out: &mut Vec<NewPage>) -> Result<Option<Content>, TreeError> {
        if self.position == 0 {
            return Ok(None);
        }
        // Each level below the topmost goes into the one above it. The topmost stays in the entry.
        let mut level = 0;
        while level < self.upper.len() {
            self.spill(level, out)?;
            level += 1;
        }
        Ok(Some(self.list(level).take(level).0))
    }

    fn advance(&mut self, len: u64, out: &mut Vec<NewPage>) -> Result<(), TreeError> {
        self.position = self
            .position
            .checked_add(len)
            .ok_or(TreeError::Content("covers more than a file can have"))?;
        if self.chunks.full { self.spill(0, out) } else { Ok(()) }
    }

    /// Makes the list of that level a tree chunk and adds its id one level up.
    fn spill(&mut self, level: usize, out: &mut Vec<NewPage>) -> Result<(), TreeError> {
        let (content, covers) = self.list(level).take(level);
        let raw = Bytes::from(content.encode_to_vec());
        let id = self.keys.chunk_id(ChunkKind::Tree, &raw);
        out.push(NewPage { id, raw });
        if self.upper.len() == level {
            if level as u32 == LEVEL_MAX {
                return Err(TreeError::Content("has too many levels"));
            }
            self.upper.push(List::default());
        } else if self.upper[level].full {
            self.spill(level + 1, out)?;
        }
        self.upper[level].push(&id, covers);
        Ok(())
    }

    fn list(&mut self, level: usize) -> &mut List {
        match level.checked_sub(1) {
            None => &mut self.chunks,
            Some(above) => &mut self.upper[above],
        }
    }
}

/// Decodes the content list in a tree chunk. It must be of `level` and cover `len` bytes of the file from `base` on, as
/// the list above it says. Refuses everything else.
pub fn decode_content(raw: Bytes, level: u32, base: u64, len: u64) -> Result<Content, TreeError> {
    if raw.len() > PAGE_MAX {
        return Err(TreeError::TooLong(raw.len()));
    }
    if has_more_than(&raw, 4, CONTENT_MAX_IDS)? {
        return Err(TreeError::Content("has too many holes"));
    }
    let content = canonical::decode::<Content>(raw)?;
    if content.level != level || check_content(&content, base)? != len {
        return Err(TreeError::Content(
            "is of another level or length than the list above it says",
        ));
    }
    Ok(content)
}

/// Checks that a list that begins at `base` in the file keeps the rules. Returns how many bytes it covers.
pub(crate) fn check_content(content: &Content, base: u64) -> Result<u64, TreeError> {
    let (lens, holes) = (&content.lens, &content.holes);
    if content.level > LEVEL_MAX || lens.len() > CONTENT_MAX_IDS || holes.len() > CONTENT_MAX_IDS {
        return Err(TreeError::Content("has too many levels, ids or holes"));
    }
    if content.ids.len() != lens.len() * ChunkId::LEN {
        return Err(TreeError::Content("has ids and lengths that do not pair up"));
    }
    if lens.is_empty() && holes.is_empty() || content.level > 0 && !holes.is_empty() {
        return Err(TreeError::Content("covers nothing, or has holes above level 0"));
    }
    let longest = if content.level == 0 { CHUNK_MAX as u64 } else { u64::MAX };
    let (mut position, mut next) = (base, holes.iter().peekable());
    let forward = |position: u64, len: u64| {
        position
            .checked_add(len)
            .filter(|_| len > 0)
            .ok_or(TreeError::Content("has a part of an impossible length"))
    };
    for len in lens {
        while let Some(hole) = next.next_if(|hole| hole.offset == position) {
            position = forward(position, hole.len)?;
        }
        if *len > longest {
            return Err(TreeError::Content("has a chunk of an impossible length"));
        }
        position = forward(position, *len)?;
    }
    while let Some(hole) = next.next_if(|hole| hole.offset == position) {
        position = forward(position, hole.len)?;
    }
    // Every hole begins where a chunk ends, or was not met above.
    if next.peek().is_some() {
        Err(TreeError::Content("has a hole out of place"))
    } else {
        Ok(position - base)
    }
}

#[cfg(test)]
mod tests;
