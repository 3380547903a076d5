//! Packs of other servers are compared with the segments that list them, before a backup relies on them.
//!
//! A segment is sealed with the domain's key and named by a signed entry. That says who wrote it, and not that it is
//! right: bad memory in one server would cost the others what they take for stored. The directory in the pack is sealed
//! by itself. If it is another one than the segment's, then one of the two is wrong, and the pack is distrusted.
//!
//! It costs a read of the segment, and of one range for each pack, once. What this server wrote is not compared.

use futures::{StreamExt, TryStreamExt};
use lockstone_proto::ids::{PackId, SegmentId};
use lockstone_proto::limits::SEGMENT_MAX;
use lockstone_proto::vault::PackEntry;

use super::Domain;
use crate::error::VaultError;
use crate::pack::segment::decode_segment;
use crate::pack::{HEADER_LEN, LENGTH_LEN, PackSeal, known_kind};
use crate::store::names;

/// How many directories are read at the same time.
const READ_AHEAD: usize = 16;

impl Domain {
    /// Compares what segments of other servers say with their packs, if that was not done yet, and distrusts the packs
    /// that differ. Returns how many there are.
    pub async fn verify_foreign(&self) -> Result<usize, VaultError> {
        let mut count = 0;
        for segment in self.index.unverified()? {
            if let Some(wrong) = self.verify_segment(&segment).await? {
                for (pack, reason) in &wrong {
                    tracing::warn!(%pack, reason, "a pack is not what another server says of it");
                }
                count += wrong.len();
                self.index.distrust(&wrong)?;
                self.index.verified(&segment)?;
            }
        }
        Ok(count)
    }

    /// The packs that are not what the segment says. `None` if the segment can no longer be read; then they are
    /// compared another time.
    async fn verify_segment(&self, id: &SegmentId) -> Result<Option<Vec<(PackId, String)>>, VaultError> {
        let object = match self.store().get(&names::segment(self.id, id), SEGMENT_MAX).await {
            Ok(object) => object,
            Err(error) if error.is_object_fault() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Ok(segment) = decode_segment(&self.keys, *id, &object) else {
            return Ok(None);
        };
        let compared = futures::stream::iter(segment.packs).map(|entry| self.compare(entry));
        let compared = compared.buffer_unordered(READ_AHEAD);
        let wrong = compared.try_filter_map(|wrong| std::future::ready(Ok(wrong)));
        Ok(Some(wrong.try_collect().await?))
    }

    /// What is wrong with a pack, if its own directory is not the one that a segment has.
    async fn compare(&self, entry: PackEntry) -> Result<Option<(PackId, String)>, VaultError> {
        let (Ok(id), Some(kind)) = (PackId::try_from(entry.pack_id.as_ref()), known_kind(entry.kind)) else {
            return Ok(None);
        };
        if self.index.is_condemned(&id) {
            return Ok(None);
        }
        let directory = entry.directory.unwrap_or_default();
        let frames: u64 = directory.frames.iter().map(|frame| u64::from(frame.sealed_len)).sum();
        // The segment was decoded, so its lengths are possible ones.
        let (start, end) = (HEADER_LEN as u64 + frames, entry.len.saturating_sub(LENGTH_LEN as u64));
        let sealed = match self.store().get_range(&names::pack(self.id, &id), start..end).await {
            Ok(sealed) => sealed,
            Err(error) if error.is_object_fault() => return Ok(Some((id, error.to_string()))),
            Err(error) => return Err(error.into()),
        };
        Ok(
            match PackSeal::for_id(&self.keys, id, kind).open_directory(&sealed, start) {
                Ok(own) if own == directory => None,
                Ok(_) => Some((id, "its directory is not the one its segment has".to_owned())),
                Err(why) => Some((id, why.to_string())),
            },
        )
    }
}

#[cfg(test)]
mod tests;
