//! The journal records what an unfinished backup has read, so that the run after an interruption need not read it
//! again. It is kept beside the index. The Cataloguer writes it as files arrive, the Enumerator asks it, and the
//! Bookkeeper clears it after the commit.
//!
//! A record has files of one folder that were read together, because few writes cost less than many. Its key is the
//! folder's path, a zero byte and the first file's name. Its value is the files' entries in the order of their names,
//! each in protobuf's delimited form. A file is looked for in the last record whose first name is not behind the file's
//! name. Records of several interrupted runs can overlap; a file that is in a hidden part of a record is read again.

use bytes::{Buf, Bytes};
use lockstone_proto::vault::Entry;
use lockstone_vault::index::{Index, IndexError};
use prost::Message;

use super::messages::FileRead;

/// Files of folders with a longer path are not recorded, so that the records of a deep tree stay small.
const PATH_MAX: usize = 64 * 1024;

/// The records of files that were read together, as pairs of key and value.
pub(super) fn records(files: &[FileRead]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fits = |file: &FileRead| file.folder.as_ref().is_some_and(|path| path.len() <= PATH_MAX);
    let settled = |file: &'_ FileRead| fits(file) && file.entry.is_some();
    let mut files: Vec<&FileRead> = files.iter().filter(|file| settled(file)).collect();
    // In the order in which the walk met them, which is the order of their names.
    files.sort_unstable_by_key(|file| file.slot);
    let runs = files.chunk_by(|a, b| a.folder == b.folder);
    runs.filter_map(|run| {
        let mut value = Vec::new();
        for entry in run.iter().filter_map(|file| file.entry.as_ref()) {
            entry.encode_length_delimited(&mut value).ok()?;
        }
        let first = run.first()?;
        Some((
            key(&first.folder.as_ref()?.to_vec(), &first.entry.as_ref()?.name),
            value,
        ))
    })
    .collect()
}

fn key(folder: &[u8], name: &[u8]) -> Vec<u8> {
    [folder, b"\0", name].concat()
}

/// What an interrupted run left. It is asked in walk order and reads each record once.
#[derive(Default)]
pub(super) struct Journal {
    folder: Vec<u8>,
    /// The entries of the record that was read last, in the order of their names.
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal. `None` if it is empty.
    pub(super) fn open(index: &Index) -> Result<Option<Self>, IndexError> {
        Ok(index.journal_load()?.then(Self::default))
    }

    /// The entry of the file of that name, if the journal has it.
    pub(super) fn find(&mut self, index: &Index, folder: &[u8], name: &[u8]) -> Result<Option<Entry>, IndexError> {
        let covers = self.folder == folder
            && self.entries.first().is_some_and(|first| *first.name <= *name)
            && self.entries.last().is_some_and(|last| *last.name >= *name);
        if !covers {
            let record = index.journal_before(&key(folder, b""), &key(folder, name))?;
            folder.clone_into(&mut self.folder);
            self.entries = record.map(|record| decode(record.into())).unwrap_or_default();
        }
        let found = self.entries.binary_search_by(|entry| (*entry.name).cmp(name));
        Ok(found.ok().and_then(|at| self.entries.get(at).cloned()))
    }
}

/// The entries of a record, up to the first one that cannot be read.
fn decode(mut record: Bytes) -> Vec<Entry> {
    let mut entries = Vec::new();
    while record.has_remaining() {
        match Entry::decode_length_delimited(&mut record) {
            Ok(entry) => entries.push(entry),
            Err(_) => break,
        }
    }
    entries
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_host::walk::FolderPath;
    use lockstone_proto::ids::{DomainId, VaultId};

    use super::*;

    fn read(slot: u64, folder: &str, name: &str, size: u64) -> FileRead {
        FileRead {
            slot,
            entry: Some(Box::new(Entry {
                name: Bytes::copy_from_slice(name.as_bytes()),
                size,
                ..Entry::default()
            })),
            folder: Some(FolderPath::whole(folder.as_bytes())),
        }
    }

    #[test]
    fn files_are_found_again_whatever_lies_between_them() {
        let cache = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(cache.path(), VaultId([1; 16]), DomainId([2; 16])).unwrap();
        assert!(Journal::open(&index).unwrap().is_none());
        let unsettled = FileRead {
            folder: None,
            ..read(3, "/a", "c", 9)
        };
        // A reader sends files in any order, and of several folders.
        let batch = [
            read(7, "/a", "x", 7),
            read(1, "/a", "b", 1),
            unsettled,
            read(5, "/a/d", "e", 5),
            read(2, "/a", "bb", 2),
        ];
        let written = records(&batch);
        let keys: Vec<&[u8]> = written.iter().map(|(key, _)| key.as_slice()).collect();
        assert_eq!(keys, [&b"/a\0b"[..], b"/a/d\0e", b"/a\0x"]);
        index.journal_add(&written).unwrap();
        // A later run had another file between those.
        index.journal_add(&records(&[read(1, "/a", "ba", 3)])).unwrap();

        let mut journal = Journal::open(&index).unwrap().unwrap();
        let mut find = |folder: &str, name: &str| {
            let found = journal.find(&index, folder.as_bytes(), name.as_bytes()).unwrap();
            found.map(|entry| entry.size)
        };
        assert_eq!(find("/a", "a"), None);
        assert_eq!(find("/a", "b"), Some(1));
        assert_eq!(find("/a", "ba"), None, "hidden by the record that is read");
        assert_eq!(find("/a", "bb"), Some(2));
        assert_eq!(find("/a", "c"), None);
        assert_eq!(find("/a/d", "e"), Some(5));
        assert_eq!(find("/a", "x"), Some(7));
        assert_eq!(find("/a", "y"), None);
        assert_eq!(find("/a/d", "e"), Some(5));
        assert_eq!(find("/", "a"), None);
        assert_eq!(find("/a/dd", "e"), None);
        index.journal_clear().unwrap();
        assert!(Journal::open(&index).unwrap().is_none());
    }

    #[test]
    fn a_record_that_is_cut_off_gives_what_is_whole() {
        let written = records(&[read(1, "/", "a", 1), read(2, "/", "b", 2)]);
        let value = Bytes::from(written[0].1.clone());
        assert_eq!(decode(value.clone()).len(), 2);
        assert_eq!(decode(value.slice(..value.len() - 1)).len(), 1);
    }
}
