//! What a collection left as it is, noted in the cache. If nothing has become free since, the next collection need not
//! look at the trees again.

use std::collections::HashSet;

use lockstone_proto::ids::PointId;

use crate::domain::Domain;
use crate::error::VaultError;

/// The key of the note.
const KEY: &[u8] = b"collected";

/// The state behind a collection that left nothing that it could have freed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// By which share packs were repacked, percent.
    pub(super) repack_below: u8,
    /// How many packs had a number.
    pub(super) packs: u32,
    /// How many packs were distrusted.
    pub(super) distrusted: u32,
    /// The points that it kept.
    pub(super) roots: HashSet<PointId>,
}

impl Rest {
    /// share u8 ‖ packs u32 ‖ distrusted u32 ‖ points, 16 bytes each.
    fn encode(&self) -> Vec<u8> {
        let mut value = vec![self.repack_below];
        value.extend_from_slice(&self.packs.to_le_bytes());
        value.extend_from_slice(&self.distrusted.to_le_bytes());
        for point in &self.roots {
            value.extend_from_slice(point.as_bytes());
        }
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (repack_below, rest) = value.split_first()?;
        let (packs, rest) = rest.split_first_chunk()?;
        let (distrusted, rest) = rest.split_first_chunk()?;
        let roots = rest.chunks(PointId::LEN).map(|id| PointId::try_from(id).ok());
        Some(Self {
            repack_below: *repack_below,
            packs: u32::from_le_bytes(*packs),
            distrusted: u32::from_le_bytes(*distrusted),
            roots: roots.collect::<Option<_>>()?,
        })
    }

    /// The note in the cache of a domain.
    pub(super) fn read(domain: &Domain) -> Result<Option<Self>, VaultError> {
        let note = domain.index().note(KEY)?;
        Ok(note.as_deref().and_then(Self::decode))
    }

    /// Writes the note.
    pub(super) fn write(&self, domain: &Domain) -> Result<(), VaultError> {
        Ok(domain.index().put_note(KEY, &self.encode())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_its_bytes() {
        let rest = Rest {
            repack_below: 95,
            packs: 70_000,
            distrusted: 3,
            roots: [PointId([1; 16]), PointId([2; 16])].into(),
        };
        assert_eq!(Rest::decode(&rest.encode()), Some(rest));
        assert_eq!((Rest::decode(&[]), Rest::decode(&[1; 12])), (None, None));
    }
}
