//! The chunks of a file for stages, which run on plain threads: an iterator over `FileChunks` that waits for the vault.

use lockstone_proto::vault::Entry;
use lockstone_vault::domain::Domain;
use lockstone_vault::points::FileChunks;
pub(crate) use lockstone_vault::points::PlacedChunk as Placed;

use crate::engine::Engine;
use crate::flow::{EntryError, Fault};

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
    /// The error of the entry itself is damage, which costs this file only.
    type Item = Result<Placed, EntryError<Fault>>;

    fn next(&mut self) -> Option<Self::Item> {
        // Most files need no read of the vault, and no visit to the runtime.
        if let Some(chunk) = self.chunks.next_ready() {
            return Some(Ok(chunk));
        }
        if self.chunks.is_finished() {
            return None;
        }
        let next = match self.engine.run_unless_cancelled(self.chunks.next()) {
            Ok(next) => next.map_err(|error| EntryError::of_fault(error.into())),
            Err(stop) => Err(stop.into()),
        };
        next.transpose()
    }
}
