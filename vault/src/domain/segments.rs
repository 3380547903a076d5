//! Writing segments: the lists of new packs that log entries name.

use bytes::Bytes;
use jiff::Timestamp;
use lockstone_proto::ids::{ChunkId, PackId, SegmentId};
use lockstone_proto::limits::{SEGMENT_MAX, SEGMENT_TARGET_CHUNKS};
use lockstone_proto::vault::{PackEntry, Segment};

use super::Domain;
use crate::damage::DamageKind;
use crate::error::VaultError;
use crate::pack::segment::{decode_segment, encode_segment};
use crate::store::{StoreError, names};

/// How often a segment is written, if it is stored cut each time.
const SEGMENT_TRIES: u32 = 3;

/// How many chunks are in a pack.
#[must_use]
pub fn chunk_count(pack: &PackEntry) -> usize {
    let frames = pack.directory.iter().flat_map(|directory| &directory.frames);
    frames.map(|frame| frame.chunk_ids.len() / ChunkId::LEN).sum()
}

impl Domain {
    /// The segments that servers wrote since their last Commit, of those servers that wrote anything since that time.
    pub(crate) async fn uncommitted(&self, since: Timestamp) -> Vec<SegmentId> {
        let state = self.state.lock().await;
        let recent = state
            .summed
            .uncommitted()
            .filter(|some| some.time_s >= since.as_second());
        recent.flat_map(|some| some.segments.iter().copied()).collect()
    }

    /// The packs that a segment lists. `None` if it cannot be read.
    pub(crate) async fn packs_of_segment(&self, id: &SegmentId) -> Result<Option<Vec<PackId>>, VaultError> {
        let object = match self.store().get(&names::segment(self.id, id), SEGMENT_MAX).await {
            Ok(object) => object,
            Err(error) if error.is_object_fault() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Ok(segment) = decode_segment(&self.keys, *id, &object) else {
            return Ok(None);
        };
        let ids = segment.packs.iter();
        Ok(Some(
            ids.filter_map(|pack| PackId::try_from(pack.pack_id.as_ref()).ok())
                .collect(),
        ))
    }

    /// Writes the segments that list these packs, bounded in size. Returns their ids, and how many bytes they have.
    /// Without a log entry that names them they are nothing.
    pub async fn write_segments(&self, packs: &[PackEntry]) -> Result<(Vec<SegmentId>, u64), VaultError> {
        let (mut ids, mut bytes) = (Vec::new(), 0);
        let mut rest = packs;
        while !rest.is_empty() {
            let mut chunks = 0;
            let fit = rest.iter().take_while(|pack| {
                let before = chunks;
                chunks += chunk_count(pack);
                before == 0 || chunks <= SEGMENT_TARGET_CHUNKS
            });
            let (now, later) = rest.split_at(fit.count());
            rest = later;
            let (id, len) = self.write_segment(&Segment { packs: now.to_vec() }).await?;
            ids.push(id);
            bytes += len;
        }
        Ok((ids, bytes))
    }

    /// Writes a segment, under another id if the first one was stored cut.
    async fn write_segment(&self, segment: &Segment) -> Result<(SegmentId, u64), VaultError> {
        let mut name = String::new();
        for _ in 0..SEGMENT_TRIES {
            let (id, object) = encode_segment(&self.keys, segment)
                .map_err(|why| VaultError::damaged(DamageKind::Segment, "a new segment", why))?;
            let len = object.len() as u64;
            name = names::segment(self.id, &id);
            if self.store().create_own(&name, Bytes::from(object)).await? {
                return Ok((id, len));
            }
            tracing::warn!(segment = %id, "a segment was stored cut; it is written again under another id");
        }
        Err(VaultError::Store(StoreError::Unreachable {
            object: name,
            reason: "segments were stored cut, several times in a row".to_owned(),
        }))
    }
}
