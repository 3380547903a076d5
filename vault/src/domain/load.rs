//! Loading the segments that the log names into the index.

use lockstone_proto::ids::SegmentId;
use lockstone_proto::limits::{FORMAT_VERSION, SEGMENT_MAX};

use super::Domain;
use super::refresh::State;
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::pack::segment::{SegmentBroken, decode_segment};
use crate::store::names;

impl Domain {
    /// Loads the segments that are not in the index yet, one at a time. Damaged ones are reported, and tried again at
    /// the next refresh.
    pub(super) async fn load_segments(&self, state: &mut State) -> Result<(), VaultError> {
        state.unreadable.clear();
        let wanted = self.index.segments_not_loaded(&state.pending)?;
        let mut left = Vec::new();
        for id in wanted {
            let is_foreign = state.foreign_segments.contains(&id);
            if let Some(damage) = self.load_segment(id, is_foreign).await? {
                if !state.repairs.is_lost_segment(&id) {
                    tracing::warn!(object = %damage.object, reason = %damage.reason, "a segment is damaged");
                }
                state.unreadable.push(damage);
                left.push(id);
            }
        }
        state.foreign_segments.retain(|id| left.contains(id));
        state.pending = left;
        self.load_ended(state).await
    }

    async fn load_segment(&self, id: SegmentId, is_foreign: bool) -> Result<Option<Damage>, VaultError> {
        let name = names::segment(self.id, &id);
        let object = match self.store().get(&name, SEGMENT_MAX).await {
            Ok(object) => object,
            Err(error) if error.is_object_fault() => return Ok(Some(Damage::new(DamageKind::Segment, name, error))),
            Err(error) => return Err(error.into()),
        };
        match decode_segment(&self.keys, id, &object) {
            Ok(segment) => {
                if is_foreign {
                    self.index.note_unverified(&id)?;
                }
                self.index.add_packs(&segment.packs, &[id])?;
                Ok(None)
            }
            Err(SegmentBroken::Version { version, .. }) => Err(VaultError::NewerFormat {
                object: name,
                found: version,
                known: FORMAT_VERSION,
            }),
            Err(why) => Ok(Some(Damage::new(DamageKind::Segment, name, why))),
        }
    }
}
