//! A reader of a vault's log that shares no decision with the program: it has no index and no cache, and trusts the
//! store. With it a test asks whether everything is there that has to be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt};
use lockstone_proto::ids::{ChunkId, DomainId, PackId, PointId, SegmentId};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::crypto::keys::Keys;
use crate::log::{Body, PlainEntry};
use crate::pack::segment::decode_segment;
use crate::store::names;

/// What the log says of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be restored.
    Alive,
    /// It was deleted, and can be brought back.
    Forgotten,
    /// It was deleted for ever.
    Gone,
}

/// Reads the log of a domain from memory, and goes on where it stopped.
pub struct PlainReader {
    objects: Arc<InMemory>,
    keys: Arc<Keys>,
    domain: DomainId,
    /// The last entry that was read.
    n: u64,
    points: BTreeMap<PointId, Standing>,
    /// Condemned packs, with the entry that condemned them.
    condemned: BTreeMap<PackId, u64>,
    /// The packs that have a chunk.
    places: HashMap<ChunkId, Vec<PackId>>,
}

impl PlainReader {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new(objects: Arc<InMemory>, keys: Arc<Keys>, domain: DomainId) -> Self {
        Self {
            objects,
            keys,
            domain,
            n: 0,
            points: BTreeMap::new(),
            condemned: BTreeMap::new(),
            places: HashMap::new(),
        }
    }

    /// The last entry.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.n
    }

    /// The points, and what became of them.
    #[must_use]
    pub fn points(&self) -> &BTreeMap<PointId, Standing> {
        &self.points
    }

    /// Whether the log condemned that pack.
    #[must_use]
    pub fn is_condemned(&self, pack: &PackId) -> bool {
        self.condemned.contains_key(pack)
    }

    fn get(&self, name: &str) -> Option<Bytes> {
        let read = async { self.objects.get(&Path::from(name)).await.ok()?.bytes().await.ok() };
        read.now_or_never().flatten()
    }

    /// The packs that are stored.
    #[must_use]
    pub fn packs(&self) -> HashSet<PackId> {
        let below = Path::from(format!("{}/{}/packs", names::DOMAINS, self.domain.hex()));
        let listed: Vec<_> = self
            .objects
            .list(Some(&below))
            .try_collect()
            .now_or_never()
            .unwrap()
            .unwrap();
        let ids = listed.iter().filter_map(|meta| meta.location.filename()?.parse().ok());
        ids.collect()
    }

    /// Reads on to the end of the log.
    pub fn read(&mut self) {
        while let Some(object) = self.get(&names::log_entry(self.domain, self.n + 1)) {
            self.n += 1;
            let entry = PlainEntry::read(self.domain, self.n, &object, None)
                .unwrap()
                .open(&self.keys)
                .unwrap();
            self.take(&entry.body);
        }
    }

    fn take(&mut self, body: &Body) {
        for id in body.segments() {
            self.list(id);
        }
        for pack in body.condemned() {
            self.condemned.entry(pack).or_insert(self.n);
        }
        let mut change = |points: &[PointId], from: Standing, to: Standing| {
            for id in points {
                if let Some(standing) = self.points.get_mut(id).filter(|standing| **standing == from) {
                    *standing = to;
                }
            }
        };
        match body {
            Body::Commit(summary, _) => {
                let id = PointId::try_from(summary.point_id.as_ref()).unwrap();
                self.points.entry(id).or_insert(Standing::Alive);
            }
            Body::Forget(points, _) => change(points, Standing::Alive, Standing::Forgotten),
            Body::Restore(points) => change(points, Standing::Forgotten, Standing::Alive),
            Body::Condemn(points, _) => change(points, Standing::Forgotten, Standing::Gone),
            Body::Segments(_)
            | Body::Repack(_)
            | Body::Fold(_)
            | Body::Hold(..)
            | Body::Release(_)
            | Body::Repair(..) => {}
        }
    }

    /// Every segment that the log names is there before the log names it.
    fn list(&mut self, id: SegmentId) {
        let object = self
            .get(&names::segment(self.domain, &id))
            .expect("the segment is there");
        let segment = decode_segment(&self.keys, id, &object).expect("the segment is whole");
        for pack in &segment.packs {
            let id = PackId::try_from(pack.pack_id.as_ref()).unwrap();
            let frames = pack.directory.iter().flat_map(|directory| &directory.frames);
            for chunk in frames.flat_map(|frame| frame.chunk_ids.chunks(ChunkId::LEN)) {
                self.places
                    .entry(ChunkId::try_from(chunk).unwrap())
                    .or_default()
                    .push(id);
            }
        }
    }

    /// The first chunk of these that lies in no pack that is listed, stored, and not condemned.
    #[must_use]
    pub fn lacks(&self, chunks: &[ChunkId], stored: &HashSet<PackId>) -> Option<ChunkId> {
        let is_good = |pack: &PackId| !self.condemned.contains_key(pack) && stored.contains(pack);
        let is_there = |chunk: &ChunkId| self.places.get(chunk).is_some_and(|packs| packs.iter().any(is_good));
        chunks.iter().find(|chunk| !is_there(chunk)).copied()
    }

    /// Where a chunk is, for a person: each pack that has it, whether it is stored, and the entry that condemned it.
    #[must_use]
    pub fn whereabouts(&self, chunk: &ChunkId, stored: &HashSet<PackId>) -> String {
        let packs = self.places.get(chunk).into_iter().flatten();
        let lines = packs.map(|pack| {
            let (is_stored, by) = (stored.contains(pack), self.condemned.get(pack));
            format!("pack {pack}: stored {is_stored}, condemned {by:?}")
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}
