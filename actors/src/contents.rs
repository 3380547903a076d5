//! A file's content, read back from its entry: which bytes of the file are which chunk, and where its holes are, in file
//! order, nested lists opened as they are reached. The Planner, in-place comparison and `--verify` all read it here.

use std::borrow::Cow;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Content, Entry};
use lockstone_vault::domain::Domain;
use lockstone_vault::points::PageSource;

use crate::engine::Engine;
use crate::flow::Fault;

/// A chunk's place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) id: ChunkId,
    /// In the file, bytes.
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

/// Walks the chunks of one file.
pub(crate) struct Chunks<'a> {
    domain: &'a Domain,
    engine: &'a Engine,
    /// Lists being read, the innermost last.
    lists: Vec<List<'a>>,
    /// Nested lists opened on the way; a budget against hostile ones.
    depth_left: u32,
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

impl<'a> Chunks<'a> {
    /// The chunks of a file's entry. The entry comes from a decoded page, so its own list is sound.
    pub(crate) fn of(entry: &'a Entry, domain: &'a Domain, engine: &'a Engine) -> Self {
        let lists = entry
            .content
            .iter()
            .map(|content| List::new(Cow::Borrowed(content), 0))
            .collect();
        Self {
            domain,
            engine,
            lists,
            depth_left: 64,
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

    fn step(&mut self) -> Option<(ChunkId, u64, u64)> {
        let id = self
            .content
            .ids
            .get(self.next * ChunkId::LEN..(self.next + 1) * ChunkId::LEN)?;
        let id = ChunkId::try_from(id).ok()?;
        let len = *self.content.lens.get(self.next)?;
        let at = self.position;
        self.next += 1;
        self.position += len;
        self.skip_holes();
        Some((id, at, len))
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Placed, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let list = self.lists.last_mut()?;
            let level = list.content.level;
            let Some((id, offset, len)) = list.step() else {
                self.lists.pop();
                self.depth_left += 1;
                continue;
            };
            if level == 0 {
                return Some(Ok(Placed {
                    id,
                    offset,
                    len: u32::try_from(len).unwrap_or(u32::MAX),
                }));
            }
            if self.depth_left == 0 {
                self.lists.clear();
                return Some(Err(Fault::integrity("a content list is nested too deep")));
            }
            self.depth_left -= 1;
            let opened = self.engine.run_to_end(self.domain.content(&id, level - 1, offset, len));
            match opened {
                Ok(content) => self.lists.push(List::new(Cow::Owned(content), offset)),
                Err(error) => {
                    self.lists.clear();
                    return Some(Err(error.into()));
                }
            }
        }
    }
}
