//! Packs whose chunks have ids as evenly spread as real ones, for benchmarks and measurements of large indexes.

use lockstone_proto::ids::{ChunkId, PackId};
use lockstone_proto::limits::TAG_LEN;
use lockstone_proto::vault::{ChunkKind, Codec, Frame, PackDirectory, PackEntry};

/// What each pack of a large index looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Frames in a pack.
    pub frames: u64,
    /// Chunks in a frame.
    pub chunks: u64,
    /// The length of each chunk, bytes.
    pub chunk_len: u32,
    /// The length of a pack's object, bytes.
    pub pack_len: u64,
}

/// The id of chunk `number`: SplitMix64 from that number on.
#[must_use]
pub fn chunk_id(number: u64) -> ChunkId {
    let mut state = number.wrapping_add(1);
    let mut id = [0; ChunkId::LEN];
    for part in id.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    ChunkId(id)
}

impl Shape {
    /// Pack `number`: it holds the chunks from `number × frames × chunks` on.
    #[must_use]
    pub fn pack(&self, number: u64) -> PackEntry {
        let raw_len = u32::try_from(self.chunks).unwrap() * self.chunk_len;
        let frames = (0..self.frames).map(|frame| {
            let first = (number * self.frames + frame) * self.chunks;
            let ids: Vec<u8> = (first..first + self.chunks)
                .flat_map(|chunk| chunk_id(chunk).0)
                .collect();
            Frame {
                sealed_len: raw_len + u32::try_from(TAG_LEN).unwrap(),
                raw_len,
                codec: Codec::Stored.into(),
                chunk_ids: ids.into(),
                chunk_lens: vec![self.chunk_len; usize::try_from(self.chunks).unwrap()],
            }
        });
        PackEntry {
            pack_id: PackId(chunk_id(u64::MAX / 2 + number).0).0.to_vec().into(),
            kind: ChunkKind::Data.into(),
            len: self.pack_len,
            directory: Some(PackDirectory {
                frames: frames.collect(),
            }),
        }
    }
}
