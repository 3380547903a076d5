//! Opening the index: whether it belongs to this vault and domain, whether it is whole, and what happens if not.
//!
//! RocksDB notices damage to its manifest when it opens. It notices damage to a table only when it reads the damaged
//! block, which may be in the middle of a job. Tables are never changed after they are written. So when the index is
//! closed, the name, length and time of each table are noted in `index.files`. A table that no longer matches was
//! changed from outside, and the index is dropped before anything relies on it. Damage that is found later leaves the
//! file `index.corrupt`, which has the same effect at the next opening.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use lockstone_proto::ids::{DomainId, VaultId};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, LogLevel,
    MergeOperands, Options,
};

use super::bad_packs::BadPacks;
use super::journal::JournalFile;
use super::pack_cache::PackCache;
use super::{CHUNK_COUNT, CHUNKS, FAMILIES, GENERATION, Index, IndexError, META, NEXT_PACK, PAGES, records};
use crate::kind::open_files_limit;

const OWNER: &[u8] = b"owner";
const FILES: &str = "index.files";
const CORRUPT: &str = "index.corrupt";
const FOLDER: &str = "index";

const BLOCK_CACHE: usize = 16 << 20;
const WRITE_BUFFERS: usize = 16 << 20;
const MAX_WAL: u64 = 32 << 20;
const OPEN_FILES: i32 = 256;
const OPEN_FILES_MIN: i32 = 20;
/// If pages have more bytes on disk than this when the index is opened, they are dropped.
const PAGES_MAX: u64 = 2 << 30;

/// What an index puts into a cache folder: files, and a folder with files.
pub const OWN: [&str; 4] = [FOLDER, super::journal::NAME, FILES, CORRUPT];

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The existing index was opened.
    Kept,
    /// There was no index; an empty one was made.
    Fresh,
    /// There was an index that could not be used. It was deleted and an empty one was made.
    Dropped {
        /// Why, in words for the user.
        reason: String,
    },
}

/// Notes the tables after the database is closed.
pub(super) struct Closing {
    folder: PathBuf,
}

impl Drop for Closing {
    fn drop(&mut self) {
        // Without the note the tables are not checked next time. Nothing else is lost.
        if let Ok(note) = note_tables(&self.folder.join(FOLDER)) {
            let _ = fs::write(self.folder.join(FILES), note);
        }
    }
}

impl Index {
    /// Opens the index of that vault and domain in the cache folder `folder`, which is made if it is missing. RocksDB's
    /// own files lie in `folder/index`. An index that is corrupted, or belongs to another vault or domain, is deleted
    /// and made anew. `Busy` if it is open in another process or job: then nothing is deleted.
    pub fn open(folder: &Path, vault: VaultId, domain: DomainId) -> Result<(Self, Opened), IndexError> {
        let text = folder.to_string_lossy().into_owned();
        let failed = |error: io::Error| IndexError::io(&text, &error);
        fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(FOLDER);
        let fresh = !path.exists();
        let owner = owner(vault, domain);

        let reason = match check_note(folder) {
            Some(reason) => reason,
            None => match open_db(&text, &path) {
                Ok(db) => match whose(&text, &db, &owner) {
                    Ok(None) => return Self::with(db, folder, if fresh { Opened::Fresh } else { Opened::Kept }),
                    Ok(Some(reason)) => reason,
                    Err(IndexError::Corrupt { reason, .. }) => reason,
                    Err(other) => return Err(other),
                },
                Err(IndexError::Corrupt { reason, .. }) => reason,
                Err(other) => return Err(other),
            },
        };
        // An index that is open elsewhere stays, even if it is corrupted.
        if let Err(busy @ IndexError::Busy { .. }) = open_db(&text, &path) {
            return Err(busy);
        }
        destroy(folder).map_err(failed)?;
        let db = open_db(&text, &path)?;
        whose(&text, &db, &owner)?;
        Self::with(db, folder, Opened::Dropped { reason })
    }

    fn with(mut db: DB, folder: &Path, opened: Opened) -> Result<(Self, Opened), IndexError> {
        let text = folder.to_string_lossy();
        let failed = |error| IndexError::sort(&text, error);
        // From now on tables change, so the note is no longer true.
        let _ = fs::remove_file(folder.join(FILES));
        let size = db.cf_handle(PAGES).and_then(|family| {
            db.property_int_value_cf(family, "rocksdb.estimate-live-data-size")
                .ok()
                .flatten()
        });
        if size.is_some_and(|size| size > PAGES_MAX) {
            db.drop_cf(PAGES).map_err(failed)?;
            db.create_cf(PAGES, &family_options(PAGES, &Cache::new_lru_cache(BLOCK_CACHE / 4)))
                .map_err(failed)?;
        }
        let noted = |key: &[u8]| match db.cf_handle(META) {
            Some(meta) => db.get_cf(meta, key).map_err(failed),
            None => Ok(None),
        };
        let chunks = noted(CHUNK_COUNT)?
            .and_then(|value| value.as_slice().try_into().ok())
            .map_or(0, u64::from_le_bytes);
        let next = noted(NEXT_PACK)?;
        let next = next
            .and_then(|value| value.as_slice().try_into().ok())
            .map_or(0, u32::from_le_bytes);
        let bad = BadPacks::read(&db).map_err(failed)?;
        let index = Self {
            db,
            _closing: Closing {
                folder: folder.to_owned(),
            },
            folder: folder.to_owned(),
            journal: JournalFile::of(folder),
            next_pack: Mutex::new(next),
            packs: Mutex::new(PackCache::default()),
            bad,
            chunks: AtomicU64::new(chunks),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Ok((index, opened))
    }
}

/// Deletes the index in a cache folder, and nothing else that is there.
pub fn destroy(folder: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let path = folder.join(FOLDER);
    match fs::symlink_metadata(&path) {
        Ok(stat) if stat.is_dir() => gone(fs::remove_dir_all(&path))?,
        Ok(_) => gone(fs::remove_file(&path))?,
        Err(error) => gone(Err(error))?,
    }
    JournalFile::of(folder).remove()?;
    gone(fs::remove_file(folder.join(FILES)))?;
    gone(fs::remove_file(folder.join(CORRUPT)))
}

/// Notes that the index is corrupted.
pub(super) fn mark_corrupt(folder: &Path, reason: &str) {
    // If this fails, the damage will be found again.
    let _ = fs::write(folder.join(CORRUPT), reason);
}

fn owner(vault: VaultId, domain: DomainId) -> Vec<u8> {
    [&GENERATION.to_le_bytes()[..], vault.as_bytes(), domain.as_bytes()].concat()
}

/// Writes the owner into a new database. For an old one of another owner, says why it cannot be used.
fn whose(folder: &str, db: &DB, owner: &[u8]) -> Result<Option<String>, IndexError> {
    let failed = |error| IndexError::sort(folder, error);
    let meta = db.cf_handle(META).ok_or_else(|| IndexError::Corrupt {
        folder: folder.to_owned(),
        reason: "a column family is missing".to_owned(),
    })?;
    match db.get_cf(meta, OWNER).map_err(failed)? {
        Some(found) if found == owner => Ok(None),
        Some(found) if found.get(..4) != owner.get(..4) => Ok(Some("another version of lockstone made it".to_owned())),
        Some(_) => Ok(Some("it belongs to another vault or domain".to_owned())),
        None => {
            let mut empty = true;
            for family in FAMILIES {
                let Some(family) = db.cf_handle(family) else { continue };
                empty &= db.iterator_cf(family, rocksdb::IteratorMode::Start).next().is_none();
            }
            if !empty {
                return Ok(Some("it does not say whose it is".to_owned()));
            }
            db.put_cf(meta, OWNER, owner).map_err(failed)?;
            Ok(None)
        }
    }
}

/// Why the tables differ from those that were noted; `None` if they do not.
fn check_note(folder: &Path) -> Option<String> {
    if let Ok(reason) = fs::read_to_string(folder.join(CORRUPT)) {
        return Some(reason);
    }
    let path = folder.join(FOLDER);
    let noted = fs::read_to_string(folder.join(FILES)).ok()?;
    for line in noted.lines() {
        let (name, wanted) = line.split_once(' ')?;
        // RocksDB itself finds missing tables.
        if let Ok(stat) = fs::metadata(path.join(name))
            && describe(&stat) != wanted
        {
            return Some(format!("{name} was changed from outside"));
        }
    }
    None
}

fn note_tables(path: &Path) -> io::Result<String> {
    let mut note = String::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".sst")) {
            // Writing to a String cannot fail.
            let _ = writeln!(note, "{name} {}", describe(&entry.metadata()?));
        }
    }
    Ok(note)
}

fn describe(stat: &fs::Metadata) -> String {
    format!("{} {}.{:09}", stat.len(), stat.mtime(), stat.mtime_nsec())
}

/// How many tables may be open at once. With a low limit of this process, the index gets a quarter of it: the walk, the
/// store and the files that are read or written need the rest.
fn open_files(limit: Option<u64>) -> i32 {
    let quarter = limit.and_then(|limit| i32::try_from(limit / 4).ok());
    quarter.unwrap_or(OPEN_FILES).clamp(OPEN_FILES_MIN, OPEN_FILES)
}

fn open_db(folder: &str, path: &Path) -> Result<DB, IndexError> {
    let cache = Cache::new_lru_cache(BLOCK_CACHE);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS);
    options.set_max_total_wal_size(MAX_WAL);
    options.set_max_open_files(open_files(open_files_limit()));
    options.set_max_file_opening_threads(1);
    options.set_max_background_jobs(2);
    options.set_max_subcompactions(1);
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(1);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options.set_table_cache_num_shard_bits(2);
    #[cfg(any(test, feature = "testing"))]
    if crate::testing::seeded::is_on() {
        // A simulation opens thousands of small indexes in memory. What RocksDB reserves for each would take most of
        // its time.
        options.set_max_total_wal_size(256 << 10);
        options.set_manifest_preallocation_size(4 << 10);
    }
    let families = FAMILIES
        .iter()
        .map(|name| ColumnFamilyDescriptor::new(*name, family_options(name, &cache)));
    DB::open_cf_descriptors(&options, path, families).map_err(|error| IndexError::sort(folder, error))
}

/// Adds places to those of a chunk.
fn join_places(_chunk: &[u8], before: Option<&[u8]>, added: &MergeOperands) -> Option<Vec<u8>> {
    Some(records::join_places(before, added.iter()))
}

fn family_options(name: &str, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_format_version(5);
    // Filters and indexes are kept in the block cache in parts, so that they stay within its bound, too.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_bloom_filter(10.0, false);
    table.set_partition_filters(true);
    table.set_metadata_block_size(4096);
    // Pages are read one by one and in no order. With larger blocks, a search would unpack each of them many times.
    table.set_block_size(4 << 10);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(if name == CHUNKS { 8 << 20 } else { 4 << 20 });
    if name == CHUNKS {
        options.set_merge_operator_associative("places", join_places);
        // Most chunks of a first backup are unknown. With a filter the write buffers can tell that without a search.
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(16 << 20);
    options.set_max_bytes_for_level_base(64 << 20);
    // Places and ids look like random bytes and do not compress.
    let compression = if name == CHUNKS {
        DBCompressionType::None
    } else {
        DBCompressionType::Lz4
    };
    options.set_compression_type(compression);
    options
}
