//! Segments that need a second look. In the family `packs`: `v` segment id → nothing, for those of other servers whose
//! packs were not compared with them yet; `w` segment id → nothing, for those that a server wrote after its right had
//! ended, and whose packs are distrusted for that.

use lockstone_proto::ids::SegmentId;
use rocksdb::WriteBatch;

use super::{Index, PACKS, Result, records};

const UNVERIFIED: u8 = b'v';
const ENDED: u8 = b'w';

impl Index {
    /// Notes segments whose packs have to be compared with them. It must be noted before their packs are added.
    pub(crate) fn note_unverified(&self, segment: &SegmentId) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(PACKS)?, records::id_key(UNVERIFIED, segment.as_bytes()), []);
        self.write(batch)
    }

    /// The packs of this segment were compared with it.
    pub(crate) fn verified(&self, segment: &SegmentId) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family(PACKS)?, records::id_key(UNVERIFIED, segment.as_bytes()));
        self.write(batch)
    }

    /// The segments whose packs have to be compared with them.
    pub(crate) fn unverified(&self) -> Result<Vec<SegmentId>> {
        let mut found = Vec::new();
        self.scan(PACKS, &[UNVERIFIED], &mut |key, _| {
            found.extend(key.get(1..).and_then(|id| SegmentId::try_from(id).ok()));
            true
        })?;
        Ok(found)
    }

    /// Notes that the packs of these segments are distrusted, because the server that wrote them had no right to.
    pub(crate) fn note_ended(&self, segment: &SegmentId) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(PACKS)?, records::id_key(ENDED, segment.as_bytes()), []);
        self.write(batch)
    }

    /// Whether that was noted.
    pub(crate) fn is_ended(&self, segment: &SegmentId) -> Result<bool> {
        Ok(self.get(PACKS, &records::id_key(ENDED, segment.as_bytes()))?.is_some())
    }
}
