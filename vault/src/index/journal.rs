//! The journal's file: the files that an unfinished backup has read. It is needed only after an interruption, so
//! records are appended to a plain file, which costs one copy. In the database they would cost a write-ahead log, a
//! sorted buffer and a table as well. The run after an interruption moves them into the database first
//! (`Index::journal_load`).
//!
//! A record is `length | check | key length | key | value`: the number of bytes after the check (u32), the first 8
//! bytes of their BLAKE3 hash, and the length of the key (u16). Numbers are little-endian. The first record that is not
//! whole ends the journal: it was being written when the machine went down.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) const NAME: &str = "index.journal";
/// How many bytes of a record come before the checked part.
const HEAD: usize = 4 + CHECK;
const CHECK: usize = 8;
/// The longest record. A longer one is not written, and is not valid when read.
const RECORD_MAX: usize = 64 << 20;

/// The journal's file. It is opened at the first write.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// How many bytes of whole records the file has.
    len: u64,
}

impl JournalFile {
    pub(super) fn of(cache: &Path) -> Self {
        Self {
            path: cache.join(NAME),
            open: Mutex::new(None),
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // The file and its length always change together, so the state is whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends all of the records, or none.
    pub(super) fn append<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, records: &[(K, V)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let (key, value) = (key.as_ref(), value.as_ref());
            let len = 2 + key.len() + value.len();
            let Ok(key_len) = u16::try_from(key.len()) else {
                continue;
            };
            if len > RECORD_MAX {
                continue;
            }
            let start = bytes.len();
            bytes.extend_from_slice(&(len as u32).to_le_bytes());
            bytes.extend_from_slice(&[0; CHECK]);
            bytes.extend_from_slice(&key_len.to_le_bytes());
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value);
            let check = check(&bytes[start + HEAD..]);
            bytes[start + 4..start + HEAD].copy_from_slice(&check);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let mut open = self.open();
        let open = match &mut *open {
            Some(open) => open,
            none => {
                let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
                let len = file.metadata()?.len();
                none.insert(Open { file, len })
            }
        };
        if let Err(error) = open.file.write_all(&bytes) {
            // A partial record would hide the records after it.
            let _ = open.file.set_len(open.len);
            return Err(error);
        }
        open.len += bytes.len() as u64;
        Ok(())
    }

    /// Calls `each` with the records in the order of writing, until it returns an error.
    pub(super) fn read<E, F>(&self, each: &mut F) -> Result<(), E>
    where
        E: From<io::Error>,
        F: FnMut(&[u8], &[u8]) -> Result<(), E>,
    {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut left = file.metadata()?.len();
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let (mut head, mut record) = ([0; HEAD], Vec::new());
        while left >= HEAD as u64 {
            file.read_exact(&mut head)?;
            left -= HEAD as u64;
            let len = head.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
            if len as usize > RECORD_MAX || u64::from(len) > left {
                break;
            }
            record.resize(len as usize, 0);
            file.read_exact(&mut record)?;
            left -= u64::from(len);
            if head[4..] != check(&record) {
                break;
            }
            let Some((key_len, rest)) = record.split_first_chunk() else {
                break;
            };
            let Some((key, value)) = rest.split_at_checked(u16::from_le_bytes(*key_len).into()) else {
                break;
            };
            each(key, value)?;
        }
        Ok(())
    }

    /// Deletes all records.
    pub(super) fn remove(&self) -> io::Result<()> {
        *self.open() = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let hash = blake3::hash(bytes);
    std::array::from_fn(|n| hash.as_bytes()[n])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn all(journal: &JournalFile) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let each = &mut |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            Ok::<_, io::Error>(())
        };
        journal.read(each).unwrap();
        found
    }

    #[test]
    fn records_come_back_and_what_is_not_whole_ends_them() {
        let cache = tempfile::tempdir().unwrap();
        let journal = JournalFile::of(cache.path());
        assert!(all(&journal).is_empty());
        journal.remove().unwrap();
        journal.append(&[("/a", "one"), ("/b", "")]).unwrap();
        journal.append::<&str, &str>(&[]).unwrap();
        drop(journal);
        let journal = JournalFile::of(cache.path());
        journal.append(&[("/c", "three")]).unwrap();
        let written = [("/a", "one"), ("/b", ""), ("/c", "three")];
        let written: Vec<_> = written
            .iter()
            .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
            .collect();
        assert_eq!(all(&journal), written);

        let whole = fs::read(&journal.path).unwrap();
        for len in 0..whole.len() {
            fs::write(&journal.path, &whole[..len]).unwrap();
            let found = all(&journal);
            assert!(found.len() < 3 && found[..] == written[..found.len()], "cut at {len}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            fs::write(&journal.path, changed).unwrap();
            let found = all(&journal);
            assert!(
                found.len() < 3 && found[..] == written[..found.len()],
                "changed at {at}"
            );
        }
        journal.remove().unwrap();
        assert!(all(&journal).is_empty());
    }
}
