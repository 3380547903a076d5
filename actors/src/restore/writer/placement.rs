//! What becomes of each entry, given what is in the target already: the conflict rules, the comparison with existing
//! files, and the names of copies. The Planner asks. Only folders are made here, because they must exist before
//! anything can be put into them.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::read::OpenedFile;
use lockstone_host::walk::Stat;
use lockstone_host::write::{Dir, is_unfinished};
use lockstone_proto::limits::MIB;
use lockstone_proto::vault::{ChunkKind, Entry, EntryKind};
use rayon::prelude::*;

use super::open_files::{Action, FileOut, FolderOut};
use crate::contents::{Chunks, Placed};
use crate::flow::{EntryError, Stop};
use crate::progress::add;
use crate::restore::job::{Conflict, RestoreContext, RestoreTo, target_fault};

/// At least this many bytes of an existing file are compared at once.
const COMPARE_BYTES: u64 = 8 * MIB;
/// The longest name of a file, bytes (Linux's `NAME_MAX`).
const NAME_MAX: usize = 255;
/// At most this many paths are listed by a dry run.
const MAX_WOULD: usize = 1000;

/// Whether a folder existed before this restore or was made by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This restore made it.
    Made,
    /// A restore that was killed made it and did not set its attributes.
    Unfinished,
    /// It existed.
    Existing,
}

/// How an existing file compares.
struct Compared {
    /// The offsets of chunks that the existing file has in the right place.
    kept: HashSet<u64>,
    /// The content is the same in all.
    same: bool,
}

impl RestoreContext {
    /// The target folder for the recovery point's `/`.
    pub(in crate::restore) fn root(&self) -> Result<Arc<FolderOut>, Stop> {
        let request = &self.job.request;
        let path = match &request.to {
            RestoreTo::Folder(path) => path.as_path(),
            RestoreTo::Original => Path::new("/"),
        };
        if request.dry_run && !path.exists() {
            return Ok(FolderOut::new(b"/".to_vec(), None, None, None, true));
        }
        let dir = Dir::open_root(path).map_err(|error| target_fault(path.as_os_str().as_encoded_bytes(), &error))?;
        Ok(FolderOut::new(b"/".to_vec(), None, Some(Arc::new(dir)), None, false))
    }

    /// Enters a folder of the recovery point; makes it if it is missing. `None`: it is left out, with everything in it.
    pub(in crate::restore) fn enter(
        &self,
        above: &Arc<FolderOut>,
        mut entry: Entry,
        implied: bool,
    ) -> Result<Option<Arc<FolderOut>>, Stop> {
        entry.implied = implied;
        let path = above.join(&entry.name);
        if !implied {
            add(&self.job.progress.counters.folders, 1);
        }
        match self.open_or_make(above, &entry, &path) {
            Ok(Some((dir, origin))) => {
                let keeps = origin == Origin::Existing && (implied || self.job.request.conflict != Conflict::Overwrite);
                let above = Some(Arc::clone(above));
                let is_fresh = origin == Origin::Made;
                Ok(Some(FolderOut::new(
                    path,
                    above,
                    dir,
                    (!keeps).then_some(entry),
                    is_fresh,
                )))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.not_restored(&path, &error)?;
                Ok(None)
            }
        }
    }

    /// The folder's handle, and where it came from. A dry run has no handle of a folder that is missing.
    fn open_or_make(
        &self,
        above: &FolderOut,
        entry: &Entry,
        path: &[u8],
    ) -> io::Result<Option<(Option<Arc<Dir>>, Origin)>> {
        let request = &self.job.request;
        let Some(dir) = &above.dir else {
            return Ok(Some((None, Origin::Made)));
        };
        let there = if above.is_fresh { None } else { dir.lookup(&entry.name)? };
        let name = match there {
            Some(there) if there.is_folder() => {
                let folder = dir.open_folder(&entry.name)?;
                let origin = if is_unfinished(there.mode, true, entry.mode) {
                    if !request.dry_run {
                        folder.remove_leftovers()?;
                    }
                    Origin::Unfinished
                } else {
                    Origin::Existing
                };
                return Ok(Some((Some(Arc::new(folder)), origin)));
            }
            None => entry.name.to_vec(),
            Some(_) => match request.conflict {
                Conflict::Skip => {
                    add(&self.job.progress.counters.skipped, 1);
                    return Ok(None);
                }
                Conflict::Overwrite => {
                    if !request.dry_run {
                        dir.remove(&entry.name)?;
                    }
                    entry.name.to_vec()
                }
                Conflict::Copy => {
                    add(&self.job.progress.counters.copies, 1);
                    self.copy_name(dir, &entry.name)?
                }
            },
        };
        if request.dry_run {
            self.would(path);
            return Ok(Some((None, Origin::Made)));
        }
        Ok(Some((Some(Arc::new(dir.make_folder(&name)?)), Origin::Made)))
    }

    /// What to do with a file, symlink, fifo or device. `None`: nothing.
    pub(in crate::restore) fn plan_file(
        &self,
        folder: &Arc<FolderOut>,
        entry: Entry,
    ) -> Result<Option<Arc<FileOut>>, Stop> {
        let decided = self.decide(folder, &entry).or_else(|error| {
            self.not_restored(&folder.join(&entry.name), &error.entry()?)?;
            Ok::<_, Stop>(None)
        })?;
        let Some((action, kept)) = decided else { return Ok(None) };
        if self.job.request.dry_run {
            self.would(&folder.join(&entry.name));
            add(&self.job.progress.counters.files_done, 1);
            add(&self.job.progress.counters.bytes_done, entry.size);
            return Ok(None);
        }
        if entry.links < 2 {
            return Ok(Some(FileOut::new(folder, entry, action, kept)));
        }
        let key = (entry.device, entry.inode);
        let mut first_names = self.first_names.lock();
        let first = first_names
            .get(&key)
            .filter(|first| is_same_file(&first.entry, &entry))
            .cloned();
        if let Some(first) = first {
            let name = match action {
                Action::Write { name, .. } | Action::Link { name, .. } => name,
                Action::Attributes => entry.name.clone(),
            };
            return Ok(Some(FileOut::new(
                folder,
                entry,
                Action::Link { name, first },
                HashSet::new(),
            )));
        }
        let file = FileOut::new(folder, entry, action, kept);
        first_names.insert(key, Arc::clone(&file));
        Ok(Some(file))
    }

    /// What to do with an entry, and the offsets of the chunks that are kept from the existing file. `None`: nothing.
    fn decide(&self, folder: &FolderOut, entry: &Entry) -> Result<Option<(Action, HashSet<u64>)>, EntryError> {
        let write = |name: Bytes, replace: bool| Action::Write { name, replace };
        let anew = || write(entry.name.clone(), false);
        let Some(dir) = folder.dir.as_ref().filter(|_| !folder.is_fresh) else {
            return Ok(Some((anew(), HashSet::new())));
        };
        let Some(there) = dir.lookup(&entry.name)? else {
            return Ok(Some((anew(), HashSet::new())));
        };
        let counters = &self.job.progress.counters;
        let is_half =
            entry.kind() == EntryKind::File && there.is_file() && is_unfinished(there.mode, false, entry.mode);
        // What a killed restore left is always replaced.
        let conflict = if is_half {
            Conflict::Overwrite
        } else {
            self.job.request.conflict
        };
        if conflict == Conflict::Skip {
            add(&counters.skipped, 1);
            return Ok(None);
        }
        if there.is_folder() && conflict == Conflict::Overwrite {
            return Err(io::Error::other("a folder is in its place and was left as it is").into());
        }
        let compared = if entry.kind() == EntryKind::File && there.is_file() {
            self.compare(dir, entry, &there)?
        } else {
            Compared {
                kept: HashSet::new(),
                same: false,
            }
        };
        if compared.same && (conflict == Conflict::Overwrite || has_same_attributes(entry, &there)) {
            add(&counters.unchanged, 1);
            // Under `Copy`, an identical file needs no copy. Under `Overwrite`, only its attributes are set.
            let attributes = conflict == Conflict::Overwrite;
            return Ok(attributes.then_some((Action::Attributes, HashSet::new())));
        }
        let action = if conflict == Conflict::Copy {
            if entry.kind() == EntryKind::Symlink
                && there.kind() == EntryKind::Symlink
                && dir.read_link(&entry.name)? == entry.link_target.as_ref()
            {
                add(&counters.unchanged, 1);
                return Ok(None);
            }
            add(&counters.copies, 1);
            write(self.copy_name(dir, &entry.name)?.into(), false)
        } else {
            write(entry.name.clone(), true)
        };
        Ok(Some((action, compared.kept)))
    }

    /// Compares an existing file with an entry, chunk by chunk. The hashing runs on the pool.
    fn compare(&self, dir: &Dir, entry: &Entry, there: &Stat) -> Result<Compared, EntryError> {
        let job = &self.job;
        let mut file = dir.open_file(&entry.name)?;
        let mut kept = HashSet::new();
        let mut same = there.size == entry.size;
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
                    if !error.costs_one_object() {
                        return Err(error.into());
                    }
                    // The Planner will meet the same damage and report it.
                    return Ok(Compared {
                        kept: HashSet::new(),
                        same: false,
                    });
                }
            };
            if self.cancel.is_cancelled() {
                return Err(Stop::Cancelled.into());
            }
            same &= is_hole(&mut file, position, placed.offset)?;
            position = placed.offset + u64::from(placed.len);
            let mut bytes = vec![0; placed.len as usize];
            if read_full(&file, &mut bytes, placed.offset)? {
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
        Ok(Compared { kept, same })
    }

    /// A free name beside `name`: `name (lockstone 2026-11-22 03-00).ext`.
    fn copy_name(&self, dir: &Dir, name: &[u8]) -> io::Result<Vec<u8>> {
        for n in 1..10_000 {
            let copy = copy_name(name, &self.job.request.copy_stamp, n);
            if dir.lookup(&copy)?.is_none() {
                return Ok(copy);
            }
        }
        Err(io::Error::other("there are too many copies of it already"))
    }

    /// Notes a path that a dry run would restore.
    fn would(&self, path: &[u8]) {
        let mut would = self.job.would.lock();
        if would.len() < MAX_WOULD {
            would.push(path.to_vec());
        }
    }
}

fn is_same_file(a: &Entry, b: &Entry) -> bool {
    (a.kind, a.size, a.mtime_s, a.mtime_ns, a.ctime_s, a.ctime_ns)
        == (b.kind, b.size, b.mtime_s, b.mtime_ns, b.ctime_s, b.ctime_ns)
        && a.content == b.content
}

fn has_same_attributes(entry: &Entry, there: &Stat) -> bool {
    there.mode & 0o7777 == entry.mode
        && (there.uid, there.gid) == (entry.uid, entry.gid)
        && (there.mtime_s, there.mtime_ns) == (entry.mtime_s, entry.mtime_ns)
}

/// Whether there is no data between two offsets.
fn is_hole(file: &mut OpenedFile, from: u64, to: u64) -> io::Result<bool> {
    if from >= to {
        return Ok(true);
    }
    Ok(file.next_data(from)?.is_none_or(|data| data.start >= to))
}

/// Fills the buffer from the file. False if the file ends earlier.
fn read_full(file: &OpenedFile, mut bytes: &mut [u8], mut offset: u64) -> io::Result<bool> {
    while !bytes.is_empty() {
        let n = file.read_at(bytes, offset)?;
        if n == 0 {
            return Ok(false);
        }
        offset += n as u64;
        bytes = &mut bytes[n..];
    }
    Ok(true)
}

/// The name of the `n`th copy, cut to fit.
fn copy_name(name: &[u8], stamp: &str, n: u32) -> Vec<u8> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mark = if n == 1 {
        format!(" (lockstone {stamp})")
    } else {
        format!(" (lockstone {stamp} {n})")
    };
    // An extension so long that nothing else would fit counts as part of the stem.
    let (stem, extension) = if extension.len() + mark.len() < NAME_MAX {
        (stem, extension)
    } else {
        (name, &b""[..])
    };
    let room = NAME_MAX - mark.len() - extension.len();
    [&stem[..stem.len().min(room)], mark.as_bytes(), extension].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_its_extension_and_fits_in_a_name() {
        let stamp = "2026-11-22 03-00";
        assert_eq!(
            copy_name(b"report.pdf", stamp, 1),
            b"report (lockstone 2026-11-22 03-00).pdf"
        );
        assert_eq!(copy_name(b"README", stamp, 1), b"README (lockstone 2026-11-22 03-00)");
        assert_eq!(
            copy_name(b".bashrc", stamp, 2),
            b".bashrc (lockstone 2026-11-22 03-00 2)"
        );
        assert!(copy_name(&[b'x'; 255], stamp, 1).len() <= NAME_MAX);
        let long_extension = [b"a.".to_vec(), vec![b'x'; 253]].concat();
        assert!(copy_name(&long_extension, stamp, 1).len() <= NAME_MAX);
    }
}
