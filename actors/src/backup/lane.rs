//! The two lanes of a backup: file content, and tree pages. Each has its own threads, channels and budget from Dedup to
//! the Sealer, so that tree pages never wait for room that content holds.

use std::ops::Index;

use lockstone_proto::vault::ChunkKind;

/// One of something for each lane, indexed by the kind of chunk.
#[derive(Debug, Default)]
pub(super) struct PerLane<T> {
    pub(super) data: T,
    pub(super) tree: T,
}

impl<T> Index<ChunkKind> for PerLane<T> {
    type Output = T;

    fn index(&self, kind: ChunkKind) -> &T {
        match kind {
            ChunkKind::Data => &self.data,
            ChunkKind::Tree | ChunkKind::Unspecified => &self.tree,
        }
    }
}
