//! How many bytes of content the messages of a backup bring, for the figures of the stages.

use lockstone_host::snapshot::FrozenSource;

use super::messages::{Catalogue, ChunkBatch, FrameJob, PackUploaded, ReadBatch, SealedPack};
use crate::flow::Weigh;

impl Weigh for Vec<FrozenSource> {}

impl Weigh for ReadBatch {
    fn weight(&self) -> u64 {
        self.iter().map(|task| task.stat.size).sum()
    }
}

impl Weigh for Catalogue {}

impl Weigh for ChunkBatch {
    fn weight(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.range.len() as u64).sum()
    }
}

impl Weigh for FrameJob {
    fn weight(&self) -> u64 {
        match self {
            Self::Seal(_, chunks) => chunks.iter().map(|one| one.chunk.range.len() as u64).sum(),
            Self::Flush(_) => 0,
        }
    }
}

impl Weigh for SealedPack {
    fn weight(&self) -> u64 {
        self.entry.len
    }
}

impl Weigh for PackUploaded {
    fn weight(&self) -> u64 {
        self.entry.len
    }
}
