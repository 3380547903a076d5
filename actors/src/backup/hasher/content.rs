//! Content on its way into a list of chunks: where it is cut, and how the chunks are sent on.

use std::ops::Range;
use std::sync::Arc;

use lockstone_host::chunk::Chunker;
use lockstone_proto::limits::CHUNK_MAX;
use lockstone_proto::vault::ChunkKind;
use lockstone_vault::buffers::Pooled;
use lockstone_vault::tree::NewPage;
use lockstone_vault::tree::content::ContentWriter;
use rayon::prelude::*;

use super::Hasher;
use crate::backup::messages::{Buffer, Catalogue, Chunk, ChunkBatch, Held};
use crate::flow::{Permit, Stop};
use crate::progress::add;

/// A file's content list as it grows, and the pages of it that are full.
pub(super) struct Listed<'a> {
    pub(super) content: &'a mut ContentWriter,
    pub(super) lists: &'a mut Vec<NewPage>,
}

/// The chunks at the front of `bytes`. More bytes are needed to cut what is behind the last one, unless these are the
/// last.
pub(super) fn cut_all(chunker: &Chunker, bytes: &[u8], last: bool) -> Vec<Range<usize>> {
    let mut cuts = Vec::with_capacity(bytes.len() / CHUNK_MAX + 1);
    let mut at = 0;
    while at < bytes.len() {
        match chunker.cut(&bytes[at..], last) {
            Some(len) => {
                cuts.push(at..at + len);
                at += len;
            }
            None => break,
        }
    }
    cuts
}

impl Hasher {
    /// Hashes the chunks of a buffer, puts them on the file's list, and sends them on.
    pub(super) fn send_cuts(
        &self,
        buffer: Pooled,
        permit: Permit,
        cuts: Vec<Range<usize>>,
        into: &mut Listed<'_>,
    ) -> Result<(), Stop> {
        let job = &self.context.job;
        add(&job.progress.totals.bytes_read, buffer.len() as u64);
        add(&job.progress.counters.bytes_done, buffer.len() as u64);
        if cuts.is_empty() {
            return Ok(());
        }
        let (keys, bytes) = (job.domain.keys(), &*buffer);
        let chunks: Vec<Chunk> = job.engine.compute(|| {
            cuts.into_par_iter()
                .map(|range| Chunk {
                    id: keys.chunk_id(ChunkKind::Data, &bytes[range.clone()]),
                    range,
                })
                .collect()
        });
        for chunk in &chunks {
            let len = u32::try_from(chunk.range.len()).unwrap_or(u32::MAX);
            into.content.chunk(&chunk.id, len, into.lists)?;
        }
        self.dedup.send(ChunkBatch {
            buffer: Arc::new(Buffer {
                bytes: Held::Pooled(buffer),
                permit,
            }),
            chunks,
        })
    }

    pub(super) fn send_lists(&self, lists: &mut Vec<NewPage>) -> Result<(), Stop> {
        if lists.is_empty() {
            Ok(())
        } else {
            self.cataloguer.send(Catalogue::Lists(std::mem::take(lists)))
        }
    }
}
