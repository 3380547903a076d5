//! The answers of the index: where a chunk is, and what a pack contains.

use lockstone_proto::ids::PackId;
use lockstone_proto::vault::{ChunkKind, Codec};

use crate::pack::FramePosition;

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkPlace {
    /// The pack's number in this index (`Index::pack`).
    pub pack: u32,
    /// The frame's ordinal in the pack.
    pub frame: u32,
    /// Which chunk of the frame it is.
    pub ordinal: u32,
    /// Where the chunk begins in the opened frame, bytes.
    pub offset: u32,
    /// Its length, bytes.
    pub len: u32,
}

/// A pack, as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackInfo {
    /// Its id.
    pub id: PackId,
    /// Whether it holds data or tree chunks.
    pub kind: ChunkKind,
    /// The length of the whole object, bytes.
    pub len: u64,
    /// Its frames, in order of their ordinals.
    pub frames: Vec<FramePlace>,
}

impl PackInfo {
    /// How many chunks are in it.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.frames.last().map_or(0, |last| last.first_chunk + last.chunks)
    }

    /// The length of its chunks, bytes.
    #[must_use]
    pub fn raw_len(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.raw_len)).sum()
    }
}

/// Where a frame is in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// Where it begins, bytes.
    pub offset: u64,
    /// Its length in the pack, bytes, tag included.
    pub sealed_len: u32,
    /// The length of its plaintext, bytes.
    pub raw_len: u32,
    /// How it is stored under the seal.
    pub codec: Codec,
    /// How many chunks are in the frames before it.
    pub first_chunk: u32,
    /// How many chunks are in it.
    pub chunks: u32,
}

impl FramePlace {
    /// What the frame was sealed with. The caller knows which frame of the pack it is.
    #[must_use]
    pub fn position(&self, ordinal: u32) -> FramePosition {
        FramePosition {
            ordinal,
            raw_len: self.raw_len,
            codec: self.codec,
        }
    }
}
