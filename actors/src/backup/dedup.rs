//! The Dedup stage finds the chunks that the vault lacks. It asks the claims, which know the chunks that this
//! generation has already sent on their way, and then the index (RocksDB, in batches). New chunks are claimed and go on
//! to the Sealer. Known chunks are dropped here, and their bytes go back to the budget.
//!
//! There are two lanes, one for file content and one for tree pages. They differ only in the kind of chunk. Each has
//! its own thread, channel and budget, so that tree pages never wait for room that content holds
//! (`docs/ARCHITECTURE.md`, "Flow rules").

use lockstone_proto::vault::ChunkKind;

use super::claims::Claimed;
use super::job::BackupContext;
use super::messages::ChunkBatch;
use crate::flow::{Body, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

pub(super) struct Dedup {
    context: BackupContext,
    kind: ChunkKind,
    inbox: Receiver<ChunkBatch>,
    assembler: Sender<ChunkBatch>,
}

impl Body for Dedup {
    fn run(self) -> Result<(), Stop> {
        let mut ids = Vec::new();
        while let Some(batch) = self.inbox.recv()? {
            fault_point("dedup")?;
            // First the claims, then the index. A checkpoint does it the other way round: it writes the index and then
            // releases its claims. So at every moment a chunk is found in at least one of the two.
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
            self.context.generation.rely_on_places(places.iter().flatten());
            let mut places = places.iter();
            new.chunks.retain(|_| places.next().is_some_and(Option::is_none));
            if self.kind == ChunkKind::Data {
                self.count(&new);
            }
            if !new.chunks.is_empty() {
                self.assembler.send(ChunkBatch {
                    buffer: batch.buffer,
                    chunks: new.chunks,
                })?;
            }
        }
        self.assembler.finish();
        Ok(())
    }
}

impl Dedup {
    pub(super) fn new(
        context: &BackupContext,
        kind: ChunkKind,
        inbox: Receiver<ChunkBatch>,
        assembler: Sender<ChunkBatch>,
    ) -> Self {
        Self {
            context: context.clone(),
            kind,
            inbox,
            assembler,
        }
    }

    fn count(&self, claimed: &Claimed) {
        let totals = &self.context.job.progress.totals;
        let new_bytes = claimed.chunks.iter().map(|chunk| chunk.range.len() as u64).sum::<u64>();
        let new = claimed.chunks.len() as u64;
        add(&totals.chunks_new, new);
        add(&totals.chunks_known, claimed.batch_chunks - new);
        add(&totals.bytes_new, new_bytes);
        add(&totals.bytes_known, claimed.batch_bytes - new_bytes);
    }
}
