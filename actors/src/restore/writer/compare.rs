//! Compares existing files with entries, chunk by chunk, so that only what differs is fetched and written.

use std::collections::HashSet;
use std::io;

use lockstone_host::read::OpenedFile;
use lockstone_host::write::Dir;
use lockstone_proto::limits::MIB;
use lockstone_proto::vault::{ChunkKind, Entry};
use rayon::prelude::*;

use super::seen::Seen;
use crate::contents::{Chunks, Placed};
use crate::flow::{EntryError, Stop};
use crate::restore::job::RestoreContext;

/// At least this many bytes of an existing file are compared at once.
const COMPARE_BYTES: u64 = 8 * MIB;

/// How an existing file compares.
#[derive(Default)]
pub(crate) struct Compared {
    /// The offsets of chunks that the existing file has in the right place.
    pub(crate) kept: HashSet<u64>,
    /// The content is the same in all.
    pub(crate) same: bool,
    pub(crate) seen: Option<Seen>,
}

impl RestoreContext {
    /// Compares the existing file `name` with an entry, chunk by chunk. The hashing runs on the pool. A file that this
    /// user may not read is different.
    pub(crate) fn compare(&self, dir: &Dir, name: &[u8], entry: &Entry) -> Result<Compared, EntryError> {
        match dir.open_file(name) {
            Ok(file) => self.compare_file(file, entry),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Compared::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn compare_file(&self, mut file: OpenedFile, entry: &Entry) -> Result<Compared, EntryError> {
        let job = &self.job;
        let mut kept = HashSet::new();
        let mut same = file.stat().size == entry.size;
        let seen = Some(Seen::of(file.stat()));
        let mut position = 0;
        let mut batch: Vec<(Placed, Vec<u8>)> = Vec::new();
        let mut batched = 0;
        let keys = job.domain.keys();
        let mut settle = |batch: &mut Vec<(Placed, Vec<u8>)>, same: &mut bool| {
            let equal: Vec<Option<u64>> = job.engine.compute(|| {
                batch
                    .par_iter()
                    .map(|(placed, bytes)| {
                        (keys.chunk_id(ChunkKind::Data, bytes) == placed.id).then_some(placed.offset)
                    })
                    .collect()
            });
            *same &= equal.iter().all(Option::is_some);
            kept.extend(equal.into_iter().flatten());
            batch.clear();
        };
        for placed in Chunks::of(entry, &job.domain, &job.engine) {
            let placed = match placed {
                Ok(placed) => placed,
                Err(error) => {
                    error.entry()?;
                    // The Planner will meet the same damage and report it.
                    return Ok(Compared::default());
                }
            };
            if self.cancel.is_cancelled() {
                return Err(Stop::Cancelled.into());
            }
            same &= is_hole(&mut file, position, placed.offset)?;
            position = placed.offset + u64::from(placed.len);
            let mut bytes = vec![0; placed.len as usize];
            if file.read_full_at(&mut bytes, placed.offset)? == bytes.len() {
                batched += u64::from(placed.len);
                batch.push((placed, bytes));
            } else {
                same = false;
            }
            if batched >= COMPARE_BYTES {
                settle(&mut batch, &mut same);
                batched = 0;
            }
        }
        settle(&mut batch, &mut same);
        same &= is_hole(&mut file, position, entry.size)?;
        Ok(Compared { kept, same, seen })
    }
}

/// Whether there is no data between two offsets.
fn is_hole(file: &mut OpenedFile, from: u64, to: u64) -> io::Result<bool> {
    if from >= to {
        return Ok(true);
    }
    Ok(file.next_data(from)?.is_none_or(|data| data.start >= to))
}
