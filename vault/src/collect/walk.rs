//! Marks what recovery points need. Every tree chunk is looked at once, however many points share it.
//!
//! # Cost
//! Tree chunks are looked at in batches, several at once (`Spawn`). The ids that were met lately are remembered, so
//! that what neighbouring points share is not looked up in the index again: at most `SEEN_MAX` of them, some 40 MiB.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use lockstone_proto::ids::ChunkId;

use super::marks::Marks;
use super::refs::{Refs, TreeKind, references};
use crate::damage::DamageKind;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::index::Standing;

/// At most this many ids are remembered.
const SEEN_MAX: usize = 1 << 20;
/// So many tree chunks are looked at in one piece of work.
const BATCH: usize = 16;
/// So many damaged tree chunks are named.
const DAMAGED_MAX: usize = 16;

/// What a piece of work found: for each tree chunk what it names.
pub type Looked = Vec<Result<Refs, VaultError>>;

/// How tree chunks are looked at.
pub trait Spawn: Sync {
    /// Runs the work and returns its result, as `tokio::spawn` does.
    fn spawn(&self, work: BoxFuture<'static, Looked>) -> BoxFuture<'static, Looked>;
}

/// Looks at them in the task of the collection itself.
#[derive(Debug, Clone, Copy)]
pub struct Inline;

impl Spawn for Inline {
    fn spawn(&self, work: BoxFuture<'static, Looked>) -> BoxFuture<'static, Looked> {
        work
    }
}

/// Marks what points need.
pub(super) struct Walker<'a> {
    domain: Arc<Domain>,
    spawn: &'a dyn Spawn,
    workers: usize,
    pub(super) marks: Marks,
    seen: HashSet<u128, BuildHasherDefault<Half>>,
    /// Tree chunks that could not be read. What they name is not known, so nothing may be condemned.
    pub(super) damaged: Vec<VaultError>,
    /// How many chunks are in no pack that is known.
    pub(super) lost: u64,
    /// How many chunks are in condemned packs only. That is never so, if all is right.
    pub(super) only_condemned: u64,
    /// How many tree chunks were looked at.
    pub(super) looked_at: u64,
}

impl<'a> Walker<'a> {
    pub(super) fn new(domain: &Arc<Domain>, spawn: &'a dyn Spawn, workers: usize) -> Self {
        Self {
            domain: Arc::clone(domain),
            spawn,
            workers: workers.max(1),
            marks: Marks::default(),
            seen: HashSet::default(),
            damaged: Vec::new(),
            lost: 0,
            only_condemned: 0,
            looked_at: 0,
        }
    }

    /// Whether a pack of which something is needed was condemned since it was marked, by another collection. It relies
    /// on another place of the same chunks.
    pub(super) fn is_overtaken(&self) -> bool {
        let index = self.domain.index();
        self.marks
            .needed()
            .any(|number| index.standing(number) == Standing::Condemned)
    }

    /// Forgets all marks.
    pub(super) fn begin_anew(&mut self) {
        self.marks = Marks::default();
        self.seen.clear();
        self.damaged.clear();
        (self.lost, self.only_condemned) = (0, 0);
    }

    /// Marks what is below the top page of a root folder, and that page. Stops early if it is told to.
    pub(super) async fn mark(
        &mut self,
        root: ChunkId,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), VaultError> {
        let mut stack = Vec::new();
        self.enter(Refs::to_page(root), &mut stack)?;
        while !stack.is_empty() && !cancelled() {
            let count = stack.len().min(BATCH * self.workers);
            let batch = stack.split_off(stack.len() - count);
            self.looked_at += batch.len() as u64;
            let works = batch.chunks(BATCH).map(|some| {
                let (domain, some) = (Arc::clone(&self.domain), some.to_vec());
                self.spawn.spawn(Box::pin(async move { look(&domain, &some).await }))
            });
            for looked in join_all(works.collect::<Vec<_>>()).await.into_iter().flatten() {
                match looked {
                    Ok(refs) => self.enter(refs, &mut stack)?,
                    Err(error) if error.is_damage() => {
                        if self.damaged.len() < DAMAGED_MAX {
                            self.damaged.push(error);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Marks the chunks that a tree chunk names, and puts the tree chunks among them that are new on the stack.
    fn enter(&mut self, mut refs: Refs, stack: &mut Vec<(ChunkId, TreeKind)>) -> Result<(), VaultError> {
        refs.trees.retain(|(id, _)| self.is_new(id));
        refs.data.retain(|id| self.is_new(id));
        let ids: Vec<ChunkId> = refs.trees.iter().map(|(id, _)| *id).chain(refs.data).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut trees = refs.trees.into_iter();
        for (id, place) in ids.iter().zip(self.domain.index().kept_places(&ids)?) {
            let tree = trees.next();
            let Some(place) = place else {
                self.lost += 1;
                if let Some((id, _)) = tree {
                    self.damaged.push(VaultError::UnknownChunk(id));
                }
                continue;
            };
            if self.domain.index().standing(place.pack) == Standing::Condemned {
                self.only_condemned += 1;
            }
            if !self.marks.knows(place.pack) {
                let pack = self.domain.pack(place.pack)?;
                self.marks.meet(place.pack, &pack);
            }
            let Some(is_new) = self.marks.mark(&place) else {
                let reason = "its place is not in its pack";
                return Err(VaultError::damaged(DamageKind::Chunk, id.hex(), reason));
            };
            if is_new {
                stack.extend(tree);
            }
        }
        Ok(())
    }

    /// Whether an id was not met lately.
    fn is_new(&mut self, id: &ChunkId) -> bool {
        if self.seen.len() >= SEEN_MAX {
            self.seen.clear();
        }
        let mut half = [0; 16];
        half.copy_from_slice(&id.as_bytes()[..16]);
        self.seen.insert(u128::from_le_bytes(half))
    }
}

/// Looks at tree chunks.
async fn look(domain: &Domain, trees: &[(ChunkId, TreeKind)]) -> Looked {
    let mut looked = Vec::with_capacity(trees.len());
    for (id, kind) in trees {
        looked.push(look_at(domain, id, *kind).await);
    }
    looked
}

/// What a tree chunk names.
pub(super) async fn look_at(domain: &Domain, id: &ChunkId, kind: TreeKind) -> Result<Refs, VaultError> {
    let raw = domain.read_tree_chunk(id).await?;
    references(&raw, kind).map_err(|_| VaultError::damaged(DamageKind::Page, id.hex(), "it cannot be decoded"))
}

/// Ids are hashes, so they need no hashing.
#[derive(Default)]
struct Half(u64);

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "half of a hash is one")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}
