//! The Dedup stage: which of the hashed chunks does the vault lack? It asks the index (RocksDB, batched), and then the
//! claims: chunks that this generation has already sent on its way. What is new is claimed and goes on to the Sealer;
//! what is known is dropped here, and its bytes go back to the budget.
//!
//! There is a lane for file content and one for tree pages, alike but for the kind, each with its own thread, channel
//! and budget: so tree pages never wait for room that content holds (flow rule 4).

use std::collections::HashSet;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::ChunkKind;
use parking_lot::Mutex;

use super::Context;
use super::messages::{Chunk, ChunkBatch};
use crate::flow::{Receiver, Sender, Stop, fault_point};
use crate::progress::add;

/// Chunks on their way that no checkpoint covers yet. A chunk is claimed by the first batch that brings it, and let go
/// when the index knows it: so each is sealed once. Bounded by what a checkpoint covers.
#[derive(Default)]
pub(crate) struct Claims {
    ids: Mutex<HashSet<ChunkId>>,
}

impl Claims {
    /// Claims what nobody has claimed yet.
    fn claim(&self, mut chunks: Vec<Chunk>) -> Claimed {
        let of = chunks.len() as u64;
        let of_bytes = chunks.iter().map(|chunk| chunk.range.len() as u64).sum();
        let mut claimed = self.ids.lock();
        chunks.retain(|chunk| claimed.insert(chunk.id));
        Claimed { chunks, of, of_bytes }
    }

    /// The index knows these now.
    pub(crate) fn release(&self, ids: impl Iterator<Item = ChunkId>) {
        let mut claimed = self.ids.lock();
        for id in ids {
            claimed.remove(&id);
        }
    }
}

/// What a batch's claim came to.
struct Claimed {
    /// Those that are this batch's to bring.
    chunks: Vec<Chunk>,
    /// Chunks and bytes of the whole batch.
    of: u64,
    of_bytes: u64,
}

pub(super) struct Dedup {
    pub(super) context: Context,
    pub(super) kind: ChunkKind,
    pub(super) inbox: Receiver<ChunkBatch>,
    pub(super) sealer: Sender<ChunkBatch>,
}

impl Dedup {
    pub(super) fn run(self) -> Result<(), Stop> {
        let mut ids = Vec::new();
        while let Some(batch) = self.inbox.recv()? {
            fault_point("dedup")?;
            // Claimed first, looked up second: a checkpoint writes the index first and lets its claims go second, so a
            // chunk is found in one of the two at every moment.
            let mut new = self.context.generation.claims.claim(batch.chunks);
            ids.clear();
            ids.extend(new.chunks.iter().map(|chunk| chunk.id));
            let places = self.context.job.domain.index().lookup(&ids)?;
            let known = ids
                .iter()
                .zip(&places)
                .filter(|(_, place)| place.is_some())
                .map(|(id, _)| *id);
            self.context.generation.claims.release(known);
            let mut places = places.iter();
            new.chunks.retain(|_| places.next().is_some_and(Option::is_none));
            if self.kind == ChunkKind::Data {
                self.count(&new);
            }
            if !new.chunks.is_empty() {
                self.sealer.send(ChunkBatch {
                    buffer: batch.buffer,
                    chunks: new.chunks,
                })?;
            }
        }
        self.sealer.finish();
        Ok(())
    }

    fn count(&self, claimed: &Claimed) {
        let totals = &self.context.job.progress.totals;
        let new_bytes = claimed.chunks.iter().map(|chunk| chunk.range.len() as u64).sum::<u64>();
        let new = claimed.chunks.len() as u64;
        add(&totals.chunks_new, new);
        add(&totals.chunks_known, claimed.of - new);
        add(&totals.bytes_new, new_bytes);
        add(&totals.bytes_known, claimed.of_bytes - new_bytes);
    }
}
