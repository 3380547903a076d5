//! Whether a chunk that is added has a place already. The first place is put, and only a further one is merged. A
//! lookup of a merged value costs RocksDB several allocations and a call back into this program, and so does a flush or
//! a compaction of it. Nearly all chunks have one place.

use rocksdb::{ColumnFamily, DB, ReadOptions};

/// How many bits tell the chunks of a batch apart. A batch has some 20,000 chunks.
const BITS: usize = 1 << 20;

/// Tells chunks that are new to the index. It never takes a known one for new; it may take a new one for known.
pub(super) struct Fresh<'a> {
    db: &'a DB,
    family: &'a ColumnFamily,
    options: ReadOptions,
    /// What is in the batch that is not written yet, by 20 bits of each id: ids are hashes.
    batch: Vec<u64>,
}

impl<'a> Fresh<'a> {
    pub(super) fn new(db: &'a DB, family: &'a ColumnFamily) -> Self {
        Self {
            db,
            family,
            options: ReadOptions::default(),
            batch: vec![0; BITS / 64],
        }
    }

    /// Whether the chunk is certainly in neither the index nor the batch. From now on it is in the batch.
    pub(super) fn is_new(&mut self, chunk: &[u8]) -> bool {
        let [a, b, c, ..] = *chunk else { return false };
        let at = u32::from_le_bytes([a, b, c, 0]) as usize % BITS;
        let (word, bit) = (&mut self.batch[at / 64], 1 << (at % 64));
        let is_in_batch = *word & bit != 0;
        *word |= bit;
        // This asks the filters only, and reads nothing from the disk.
        !is_in_batch && !self.db.key_may_exist_cf_opt(self.family, chunk, &self.options)
    }

    /// The batch is written.
    pub(super) fn written(&mut self) {
        self.batch.fill(0);
    }
}
