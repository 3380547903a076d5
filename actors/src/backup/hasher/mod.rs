//! The Hasher stage reads files, cuts them into chunks, computes the chunks' ids, and captures the files' attributes
//! from the handles that it has open. Several readers share the inbox. The hashing runs on the pool.
//!
//! The small files of a batch share one buffer, side by side, in the order in which they will be in a frame. A larger
//! file is read one buffer after another. A file that changes while it is read is read once more; if it changes again,
//! a warning says so. The permit for a buffer is taken before anything is read into it.

mod content;
pub(super) mod hard_links;
mod produced;

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::chunk::Chunker;
use lockstone_host::metadata::{CaptureFrom, capture};
use lockstone_host::read::OpenedFile;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::{CHUNK_MAX, CHUNK_MIN};
use lockstone_proto::vault::{ChunkKind, Content, Entry};
use lockstone_vault::buffers::Pooled;
use lockstone_vault::tree::content::ContentWriter;
use rayon::prelude::*;

use self::content::{Listed, cut_all};
use super::job::BackupContext;
use super::messages::{Buffer, Catalogue, Chunk, ChunkBatch, FileRead, FileTask, Held, ToRead};
use crate::flow::{Body, EntryError, Permit, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

/// Bytes of small files that are hashed by one thread at a time.
const SHARE: usize = 512 * 1024;
/// How many times a file that changes while it is read is read.
const TRIES: u32 = 2;
/// The longest path of a folder that is shown while it is read, in bytes.
const SHOWN: usize = 4096;
/// The warning about a file that changed during the last try.
const CHANGED: &str = "changed while it was read; this point may have a mixture of old and new content";

/// The warning about a file that ended before its size although it did not change.
const SHORTER: &str = "is shorter than its file system says; what could be read of it is in this point";

pub(super) struct Hasher {
    context: BackupContext,
    inbox: Receiver<ToRead>,
    cataloguer: Sender<Catalogue>,
    dedup: Sender<ChunkBatch>,
}

/// A small file in the shared buffer.
struct SmallFile {
    task: FileTask,
    entry: Box<Entry>,
    range: Range<usize>,
}

impl Body for Hasher {
    fn run(self) -> Result<(), Stop> {
        let chunker = Chunker::new(&self.context.job.domain.keys().chunker_table());
        while let Some(batch) = self.inbox.recv()? {
            let batch = match batch {
                ToRead::Files(batch) => batch,
                ToRead::Produced(task) => {
                    let read = self.produced(*task, &chunker)?;
                    self.cataloguer.send(Catalogue::Read(vec![read]))?;
                    continue;
                }
            };
            let mut small = Vec::with_capacity(batch.len());
            let mut done = Vec::with_capacity(batch.len());
            for task in batch {
                if task.stat.size < CHUNK_MIN as u64 {
                    small.push(task);
                } else {
                    done.push(self.large(task, &chunker)?);
                }
            }
            self.small(small, &chunker, &mut done)?;
            self.cataloguer.send(Catalogue::Read(done))?;
        }
        self.cataloguer.finish();
        self.dedup.finish();
        Ok(())
    }
}

impl Hasher {
    pub(super) fn new(
        context: &BackupContext,
        inbox: Receiver<ToRead>,
        (cataloguer, dedup): (Sender<Catalogue>, Sender<ChunkBatch>),
    ) -> Self {
        Self {
            context: context.clone(),
            inbox,
            cataloguer,
            dedup,
        }
    }

    /// Reads files that are one chunk each, or empty.
    fn small(&self, tasks: Vec<FileTask>, chunker: &Chunker, done: &mut Vec<FileRead>) -> Result<(), Stop> {
        let Some(first) = tasks.first() else { return Ok(()) };
        self.shows(first);
        let room: u64 = tasks.iter().map(|task| task.stat.size + 1).sum();
        let permit = self
            .context
            .generation
            .budgets
            .data
            .take(room, &self.context.generation.cancel)?;
        let mut bytes = self.context.job.pool.take(usize::try_from(room).unwrap_or(0));
        let mut files: Vec<SmallFile> = Vec::with_capacity(tasks.len());
        let mut large = Vec::new();
        for task in tasks {
            fault_point("hasher")?;
            let start = bytes.len();
            match self.read_small(&task, &mut bytes) {
                Ok(Some(entry)) => files.push(SmallFile {
                    range: start..bytes.len(),
                    entry,
                    task,
                }),
                // It is read alone, as a large file, when the others have been sent on.
                Ok(None) => {
                    bytes.truncate(start);
                    large.push(task);
                }
                Err(error) => {
                    bytes.truncate(start);
                    done.push(self.unreadable(&task, &error)?);
                }
            }
        }
        self.pass_on(bytes, permit, files, done)?;
        for task in large {
            done.push(self.large(task, chunker)?);
        }
        Ok(())
    }

    /// Hashes the files of a buffer and sends it on.
    fn pass_on(
        &self,
        bytes: Pooled,
        mut permit: Permit,
        files: Vec<SmallFile>,
        done: &mut Vec<FileRead>,
    ) -> Result<(), Stop> {
        permit.shrink_to(bytes.len() as u64);
        let keys = self.context.job.domain.keys();
        // A smaller share would be done before another thread has woken up.
        let worthwhile = files.len() * SHARE / bytes.len().max(SHARE);
        let ids: Vec<ChunkId> = self.context.job.engine.compute(|| {
            files
                .par_chunks(worthwhile.max(1))
                .flat_map_iter(|share| {
                    let raw: Vec<&[u8]> = share.iter().map(|file| &bytes[file.range.clone()]).collect();
                    keys.chunk_ids(ChunkKind::Data, &raw)
                })
                .collect()
        });
        let mut chunks = Vec::with_capacity(files.len());
        add(&self.context.job.progress.totals.bytes_read, bytes.len() as u64);
        add(&self.context.job.progress.counters.bytes_done, bytes.len() as u64);
        for (file, id) in files.into_iter().zip(ids) {
            let SmallFile { task, mut entry, range } = file;
            entry.size = range.len() as u64;
            if !range.is_empty() {
                entry.content = Some(Content {
                    level: 0,
                    ids: Bytes::copy_from_slice(id.as_bytes()),
                    lens: vec![range.len() as u64],
                    holes: Vec::new(),
                });
                chunks.push(Chunk { id, range });
            }
            done.push(self.finished(task, entry));
        }
        if chunks.is_empty() {
            return Ok(());
        }
        self.dedup.send(ChunkBatch {
            buffer: Arc::new(Buffer {
                bytes: Held::Pooled(bytes),
                permit,
            }),
            chunks,
        })
    }

    /// Appends a small file's bytes. `None`: it is no longer small, it has holes, or it has more content than its size.
    fn read_small(&self, task: &FileTask, bytes: &mut Pooled) -> std::io::Result<Option<Box<Entry>>> {
        let start = bytes.len();
        if !task.stat.may_have_holes() {
            // The usual case: the file has not changed since the walk saw it.
            let expected = usize::try_from(task.stat.size).unwrap_or(usize::MAX);
            let room = bytes.spare(expected + 1);
            if let Some(file) = OpenedFile::read_whole(&task.folder, &task.name, &task.stat, room)? {
                bytes.filled(expected);
                return self.capture(task, &file).map(Some);
            }
        }
        for attempt in 1..=TRIES {
            bytes.truncate(start);
            let mut file = OpenedFile::open(&task.folder, &task.name)?;
            let expected = usize::try_from(file.stat().size).unwrap_or(usize::MAX);
            if expected >= CHUNK_MIN
                || (file.stat().may_have_holes() && file.next_data(0)? != Some(0..file.stat().size))
            {
                return Ok(None);
            }
            // One byte more than expected: if it is filled, the file has grown.
            let room = bytes.spare(expected + 1);
            let found = file.read_full_at(room, 0)?;
            bytes.filled(found);
            let changed = file.changed_since_open()?;
            if found > expected && (!changed || attempt == TRIES) {
                // Its size is not what the file system says, or it keeps growing.
                return Ok(None);
            }
            if !changed || attempt == TRIES {
                if changed {
                    self.warn(task, CHANGED);
                } else if found < expected {
                    self.warn(task, SHORTER);
                }
                return self.capture(task, &file).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads a file that does not fit into a shared buffer.
    fn large(&self, task: FileTask, chunker: &Chunker) -> Result<FileRead, Stop> {
        fault_point("hasher")?;
        self.shows(&task);
        let hard_links = &self.context.job.hard_links;
        for attempt in 1..=TRIES {
            let file = match OpenedFile::open(&task.folder, &task.name) {
                Ok(file) => file,
                Err(error) => return self.unreadable(&task, &error),
            };
            let stat = *file.stat();
            let read = match hard_links.get(&stat) {
                Some((content, size)) => Ok(LargeRead {
                    file,
                    content,
                    size,
                    changed: false,
                    short: false,
                }),
                None => self.read_large(file, chunker),
            };
            match read {
                Err(error) => return self.unreadable(&task, &error.entry()?),
                Ok(read) if read.changed && attempt < TRIES => {}
                Ok(read) => {
                    if read.changed {
                        self.warn(&task, CHANGED);
                    } else if read.short {
                        self.warn(&task, SHORTER);
                    }
                    return Ok(match self.capture(&task, &read.file) {
                        Ok(mut entry) => {
                            // Another name of the file gets this content only if the file is as before it was read.
                            if !read.changed && !entry.unsettled {
                                hard_links.put(&stat, read.content.as_ref(), read.size);
                            }
                            entry.content = read.content;
                            entry.size = read.size;
                            self.finished(task, entry)
                        }
                        Err(error) => self.unreadable(&task, &error)?,
                    });
                }
            }
        }
        self.unreadable(&task, &std::io::Error::other("it keeps changing"))
    }

    /// Reads a file's data, run by run between its holes.
    fn read_large(&self, mut file: OpenedFile, chunker: &Chunker) -> Result<LargeRead, EntryError> {
        let job = &self.context.job;
        let mut content = ContentWriter::new(Arc::clone(job.domain.keys()));
        let mut lists = Vec::new();
        let mut position = 0;
        let size = file.stat().size;
        let mut truncated = false;
        while position < size {
            let run = file
                .next_data(position)?
                .map_or(size..size, |run| run.start.min(size)..run.end.min(size));
            if run.start > position {
                content
                    .hole(position, run.start - position, &mut lists)
                    .map_err(Stop::from)?;
            }
            let mut into = Listed {
                content: &mut content,
                lists: &mut lists,
            };
            position = self.read_run(&mut file, run.clone(), chunker, &mut into)?;
            if position < run.end {
                // It shrank: what was read is kept, and its length is the size.
                truncated = true;
                break;
            }
            self.send_lists(&mut lists)?;
        }
        if !truncated && file.read_at(&mut [0], size)? > 0 && !file.changed_since_open()? {
            // The file system says less than there is. Such files are read to their end.
            let mut into = Listed {
                content: &mut content,
                lists: &mut lists,
            };
            position = self.read_run(&mut file, size..u64::MAX, chunker, &mut into)?;
        }
        let content = content.finish(&mut lists).map_err(Stop::from)?;
        self.send_lists(&mut lists)?;
        let changed = file.changed_since_open()?;
        Ok(LargeRead {
            file,
            content,
            size: position,
            changed,
            short: truncated,
        })
    }

    /// Reads, cuts and hashes one run of data. Returns where it ended: early if the file has become shorter.
    ///
    /// Each buffer begins where a chunk begins and has room for the longest chunk, so there is at least one chunk in
    /// it. The bytes behind the last cut are read again into the next buffer. This costs a copy from the system's
    /// cache, but carrying them over would be a copy, too, and this way no bytes are held while the thread waits for
    /// room.
    fn read_run(
        &self,
        file: &mut OpenedFile,
        run: Range<u64>,
        chunker: &Chunker,
        into: &mut Listed<'_>,
    ) -> Result<u64, EntryError> {
        let (job, generation) = (&self.context.job, &self.context.generation);
        let mut at = run.start;
        while at < run.end {
            fault_point("hasher")?;
            let wanted = (run.end - at).min(CHUNK_MAX as u64);
            let mut permit = generation.budgets.data.take(wanted, &generation.cancel)?;
            let wanted = usize::try_from(wanted).unwrap_or(0);
            let mut buffer = job.pool.take(wanted);
            let found = file.read_full_at(buffer.spare(wanted), at)?;
            buffer.filled(found);
            let shrank = found < wanted;
            let cuts = cut_all(chunker, &buffer, shrank || at + found as u64 >= run.end);
            let used = cuts.last().map_or(0, |cut| cut.end);
            buffer.truncate(used);
            permit.shrink_to(used as u64);
            at += used as u64;
            self.send_cuts(buffer, permit, cuts, into)?;
            if shrank {
                break;
            }
        }
        Ok(at)
    }

    fn capture(&self, task: &FileTask, file: &OpenedFile) -> std::io::Result<Box<Entry>> {
        let mut problems = Vec::new();
        let stat = file.stat();
        let names = &self.context.job.owner_names;
        let mut entry = capture(
            CaptureFrom::Handle(file.as_fd(), &task.name),
            stat,
            names,
            &mut problems,
        )?;
        if stat.device_raw == task.stat.device_raw {
            entry.device = task.stat.device;
        }
        task.clock.mark(&mut entry);
        let path = || task.folder.join(&task.name);
        self.context.job.warnings.all(path, problems);
        Ok(Box::new(entry))
    }

    fn finished(&self, task: FileTask, entry: Box<Entry>) -> FileRead {
        add(&self.context.job.progress.counters.files_done, 1);
        self.context.job.count_read(&task);
        FileRead {
            slot: task.slot,
            folder: (!entry.unsettled).then(|| Arc::clone(task.folder.path())),
            entry: Some(entry),
        }
    }

    fn unreadable(&self, task: &FileTask, error: &std::io::Error) -> Result<FileRead, Stop> {
        if error.kind() == std::io::ErrorKind::NotFound {
            self.warn(task, "vanished before it could be read");
        } else {
            self.context.job.not_read(task.folder.join(&task.name), error)?;
        }
        Ok(FileRead {
            slot: task.slot,
            entry: None,
            folder: None,
        })
    }

    /// Shows the file as the one that is read now. The path of a folder that lies very deep is not written out.
    fn shows(&self, task: &FileTask) {
        let path = task.folder.path();
        let folder = if path.len() > SHOWN {
            b"\xe2\x80\xa6".to_vec()
        } else {
            path.to_vec()
        };
        self.context.job.progress.set_current(&folder, &task.name);
    }

    fn warn(&self, task: &FileTask, message: &str) {
        self.context.job.warnings.add(task.folder.join(&task.name), message);
    }
}

/// A large file that was read to its end.
struct LargeRead {
    file: OpenedFile,
    content: Option<Content>,
    size: u64,
    /// It changed while it was read.
    changed: bool,
    /// There was less to read than the file's size.
    short: bool,
}
