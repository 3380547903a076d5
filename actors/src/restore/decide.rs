//! What becomes of each entry, given what stands in the target already: the conflict rules, comparison in place, names
//! of copies. The Planner asks; nothing is written here but folders, which have to be there before what goes into them.

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

use super::files::{Action, FileOut, FolderOut};
use super::{Conflict, Context, RestoreTo, target_fault};
use crate::contents::{Chunks, Placed};
use crate::flow::Stop;
use crate::progress::add;

/// Bytes of an existing file that are compared at once.
const COMPARE: u64 = 8 * MIB;
/// Longest name of a file, bytes (Linux, `NAME_MAX`).
const NAME_MAX: usize = 255;
/// Paths that a dry run lists.
const WOULD_MAX: usize = 1000;

/// Whose a folder is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was made for this.
    Made,
    /// A restore that was killed made it, and gave it no attributes.
    Unfinished,
    /// It was there.
    There,
}

/// How an existing file compares.
struct Compared {
    /// Offsets of chunks that are where they should be.
    kept: HashSet<u64>,
    /// Nothing has to be written.
    same: bool,
}

impl Context {
    /// The folder that stands for the point's `/`.
    pub(super) fn root(&self) -> Result<Arc<FolderOut>, Stop> {
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

    /// Enters a folder of the point, making it where it is missing. `None`: it is left out, with all that is in it.
    pub(super) fn enter(
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
                let keeps = origin == Origin::There && (implied || self.job.request.conflict != Conflict::Overwrite);
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

    /// The folder's handle (none in a dry run where it is missing), and whose it is.
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
                    Origin::There
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

    /// What becomes of a file, symlink, fifo or device. `None`: nothing.
    pub(super) fn plan_file(&self, folder: &Arc<FolderOut>, entry: Entry) -> Result<Option<Arc<FileOut>>, Stop> {
        let decided = match self.decide(folder, &entry) {
            Ok(decided) => decided?,
            Err(error) => {
                self.not_restored(&folder.join(&entry.name), &error)?;
                None
            }
        };
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

    /// The outer error is the target's, the inner one ends the job.
    #[allow(clippy::type_complexity, reason = "an inner result tells whose error it is")]
    fn decide(&self, folder: &FolderOut, entry: &Entry) -> io::Result<Result<Option<(Action, HashSet<u64>)>, Stop>> {
        let write = |name: Bytes, replace: bool| Action::Write { name, replace };
        let anew = || write(entry.name.clone(), false);
        let Some(dir) = folder.dir.as_ref().filter(|_| !folder.is_fresh) else {
            return Ok(Ok(Some((anew(), HashSet::new()))));
        };
        let Some(there) = dir.lookup(&entry.name)? else {
            return Ok(Ok(Some((anew(), HashSet::new()))));
        };
        let counters = &self.job.progress.counters;
        let is_half =
            entry.kind() == EntryKind::File && there.is_file() && is_unfinished(there.mode, false, entry.mode);
        // What a killed restore left is nobody's: it is replaced.
        let conflict = if is_half {
            Conflict::Overwrite
        } else {
            self.job.request.conflict
        };
        if conflict == Conflict::Skip {
            add(&counters.skipped, 1);
            return Ok(Ok(None));
        }
        if there.is_folder() && conflict == Conflict::Overwrite {
            return Err(io::Error::other("a folder stands in its place; it was left as it is"));
        }
        let compared = if entry.kind() == EntryKind::File && there.is_file() {
            match self.compare(dir, entry, &there)? {
                Ok(compared) => compared,
                Err(stop) => return Ok(Err(stop)),
            }
        } else {
            Compared {
                kept: HashSet::new(),
                same: false,
            }
        };
        if compared.same && (conflict == Conflict::Overwrite || has_same_attributes(entry, &there)) {
            add(&counters.unchanged, 1);
            // A copy of what is there already helps nobody.
            let attributes = conflict == Conflict::Overwrite;
            return Ok(Ok(attributes.then_some((Action::Attributes, HashSet::new()))));
        }
        let action = if conflict == Conflict::Copy {
            if entry.kind() == EntryKind::Symlink
                && there.kind() == EntryKind::Symlink
                && dir.read_link(&entry.name)? == entry.link_target.as_ref()
            {
                add(&counters.unchanged, 1);
                return Ok(Ok(None));
            }
            add(&counters.copies, 1);
            write(self.copy_name(dir, &entry.name)?.into(), false)
        } else {
            write(entry.name.clone(), true)
        };
        Ok(Ok(Some((action, compared.kept))))
    }

    /// Compares an existing file with an entry, chunk by chunk, hashing on the pool.
    fn compare(&self, dir: &Dir, entry: &Entry, there: &Stat) -> io::Result<Result<Compared, Stop>> {
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
                        return Ok(Err(error.into()));
                    }
                    // The Planner meets the same damage, and says so.
                    return Ok(Ok(Compared {
                        kept: HashSet::new(),
                        same: false,
                    }));
                }
            };
            if self.cancel.is_cancelled() {
                return Ok(Err(Stop::Cancelled));
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
            if batched >= COMPARE {
                settle(&mut batch, &mut same);
                batched = 0;
            }
        }
        settle(&mut batch, &mut same);
        same &= is_hole(&mut file, position, entry.size)?;
        Ok(Ok(Compared { kept, same }))
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

    fn would(&self, path: &[u8]) {
        let mut would = self.job.would.lock();
        if would.len() < WOULD_MAX {
            would.push(path.to_vec());
        }
    }

    /// One entry could not be restored: a warning, or the end of the job where no other could be, either.
    pub(super) fn not_restored(&self, path: &[u8], error: &io::Error) -> Result<(), Stop> {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) {
            return Err(target_fault(path, error).into());
        }
        self.job.warnings.add(path, format!("could not be restored: {error}"));
        Ok(())
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

/// False where the file ends before the buffer is full.
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

fn copy_name(name: &[u8], stamp: &str, n: u32) -> Vec<u8> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mark = if n == 1 {
        format!(" (lockstone {stamp})")
    } else {
        format!(" (lockstone {stamp} {n})")
    };
    // An extension that leaves no room for anything else is none.
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
