//! The Enumerator stage walks the frozen sources in byte order of names, in step with the tree of the last recovery
//! point. An entry that has not changed since then (size, mtime, ctime, inode, device) is taken over without being
//! opened. So is a file that an interrupted run had finished, if the vault has its chunks. Files that must be read go
//! to the Hasher. Every step of the walk goes to the Cataloguer.
//!
//! A recovery point's tree begins at `/`. The folders above a source are in it for their attributes only (`implied`).

mod place;
mod previous_point;
mod read_ahead;
mod stored;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::metadata::{CaptureFrom, capture};
use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::{Folder, SkipReason, Stat, WalkEvent, Walker};
use lockstone_proto::ids::PointId;
use lockstone_proto::limits::{CHUNK_MIN, FRAME_TARGET};
use lockstone_proto::vault::{Consistency, Entry, EntryKind};
use lockstone_vault::log::LogView;

use self::place::{OldSource, Place, Source, components, is_same, os_bytes, os_path};
use self::previous_point::{OldFolder, resolve};
use super::job::{BackupContext, Base};
use super::journal::Journal;
use super::messages::{Catalogue, FileTask, ReadBatch, Walked};
use crate::flow::{Body, Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

/// Steps that are sent together.
const STEPS: usize = 512;
/// At most this many files are in a batch. Their content is at most a frame's.
const MAX_FILES: usize = 256;

pub(super) struct Enumerator {
    context: BackupContext,
    inbox: Receiver<Vec<FrozenSource>>,
    hasher: Sender<ReadBatch>,
    cataloguer: Sender<Catalogue>,
}

/// What is collected until it is sent.
struct Walk {
    steps: Vec<Walked>,
    batch: ReadBatch,
    batch_bytes: u64,
    next_slot: u64,
    /// What an interrupted run had read, if there was one.
    journal: Option<Journal>,
    /// Whether the chunks of unchanged files are looked up, because some may be gone from the vault.
    doubtful: bool,
}

impl Body for Enumerator {
    fn run(self) -> Result<(), Stop> {
        let Some(frozen) = self.inbox.recv()? else {
            return Err(Stop::Broken("sources"));
        };
        let job = &self.context.job;
        job.progress.set_phase("reading the index");
        let refresh = job.domain.refresh();
        let view = job.engine.run_cancellable(&self.context.generation.cancel, refresh)??;
        let sources = self.prepare(frozen, &view);
        job.progress.set_phase("backing up");
        if view.log_damaged {
            return Err(
                Fault::integrity("the log of this domain is damaged, so nothing can be added to it")
                    .hint("run `lockstone check` to see what is damaged; undamaged points can still be restored")
                    .into(),
            );
        }
        let journal = Journal::open(job.domain.index())?.filter(|_| !job.request.full);
        let mut walk = Walk {
            steps: Vec::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            next_slot: 0,
            journal,
            doubtful: self.is_doubtful(&view, &self.context.generation.base()?.parents),
        };
        walk.steps.push(Walked::Enter(Box::default()));
        self.implied(Path::new("/"), &sources, 0, &mut walk)?;
        walk.steps.push(Walked::Leave);
        self.flush(&mut walk)?;
        job.progress.seen_all();
        self.hasher.finish();
        self.cataloguer.finish();
        Ok(())
    }
}

impl Enumerator {
    pub(super) fn new(
        context: &BackupContext,
        inbox: Receiver<Vec<FrozenSource>>,
        (hasher, cataloguer): (Sender<ReadBatch>, Sender<Catalogue>),
    ) -> Self {
        Self {
            context: context.clone(),
            inbox,
            hasher,
            cataloguer,
        }
    }

    /// Chooses the recovery point to compare each source with: the last one of this server that had the same source.
    fn prepare(&self, frozen: Vec<FrozenSource>, view: &LogView) -> Vec<Source> {
        let job = &self.context.job;
        let server = job.domain.server();
        let mut parents: Vec<PointId> = Vec::new();
        let weakest = if frozen.iter().all(|source| source.consistency == Consistency::Snapshot) {
            Consistency::Snapshot
        } else {
            Consistency::Live
        };
        let mut sources: Vec<Source> = frozen
            .into_iter()
            .map(|frozen| {
                let path = os_bytes(&frozen.source);
                let parent = view.points.iter().rev().find(|point| {
                    point.forgotten.is_none()
                        && Some(point.server) == server
                        && point.body.sources.iter().any(|source| source.as_ref() == path)
                });
                let old = parent.filter(|_| !job.request.full).and_then(|point| {
                    let entry = resolve(job, &point.body.root, &path)?;
                    if !parents.contains(&point.id) {
                        parents.push(point.id);
                    }
                    Some(OldSource {
                        entry,
                        started: (point.summary.started_s, point.summary.started_ns),
                    })
                });
                Source { frozen, path, old }
            })
            .collect();
        sources.sort_by(|a, b| components(&a.path).cmp(components(&b.path)));
        *job.consistency.lock() = weakest;
        let base = Base {
            index_position: view.head.n,
            parents,
            sources: sources.iter().map(|source| source.path.clone()).collect(),
            consistency: weakest,
        };
        self.context.generation.set_base(base);
        sources
    }

    /// Walks the sources below `folder`, `depth` components deep, and the folders that lead to them.
    fn implied(&self, folder: &Path, sources: &[Source], depth: usize, walk: &mut Walk) -> Result<(), Stop> {
        let mut rest = sources;
        while let Some(first) = rest.first() {
            let Some(name) = components(&first.path).nth(depth) else {
                // The source is this folder itself, that is `/`.
                self.source(first, walk, false)?;
                rest = &rest[1..];
                continue;
            };
            let group = rest
                .iter()
                .take_while(|source| components(&source.path).nth(depth) == Some(name))
                .count();
            let (now, later) = rest.split_at(group);
            rest = later;
            if let [source] = now
                && components(&source.path).nth(depth + 1).is_none()
            {
                self.source(source, walk, true)?;
                continue;
            }
            let path = folder.join(os_path(name));
            let mut entry = self.above(&path)?;
            entry.name = Bytes::copy_from_slice(name);
            entry.implied = true;
            walk.steps.push(Walked::Enter(Box::new(entry)));
            self.implied(&path, now, depth + 1, walk)?;
            walk.steps.push(Walked::Leave);
        }
        Ok(())
    }

    /// The attributes of a folder above a source.
    fn above(&self, path: &Path) -> Result<Entry, Stop> {
        let gone = |error: std::io::Error| {
            Fault::permanent(format!("{}: {error}", path.display()))
                .hint("make the folders above the source readable for this program")
        };
        let (folder, stat) = Folder::open(path).map_err(gone)?;
        let mut problems = Vec::new();
        let names = &self.context.job.owner_names;
        let entry = capture(CaptureFrom::Handle(folder.handle(), b""), &stat, names, &mut problems).map_err(gone)?;
        self.context.job.warnings.all(|| os_bytes(path), problems);
        Ok(entry)
    }

    /// Walks one source. `named`: the source's own entry is part of the tree. This is so for all sources except `/`.
    fn source(&self, source: &Source, walk: &mut Walk, named: bool) -> Result<(), Stop> {
        let job = &self.context.job;
        let walker = Walker::new(&source.frozen, &job.request.rules).map_err(|error| {
            Fault::permanent(format!("{}: {error}", source.frozen.source.display()))
                .hint("the source must exist and be readable when the backup begins")
        })?;
        let mut place = Place {
            source,
            named,
            folders: Vec::new(),
        };
        read_ahead::each(walker, |event| {
            fault_point("enumerator")?;
            self.step(event, &mut place, walk)?;
            if walk.steps.len() >= STEPS {
                self.flush(walk)?;
            }
            Ok(())
        })
    }

    fn step(&self, event: WalkEvent, place: &mut Place<'_>, walk: &mut Walk) -> Result<(), Stop> {
        let job = &self.context.job;
        match event {
            WalkEvent::Enter { name, stat, folder } => {
                let old = place.old(&name).filter(|old| old.kind() == EntryKind::Folder);
                let beneath = old.as_ref().map(|old| OldFolder::open(job, old.page.clone()));
                add(&job.progress.counters.folders, 1);
                if place.is_in_tree() {
                    let started = place.started();
                    let same = old.filter(|old| started.is_some_and(|started| is_same(old, &stat, started)));
                    let entry = match same {
                        Some(mut entry) => {
                            entry.page = Bytes::new();
                            entry.implied = false;
                            self.refresh_names(&mut entry);
                            entry
                        }
                        None => self.folder(&folder, &name, &stat)?,
                    };
                    walk.steps.push(Walked::Enter(Box::new(entry)));
                }
                place.folders.push(beneath);
            }
            WalkEvent::Entry { folder, name, stat } => {
                let old = place.old(&name);
                let file = FileTask {
                    folder,
                    name,
                    stat,
                    slot: walk.next_slot,
                };
                self.entry(file, old, place.started(), walk)?;
            }
            WalkEvent::Leave => {
                place.folders.pop();
                if place.is_in_tree() {
                    walk.steps.push(Walked::Leave);
                }
            }
            WalkEvent::Skipped { path, what } => self.skipped(path, what),
            WalkEvent::Problem { path, error } => job.warnings.add(path, format!("could not be read: {error}")),
        }
        Ok(())
    }

    fn skipped(&self, path: Vec<u8>, what: SkipReason) {
        let job = &self.context.job;
        match what {
            SkipReason::Socket => add(&job.progress.counters.sockets, 1),
            SkipReason::Excluded
            | SkipReason::OtherFileSystem
            | SkipReason::CacheDir
            | SkipReason::PseudoFileSystem => {}
            SkipReason::Forbidden => {
                use std::os::unix::ffi::OsStrExt;
                // Every backup of `/` meets the agent's own state folder. This needs no warning.
                let own = job.request.state_dir.as_os_str().as_bytes();
                if path
                    .strip_prefix(own)
                    .is_none_or(|rest| !rest.is_empty() && !rest.starts_with(b"/"))
                {
                    job.warnings.add(path, "left out: it is a vault, or Lockstone's own");
                }
            }
        }
    }

    fn folder(&self, folder: &Arc<Folder>, name: &[u8], stat: &Stat) -> Result<Entry, Stop> {
        let job = &self.context.job;
        let mut problems = Vec::new();
        let captured = capture(
            CaptureFrom::Handle(folder.handle(), b""),
            stat,
            &job.owner_names,
            &mut problems,
        );
        job.warnings.all(|| folder.path().to_vec(), problems);
        let mut entry = captured
            .map_err(|error| Fault::transient(format!("{}: {error}", String::from_utf8_lossy(folder.path()))))?;
        entry.name = Bytes::copy_from_slice(name);
        Ok(entry)
    }

    /// Decides about an entry that is not a folder: it is taken over, captured here, or sent to the Hasher.
    fn entry(
        &self,
        file: FileTask,
        old: Option<Entry>,
        started: Option<(i64, u32)>,
        walk: &mut Walk,
    ) -> Result<(), Stop> {
        let counters = &self.context.job.progress.counters;
        add(&counters.files_seen, 1);
        let is_file = file.stat.is_file();
        let size = if is_file { file.stat.size } else { 0 };
        add(&counters.bytes_seen, size);
        let known = old.as_ref().is_some_and(|old| old.kind() != EntryKind::Folder);
        if let (Some(old), Some(started)) = (old, started)
            && is_same(&old, &file.stat, started)
            && (!walk.doubtful || self.is_stored(&old)?)
        {
            add(&counters.files_unchanged, 1);
            self.taken_over(old, size, walk);
            return Ok(());
        }
        let new_or_changed = if known {
            &counters.files_changed
        } else {
            &counters.files_new
        };
        add(new_or_changed, 1);
        if !is_file {
            self.special(&file, walk);
            return Ok(());
        }
        if let Some(journal) = &mut walk.journal
            && let Some(done) = self.journaled(journal, &file)?
        {
            add(&counters.files_resumed, 1);
            self.taken_over(done, size, walk);
            return Ok(());
        }
        self.send(file, walk)
    }

    /// Captures a symlink, fifo or device, which has no content to read.
    fn special(&self, file: &FileTask, walk: &mut Walk) {
        let job = &self.context.job;
        let path = || file.folder.join(&file.name);
        let mut problems = Vec::new();
        let names = &job.owner_names;
        let captured = capture(
            CaptureFrom::Name(&file.folder, &file.name),
            &file.stat,
            names,
            &mut problems,
        );
        job.warnings.all(path, problems);
        match captured {
            Ok(entry) => {
                add(&job.progress.counters.files_done, 1);
                walk.steps.push(Walked::Entry(Box::new(entry)));
            }
            Err(error) => job.warnings.add(path(), format!("could not be read: {error}")),
        }
    }

    /// Puts a file into the batch for the Hasher, and its slot into the walk.
    fn send(&self, file: FileTask, walk: &mut Walk) -> Result<(), Stop> {
        walk.next_slot += 1;
        walk.steps.push(Walked::Pending(file.slot));
        let size = file.stat.size;
        let small = size < CHUNK_MIN as u64;
        let overflows = walk.batch_bytes + size > FRAME_TARGET as u64;
        // A large file has a batch to itself, so that another reader can take the small ones.
        if !walk.batch.is_empty() && (overflows || !small) {
            self.send_batch(walk)?;
        }
        walk.batch.push(file);
        walk.batch_bytes += size;
        if !small || walk.batch.len() >= MAX_FILES {
            self.send_batch(walk)?;
        }
        Ok(())
    }

    /// Puts an entry into the walk without opening the file.
    fn taken_over(&self, mut entry: Entry, size: u64, walk: &mut Walk) {
        let counters = &self.context.job.progress.counters;
        add(&counters.files_done, 1);
        add(&counters.bytes_done, size);
        self.refresh_names(&mut entry);
        walk.steps.push(Walked::Entry(Box::new(entry)));
    }

    /// The entry of a file that an interrupted run had read, if the file has not changed and all of its chunks are
    /// durable.
    fn journaled(&self, journal: &mut Journal, file: &FileTask) -> Result<Option<Entry>, Stop> {
        let job = &self.context.job;
        let index = job.domain.index();
        // The run that wrote the record only did so after the file had settled. So its start does not matter here.
        let always = (i64::MAX, 0);
        let found = journal.find(index, file.folder.path(), &file.name)?;
        let Some(entry) = found.filter(|entry| is_same(entry, &file.stat, always)) else {
            return Ok(None);
        };
        if entry.content.is_none() && entry.size > 0 {
            return Ok(None);
        }
        Ok(self.is_stored(&entry)?.then_some(entry))
    }

    /// Looks the names of the owners up again: they can change without any change to the file.
    fn refresh_names(&self, entry: &mut Entry) {
        let names = &self.context.job.owner_names;
        let user = names.user(entry.uid);
        if entry.user.as_ref() != user.as_ref() {
            entry.user = user;
        }
        let group = names.group(entry.gid);
        if entry.group.as_ref() != group.as_ref() {
            entry.group = group;
        }
    }

    fn send_batch(&self, walk: &mut Walk) -> Result<(), Stop> {
        if walk.batch.is_empty() {
            return Ok(());
        }
        walk.batch_bytes = 0;
        self.hasher.send(std::mem::take(&mut walk.batch))
    }

    /// Sends what was collected. Files go first: the steps may wait for room that only these files can make.
    fn flush(&self, walk: &mut Walk) -> Result<(), Stop> {
        self.send_batch(walk)?;
        self.context.generation.window.take(walk.steps.len())?;
        self.cataloguer.send(Catalogue::Walked(std::mem::take(&mut walk.steps)))
    }
}
