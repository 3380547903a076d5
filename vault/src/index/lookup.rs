//! Looking up where chunks are: the best place for writers and for readers, and the one that a collection keeps.

use std::sync::atomic::Ordering;

use lockstone_proto::ids::ChunkId;

use super::{CHUNKS, ChunkPlace, Index, Result, Standing, records};

impl Index {
    /// Where these chunks are, in the order asked: for each the newest place in a good pack. `None` for chunks that no
    /// loaded segment lists, and for those in condemned or distrusted packs only. For writers. One batched read.
    pub fn lookup(&self, ids: &[ChunkId]) -> Result<Vec<Option<ChunkPlace>>> {
        self.look_up(ids, &|value| self.best_of(value, Standing::Good))
    }

    /// The best place of each of these chunks, in the order asked, for readers: a condemned or distrusted pack, if
    /// there is no better one. `places` gives the others.
    pub fn best_places(&self, ids: &[ChunkId]) -> Result<Vec<Option<ChunkPlace>>> {
        self.look_up(ids, &|value| self.best_of(value, Standing::Condemned))
    }

    /// Every place of a chunk, in the order in which a reader tries them: the best packs first, and among equals the
    /// newest.
    pub fn places(&self, id: &ChunkId) -> Result<Vec<ChunkPlace>> {
        let Some(value) = self.get(CHUNKS, id.as_bytes())? else {
            return Ok(Vec::new());
        };
        let mut places = records::read_places(&value).ok_or_else(|| self.corrupt("a chunk's places"))?;
        places.reverse();
        places.sort_by_key(|place| self.standing(place.pack));
        Ok(places)
    }

    /// The place of each of these chunks that a collection keeps: in the best pack, and among equals in the one of the
    /// smallest id, so that all machines keep the same.
    pub(crate) fn kept_places(&self, ids: &[ChunkId]) -> Result<Vec<Option<ChunkPlace>>> {
        self.look_up(ids, &|value| {
            let damaged = || self.corrupt("a chunk's places");
            if value.len() == records::PLACE_LEN {
                return records::last_place(value).ok_or_else(damaged).map(Some);
            }
            let mut kept = None;
            for place in records::read_places(value).ok_or_else(damaged)? {
                let Some(pack) = self.pack(place.pack)? else { continue };
                let rank = (self.standing(place.pack), pack.id);
                if kept.as_ref().is_none_or(|(best, _)| rank < *best) {
                    kept = Some((rank, place));
                }
            }
            Ok(kept.map(|(_, place)| place))
        })
    }

    /// Reads the places of chunks in one batch, and chooses one of each.
    fn look_up(
        &self,
        ids: &[ChunkId],
        choose: &dyn Fn(&[u8]) -> Result<Option<ChunkPlace>>,
    ) -> Result<Vec<Option<ChunkPlace>>> {
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_unstable_by_key(|at| &ids[*at as usize]);
        let keys = order.iter().map(|at| ids[*at as usize].as_bytes().as_slice());
        let found = self.db.batched_multi_get_cf(self.family(CHUNKS)?, keys, true);
        let mut places = vec![None; ids.len()];
        for (at, value) in order.iter().zip(found) {
            if let Some(value) = value.map_err(|error| self.failed(error))? {
                places[*at as usize] = choose(&value)?;
            }
        }
        let hits = places.iter().flatten().count() as u64;
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.misses.fetch_add(places.len() as u64 - hits, Ordering::Relaxed);
        Ok(places)
    }

    /// The best of a chunk's places, if its pack is not worse than `worst`.
    fn best_of(&self, value: &[u8], worst: Standing) -> Result<Option<ChunkPlace>> {
        let damaged = || self.corrupt("a chunk's places");
        if self.bad.is_empty() {
            return records::last_place(value).ok_or_else(damaged).map(Some);
        }
        let places = records::read_places(value).ok_or_else(damaged)?;
        let best = places.into_iter().rev().min_by_key(|place| self.standing(place.pack));
        Ok(best.filter(|place| self.standing(place.pack) <= worst))
    }
}
