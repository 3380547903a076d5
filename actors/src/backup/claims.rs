//! Which chunks this generation has already sent on their way.

use std::collections::HashSet;

use lockstone_proto::ids::ChunkId;
use parking_lot::Mutex;

use super::messages::Chunk;

/// The ids of chunks that are on their way and in no checkpoint yet. The first batch that brings a chunk claims it, and
/// the claim is released when the index knows the chunk. So each chunk is sealed once. A checkpoint bounds how many
/// there are.
#[derive(Default)]
pub(crate) struct Claims {
    ids: Mutex<HashSet<ChunkId>>,
}

impl Claims {
    /// Claims those of the chunks that are not claimed yet.
    pub(super) fn claim(&self, mut chunks: Vec<Chunk>) -> Claimed {
        let batch_chunks = chunks.len() as u64;
        let batch_bytes = chunks.iter().map(|chunk| chunk.range.len() as u64).sum();
        let mut claimed = self.ids.lock();
        chunks.retain(|chunk| claimed.insert(chunk.id));
        Claimed {
            chunks,
            batch_chunks,
            batch_bytes,
        }
    }

    /// Releases chunks that the index knows now.
    pub(crate) fn release(&self, ids: impl Iterator<Item = ChunkId>) {
        let mut claimed = self.ids.lock();
        for id in ids {
            claimed.remove(&id);
        }
    }
}

/// What a batch could claim.
pub(super) struct Claimed {
    /// The chunks that no other batch had claimed.
    pub(super) chunks: Vec<Chunk>,
    /// How many chunks the whole batch had.
    pub(super) batch_chunks: u64,
    /// How many bytes the whole batch had.
    pub(super) batch_bytes: u64,
}
