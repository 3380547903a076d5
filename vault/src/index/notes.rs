//! What the index keeps for a while: the journal of an unfinished backup, and the notes of a check.

use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};

use super::{BATCH_BYTES, Index, IndexError, JOURNAL, META, Result};

/// Why the journal could not be loaded.
enum Loading {
    Index(IndexError),
    File(std::io::Error),
}

impl From<std::io::Error> for Loading {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

impl Index {
    /// Appends all records to the journal, or none. Keys begin with `/`. The records can be asked for after
    /// `journal_load`.
    pub fn journal_add<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, records: &[(K, V)]) -> Result<()> {
        self.journal.append(records).map_err(|error| self.unreadable(&error))
    }

    /// Loads the journal into the database, so that it can be asked for. Says whether it has any record.
    pub fn journal_load(&self) -> Result<bool> {
        let family = self.family(JOURNAL)?;
        let mut batch = WriteBatch::default();
        let outcome = self.journal.read(&mut |key, value| {
            batch.put_cf(family, key, value);
            if batch.size_in_bytes() >= BATCH_BYTES {
                self.write(std::mem::take(&mut batch)).map_err(Loading::Index)?;
            }
            Ok(())
        });
        outcome.map_err(|error| match error {
            Loading::Index(error) => error,
            Loading::File(error) => self.unreadable(&error),
        })?;
        self.write(batch)?;
        self.journal.remove().map_err(|error| self.unreadable(&error))?;
        let mut any = false;
        self.scan(JOURNAL, b"/", &mut |_, _| {
            any = true;
            false
        })?;
        Ok(any)
    }

    /// The value of the last loaded record whose key begins with `prefix` and is not after `key`.
    pub fn journal_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(prefix);
        let mode = IteratorMode::From(key, Direction::Reverse);
        let last = self.db.iterator_cf_opt(self.family(JOURNAL)?, options, mode).next();
        let last = last.transpose().map_err(|error| self.failed(error))?;
        Ok(last.map(|(_, value)| value.into_vec()))
    }

    /// Deletes the journal.
    pub fn journal_clear(&self) -> Result<()> {
        self.journal.remove().map_err(|error| self.unreadable(&error))?;
        self.clear(JOURNAL, b"/")
    }

    /// Notes all of the records for a while, or none. No key may begin with `/`.
    pub fn scratch_put<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, records: &[(K, V)]) -> Result<()> {
        let family = self.family(JOURNAL)?;
        let mut batch = WriteBatch::default();
        for (key, value) in records {
            batch.put_cf(family, key, value);
        }
        self.write(batch)
    }

    /// What was noted under these keys, in the order asked.
    pub fn scratch_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let keys = keys.iter().map(AsRef::as_ref);
        let found = self.db.batched_multi_get_cf(self.family(JOURNAL)?, keys, false);
        let found = found
            .into_iter()
            .map(|value| value.map(|value| value.map(|value| value.to_vec())));
        found
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| self.failed(error))
    }

    /// What was noted for long under this key.
    pub(crate) fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.get(META, key)?.map(Vec::from))
    }

    /// Notes something for long. The key must not be one of those that the index uses itself.
    pub(crate) fn put_note(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META)?, key, value);
        self.write(batch)
    }

    /// Deletes the notes whose keys begin with `prefix`.
    pub fn scratch_clear(&self, prefix: &[u8]) -> Result<()> {
        self.clear(JOURNAL, prefix)
    }
}
