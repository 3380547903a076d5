//! The chunks of a file for stages, which run on plain threads: an iterator over `FileChunks` that waits for the vault.

use lockstone_proto::vault::Entry;
use lockstone_vault::domain::Domain;
use lockstone_vault::points::FileChunks;
pub(crate) use lockstone_vault::points::PlacedChunk as Placed;

use crate::engine::Engine;
use crate::flow::Fault;

/// Walks the chunks of one file.
pub(crate) struct Chunks<'a> {
    chunks: FileChunks<'a>,
    engine: &'a Engine,
}

impl<'a> Chunks<'a> {
    /// The chunks of a file's entry. The entry comes from a decoded page, so its own list is sound.
    pub(crate) fn of(entry: &'a Entry, domain: &'a Domain, engine: &'a Engine) -> Self {
        Self {
            chunks: FileChunks::of(entry, domain),
            engine,
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Placed, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        // Most files need no read of the vault, and no visit to the runtime.
        if let Some(chunk) = self.chunks.next_ready() {
            return Some(Ok(chunk));
        }
        if self.chunks.is_finished() {
            return None;
        }
        let next = self.engine.run_to_end(self.chunks.next());
        next.map_err(Fault::from).transpose()
    }
}
