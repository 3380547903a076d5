//! The index: a RocksDB in the cache folder. It says where chunks are, and keeps what would be slow to fetch again: log
//! entries, tree pages, and the journal of an unfinished backup. `Domain` opens it; Dedup, the Cataloguer and restore
//! ask it.
//!
//! # Consistency The index is a cache of one vault, one domain and one generation of its own layout. If any of these
//! differs, or the database is corrupted, it is dropped and rebuilt from the vault, and the reason is reported. The
//! log decides what exists: chunks are added only from segments that a log entry names, or from packs whose log entry
//! was just written.
//!
//! # Cost
//! Memory stays below 48 MiB: 16 MiB of block cache with index and filter blocks, 16 MiB of write buffers, and 256 open
//! files. There are two background threads. Every call blocks for as long as a disk read takes.
//!
//! # Layout
//! Column families: `chunks` (chunk id → its places, the newest last), `packs` (`n` number → pack, `i` id → number, `f`
//! number, frame → the chunks of a frame of a tree pack, `c` and `d` id → packs not to rely on, see `bad_packs`, `v`
//! and `w` segment → see `unverified`, `r` id → when it was read, see `read_times`), `pages`, `log`, `journal` (the
//! loaded journal, and the notes of a check), `meta`.

mod bad_packs;
mod error;
mod fresh;
mod journal;
mod lookup;
mod notes;
mod open;
mod pack_cache;
mod places;
mod read_times;
mod records;
mod unverified;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PackId, SegmentId};
use lockstone_proto::vault::{ChunkKind, PackEntry};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

use self::bad_packs::BadPacks;
use self::fresh::Fresh;
use self::journal::JournalFile;
use self::pack_cache::PackCache;
use crate::tree::NewPage;

pub use bad_packs::{BY_ENDED_SERVER, Condemned, NOT_NEEDED, Standing};
pub use error::IndexError;
pub use open::{OWN, Opened, destroy};
pub use places::{ChunkPlace, FramePlace, PackInfo};
pub use read_times::Reading;

const CHUNKS: &str = "chunks";
const PACKS: &str = "packs";
const PAGES: &str = "pages";
const LOG: &str = "log";
const JOURNAL: &str = "journal";
const META: &str = "meta";
const FAMILIES: [&str; 6] = [CHUNKS, PACKS, PAGES, LOG, JOURNAL, META];

/// The generation of the layout. Raise it when the layout changes: caches of other generations are dropped.
const GENERATION: u32 = 3;
const NEXT_PACK: &[u8] = b"next pack";
const CHUNK_COUNT: &[u8] = b"chunks";
const SEGMENT: u8 = b's';
/// A batch is written when it has this many bytes, but only between packs.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// A tree chunk from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPage {
    /// Its plaintext.
    pub raw: Bytes,
    /// Whether this machine has encoded it. Then its encoding need not be checked.
    pub is_own: bool,
}

/// The key of a tree chunk that this machine has encoded. Others have their id alone.
fn own_page_key(id: &ChunkId) -> [u8; ChunkId::LEN + 1] {
    let mut key = [b'w'; ChunkId::LEN + 1];
    key[..ChunkId::LEN].copy_from_slice(id.as_bytes());
    key
}

/// The index of one domain. Shared by many threads.
pub struct Index {
    // The order matters: the database must be closed before its files are noted.
    db: DB,
    _closing: open::Closing,
    folder: PathBuf,
    journal: JournalFile,
    /// The number of the next new pack. The lock also prevents two writers from numbering one pack twice.
    next_pack: Mutex<u32>,
    /// How many places of chunks were added. (RocksDB's own estimate would have to open every table first.)
    chunks: AtomicU64,
    packs: Mutex<PackCache>,
    bad: BadPacks,
    /// How many chunks were looked up and found, and how many were not found.
    hits: AtomicU64,
    misses: AtomicU64,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

type Result<T> = std::result::Result<T, IndexError>;

impl Index {
    /// The cache folder of the index.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many chunks were looked up since it was opened: found, and not found.
    #[must_use]
    pub fn lookups(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The size of the index: chunks (a chunk in two packs counts twice), and bytes on disk.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let families = FAMILIES.iter().filter_map(|family| self.db.cf_handle(family));
        let tables = families.filter_map(|family| {
            let size = self.db.property_int_value_cf(family, "rocksdb.total-sst-files-size");
            size.ok().flatten()
        });
        (self.chunks.load(Ordering::Relaxed), tables.sum())
    }

    /// The pack of that number.
    pub fn pack(&self, number: u32) -> Result<Option<Arc<PackInfo>>> {
        if let Some(pack) = self.kept().get(number) {
            return Ok(Some(pack));
        }
        let Some(value) = self.get(PACKS, &records::key(b'n', number))? else {
            return Ok(None);
        };
        let pack = Arc::new(records::read_pack(&value).ok_or_else(|| self.corrupt("a pack"))?);
        self.kept().put(number, Arc::clone(&pack));
        Ok(Some(pack))
    }

    /// How many packs got a number: the next one gets this.
    pub(crate) fn packs_numbered(&self) -> u32 {
        *self.next_pack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the pack of that id.
    pub fn pack_number(&self, id: &PackId) -> Result<Option<u32>> {
        let Some(value) = self.get(PACKS, &records::id_key(b'i', id.as_bytes()))? else {
            return Ok(None);
        };
        let number = value
            .as_ref()
            .try_into()
            .map(u32::from_le_bytes)
            .map_err(|_| self.corrupt("a pack's number"))?;
        Ok(Some(number))
    }

    /// Calls `each` with the packs whose id begins with that byte, in order of their ids, until it returns `false`.
    pub fn packs_beginning(&self, first: u8, each: &mut dyn FnMut(PackId, u32) -> bool) -> Result<()> {
        self.scan(PACKS, &[b'i', first], &mut |key, value| {
            let id = key.get(1..).and_then(|id| PackId::try_from(id).ok());
            match (id, value.try_into()) {
                (Some(id), Ok(number)) => each(id, u32::from_le_bytes(number)),
                _ => true,
            }
        })
    }

    /// The chunks of a frame of a tree pack, in order, with their lengths.
    pub(crate) fn frame_members(&self, pack: u32, frame: u32) -> Result<Vec<(ChunkId, u32)>> {
        let Some(value) = self.get(PACKS, &records::member_key(pack, frame))? else {
            return Ok(Vec::new());
        };
        records::read_members(&value).ok_or_else(|| self.corrupt("a frame's chunks"))
    }

    /// Adds packs and their chunks, and notes that these segments are loaded. Each pack is added whole or not at all.
    /// The segments are noted last, so that they are loaded again after a crash. Known packs are skipped. The entries
    /// must come from `decode_segment` or from this process.
    pub fn add_packs(&self, packs: &[PackEntry], segments: &[SegmentId]) -> Result<()> {
        let mut next = self.next_pack.lock().unwrap_or_else(PoisonError::into_inner);
        let (chunk_family, pack_family, meta) = (self.family(CHUNKS)?, self.family(PACKS)?, self.family(META)?);
        let mut batch = WriteBatch::default();
        let mut number = *next;
        let mut chunks = self.chunks.load(Ordering::Relaxed);
        let mut unwritten = std::collections::HashSet::new();
        let mut fresh = Fresh::new(&self.db, chunk_family);
        for pack in packs {
            let id = PackId::try_from(pack.pack_id.as_ref()).map_err(|_| self.corrupt("a new pack's id"))?;
            if self.pack_number(&id)?.is_some() || !unwritten.insert(id) {
                continue;
            }
            let frames = pack.directory.as_ref().map_or(&[][..], |directory| &directory.frames);
            let value = records::pack(&id, pack.kind(), pack.len, frames);
            batch.put_cf(pack_family, records::key(b'n', number), value);
            batch.put_cf(pack_family, records::id_key(b'i', id.as_bytes()), number.to_le_bytes());
            for (chunk, place) in records::places(number, frames) {
                let place = records::place(place);
                if fresh.is_new(chunk) {
                    batch.put_cf(chunk_family, chunk, place);
                } else {
                    batch.merge_cf(chunk_family, chunk, place);
                }
                chunks += 1;
            }
            if pack.kind() == ChunkKind::Tree {
                for (ordinal, frame) in frames.iter().enumerate() {
                    let key = records::member_key(number, ordinal as u32);
                    batch.put_cf(pack_family, key, records::members(frame));
                }
            }
            self.bad.added(id, number);
            number = number
                .checked_add(1)
                .ok_or_else(|| self.corrupt("more packs than can be numbered"))?;
            batch.put_cf(meta, NEXT_PACK, number.to_le_bytes());
            batch.put_cf(meta, CHUNK_COUNT, chunks.to_le_bytes());
            if batch.size_in_bytes() >= BATCH_BYTES {
                self.write(std::mem::take(&mut batch))?;
                *next = number;
                unwritten.clear();
                fresh.written();
            }
        }
        for segment in segments {
            batch.put_cf(meta, records::id_key(SEGMENT, segment.as_bytes()), b"");
        }
        self.write(batch)?;
        *next = number;
        self.chunks.store(chunks, Ordering::Relaxed);
        Ok(())
    }

    /// The segments among these that were not loaded yet, in the order given.
    pub fn segments_not_loaded(&self, segments: &[SegmentId]) -> Result<Vec<SegmentId>> {
        let keys: Vec<Vec<u8>> = segments
            .iter()
            .map(|id| records::id_key(SEGMENT, id.as_bytes()))
            .collect();
        let found = self.db.batched_multi_get_cf(self.family(META)?, &keys, false);
        let mut missing = Vec::new();
        for (segment, value) in segments.iter().zip(found) {
            if value.map_err(|error| self.failed(error))?.is_none() {
                missing.push(*segment);
            }
        }
        Ok(missing)
    }

    /// A tree chunk, if it was kept.
    pub fn page(&self, id: &ChunkId) -> Result<Option<KeptPage>> {
        if let Some(raw) = self.get_page(&own_page_key(id))? {
            return Ok(Some(KeptPage { raw, is_own: true }));
        }
        let fetched = self.get_page(id.as_bytes())?;
        Ok(fetched.map(|raw| KeptPage { raw, is_own: false }))
    }

    /// Keeps tree chunks that this process has encoded. They may be gone after a crash.
    pub fn put_pages(&self, pages: &[NewPage]) -> Result<()> {
        self.keep_pages(pages.iter().map(|page| (own_page_key(&page.id), &page.raw)))
    }

    /// Keeps tree chunks that came from the store. They may be gone after a crash.
    pub(crate) fn put_fetched_pages(&self, pages: &[NewPage]) -> Result<()> {
        self.keep_pages(pages.iter().map(|page| (page.id.as_bytes(), &page.raw)))
    }

    fn keep_pages<'p, K: AsRef<[u8]>>(&self, pages: impl Iterator<Item = (K, &'p Bytes)>) -> Result<()> {
        let family = self.family(PAGES)?;
        let mut batch = WriteBatch::default();
        for (key, raw) in pages {
            batch.put_cf(family, key, raw);
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(|error| self.failed(error))
    }

    /// Keeps the object of a log entry that was validated.
    pub(crate) fn log_put(&self, n: u64, object: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(LOG)?, n.to_be_bytes(), object);
        self.write(batch)
    }

    /// The kept object of a log entry.
    pub(crate) fn log_get(&self, n: u64) -> Result<Option<Bytes>> {
        self.get(LOG, &n.to_be_bytes())
    }

    /// Calls `each` with the kept log entries in order, until it returns `false`.
    pub(crate) fn log_scan(&self, each: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<()> {
        self.scan(LOG, b"", &mut |key, object| match key.try_into() {
            Ok(n) => each(u64::from_be_bytes(n), object),
            Err(_) => false,
        })
    }

    /// Deletes all kept log entries.
    pub(crate) fn log_clear(&self) -> Result<()> {
        self.clear(LOG, b"")
    }

    /// Makes everything written so far survive a power cut, except pages.
    pub fn flush(&self) -> Result<()> {
        self.db.flush_wal(true).map_err(|error| self.failed(error))
    }

    /// Roughly how many bytes of memory RocksDB uses: block cache, write buffers and table readers.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let total = |name: &str| {
            let all = FAMILIES.iter().filter_map(|family| self.db.cf_handle(family));
            all.filter_map(|family| self.db.property_int_value_cf(family, name).ok().flatten())
                .sum::<u64>()
        };
        let cache = self
            .db
            .property_int_value("rocksdb.block-cache-usage")
            .ok()
            .flatten()
            .unwrap_or_default();
        cache + total("rocksdb.cur-size-all-mem-tables") + total("rocksdb.estimate-table-readers-mem")
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.db
            .cf_handle(name)
            .ok_or_else(|| self.corrupt("a column family is missing"))
    }

    fn get(&self, family: &str, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self
            .db
            .get_pinned_cf(self.family(family)?, key)
            .map_err(|error| self.failed(error))?;
        Ok(value.map(|value| records::copied(&value)))
    }

    /// Pages are looked at once and in no order, so that their blocks would only drive others out of memory.
    fn get_page(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let value = self
            .db
            .get_pinned_cf_opt(self.family(PAGES)?, key, &options)
            .map_err(|error| self.failed(error))?;
        Ok(value.map(|value| records::copied(&value)))
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.db.write(batch).map_err(|error| self.failed(error))
    }

    fn scan(&self, family: &str, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        if let Some(end) = after(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mode = IteratorMode::From(prefix, Direction::Forward);
        for item in self.db.iterator_cf_opt(self.family(family)?, options, mode) {
            let (key, value) = item.map_err(|error| self.failed(error))?;
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn clear(&self, family: &str, prefix: &[u8]) -> Result<()> {
        let family = self.family(family)?;
        // This is after every key: no key has 512 bytes, and none consists of these bytes alone.
        let end = after(prefix).unwrap_or_else(|| vec![0xff; 512]);
        let failed = |error| self.failed(error);
        self.db
            .delete_file_in_range_cf(family, prefix, end.as_slice())
            .map_err(failed)?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(family, prefix, end.as_slice());
        self.write(batch)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, PackCache> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Classifies an error. A corrupted cache is marked, so that it is dropped when it is next opened.
    fn failed(&self, error: rocksdb::Error) -> IndexError {
        let error = IndexError::sort(&self.folder.to_string_lossy(), error);
        if let IndexError::Corrupt { reason, .. } = &error {
            open::mark_corrupt(&self.folder, reason);
        }
        error
    }

    fn unreadable(&self, error: &std::io::Error) -> IndexError {
        IndexError::io(&self.folder.to_string_lossy(), error)
    }

    fn corrupt(&self, what: &str) -> IndexError {
        let reason = format!("{what} cannot be read");
        open::mark_corrupt(&self.folder, &reason);
        IndexError::Corrupt {
            folder: self.folder.to_string_lossy().into_owned(),
            reason,
        }
    }
}

/// The first key after all keys that begin with `prefix`; `None` if there is none.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests;
