//! Whether the vault still has the content of a file that is taken over without being read.

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::Entry;
use lockstone_vault::log::LogView;

use super::Enumerator;
use crate::contents::Chunks;
use crate::flow::Stop;

impl Enumerator {
    /// Whether unchanged files may need chunks that the vault no longer has, because something is known to be damaged.
    /// Otherwise everything that a parent has is there: collections keep it.
    pub(super) fn is_doubtful(&self, view: &LogView) -> bool {
        !view.damage.is_empty() || self.context.job.domain.index().has_distrusted()
    }

    /// Whether all chunks of a file are in packs that can be relied on, including the lists of a large file. A file
    /// for which this is not so is read again, which heals it.
    pub(super) fn is_stored(&self, entry: &Entry) -> Result<bool, Stop> {
        let job = &self.context.job;
        let Some(content) = &entry.content else {
            return Ok(true);
        };
        // The lists of such a file are in lists themselves, which are not looked up.
        if content.level > 1 {
            return Ok(false);
        }
        let listed = content.ids.chunks_exact(ChunkId::LEN);
        let mut ids: Vec<ChunkId> = listed.filter_map(|id| ChunkId::try_from(id).ok()).collect();
        if content.level > 0 {
            for placed in Chunks::of(entry, &job.domain, &job.engine) {
                match placed {
                    Ok(placed) => ids.push(placed.id),
                    Err(error) => {
                        error.entry()?;
                        return Ok(false);
                    }
                }
            }
        }
        let places = job.domain.index().lookup(&ids)?;
        let is_stored = places.iter().all(Option::is_some);
        if is_stored {
            self.context.generation.rely_on_places(places.iter().flatten());
        }
        Ok(is_stored)
    }
}
