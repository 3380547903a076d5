//! What each recovery point alone holds: the bytes that would be free if it alone were gone. For a dry run.
//!
//! Each chunk has an owner: nobody, one point, or several. The trees of the points are walked one after another. A tree
//! chunk that a second point meets is walked once more, so that everything below it has several owners. A third point
//! passes it over.

use std::collections::HashMap;
use std::sync::Arc;

use lockstone_proto::ids::{ChunkId, PointId};

use super::refs::{Refs, TreeKind};
use super::walk::look_at;
use crate::domain::Domain;
use crate::error::VaultError;

/// Several points have it.
const SEVERAL: u32 = u32::MAX;
/// So many tree chunks are looked up in the index together.
const BATCH: usize = 64;

/// The owners of the chunks of one pack.
struct Owned {
    /// How many chunks are before each frame.
    starts: Vec<u32>,
    /// For each chunk 0, the number of the point that has it, from 1 on, or `SEVERAL`.
    owners: Vec<u32>,
    /// Bytes in the vault for a byte of a chunk, as a fraction.
    stored: (u64, u64),
}

/// Counts what each point alone holds.
pub(super) struct Alone {
    domain: Arc<Domain>,
    packs: HashMap<u32, Owned>,
    points: Vec<(PointId, u64)>,
}

impl Alone {
    pub(super) fn new(domain: &Arc<Domain>) -> Self {
        Self {
            domain: Arc::clone(domain),
            packs: HashMap::new(),
            points: Vec::new(),
        }
    }

    /// What the points that were added hold alone, bytes in the vault, about.
    pub(super) fn points(self) -> Vec<(PointId, u64)> {
        self.points
    }

    /// Adds a point. What of its tree cannot be read is not counted.
    pub(super) async fn add(
        &mut self,
        point: PointId,
        root: Option<ChunkId>,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), VaultError> {
        self.points.push((point, 0));
        let number = u32::try_from(self.points.len()).unwrap_or(SEVERAL - 1);
        let mut stack: Vec<(ChunkId, TreeKind)> = Vec::new();
        if let Some(root) = root {
            self.enter(number, Refs::to_page(root), &mut stack)?;
        }
        while !stack.is_empty() && !cancelled() {
            let batch = stack.split_off(stack.len().saturating_sub(BATCH));
            let mut all = Refs::default();
            for (id, kind) in batch {
                match look_at(&self.domain, &id, kind).await {
                    Ok(refs) => {
                        all.trees.extend(refs.trees);
                        all.data.extend(refs.data);
                    }
                    Err(error) if error.is_damage() => {}
                    Err(error) => return Err(error),
                }
            }
            self.enter(number, all, &mut stack)?;
        }
        Ok(())
    }

    fn enter(&mut self, number: u32, refs: Refs, stack: &mut Vec<(ChunkId, TreeKind)>) -> Result<(), VaultError> {
        let mut kinds = refs.trees.iter().map(|(_, kind)| *kind);
        let ids: Vec<ChunkId> = refs.trees.iter().map(|(id, _)| *id).chain(refs.data).collect();
        if ids.is_empty() {
            return Ok(());
        }
        for (id, place) in ids.iter().zip(self.domain.index().best_places(&ids)?) {
            let kind = kinds.next();
            let Some(place) = place else { continue };
            if !self.packs.contains_key(&place.pack) {
                let pack = self.domain.pack(place.pack)?;
                let owned = Owned {
                    starts: pack.frames.iter().map(|frame| frame.first_chunk).collect(),
                    owners: vec![0; pack.chunks() as usize],
                    stored: (pack.len, pack.raw_len().max(1)),
                };
                self.packs.insert(place.pack, owned);
            }
            let Some(pack) = self.packs.get_mut(&place.pack) else {
                continue;
            };
            let start = pack.starts.get(place.frame as usize).copied().unwrap_or(u32::MAX);
            let at = start.saturating_add(place.ordinal) as usize;
            let Some(owner) = pack.owners.get_mut(at) else { continue };
            let stored = u64::from(place.len) * pack.stored.0 / pack.stored.1;
            let before = *owner;
            if before == number || before == SEVERAL {
                continue;
            }
            if before == 0 {
                *owner = number;
                self.points[number as usize - 1].1 += stored;
            } else {
                *owner = SEVERAL;
                let other = &mut self.points[before as usize - 1].1;
                *other = other.saturating_sub(stored);
            }
            stack.extend(kind.map(|kind| (*id, kind)));
        }
        Ok(())
    }
}
