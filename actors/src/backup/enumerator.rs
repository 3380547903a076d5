//! The Enumerator stage: walks the frozen sources in byte order of names, beside the tree of the last recovery point.
//! An entry that is as it was then (size, mtime, ctime, inode, device) is taken over without being opened; so is a file
//! that an interrupted run had finished, if the vault has its chunks. What has to be read goes to the Hasher; the
//! Cataloguer hears every step.
//!
//! A point's tree begins at `/`: the folders above a source are in it, for their attributes only (`implied`).

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::metadata::{CaptureFrom, capture};
use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::{Folder, SkipReason, Stat, WalkEvent, Walker};
use lockstone_proto::ids::{ChunkId, PointId};
use lockstone_proto::limits::{CHUNK_MIN, FRAME_TARGET};
use lockstone_proto::vault::{Consistency, Entry, EntryKind};
use lockstone_vault::log::LogView;

use super::ahead;
use super::journal::Journal;
use super::messages::{Catalogue, FileTask, ReadBatch, Walked};
use super::previous::{OldFolder, resolve};
use super::{Base, Context};
use crate::contents::Chunks;
use crate::flow::{Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

/// Steps that are sent together.
const STEPS: usize = 512;
/// Most files of a batch; their content is bounded by a frame's.
const FILES: usize = 256;

pub(super) struct Enumerator {
    pub(super) context: Context,
    pub(super) inbox: Receiver<Vec<FrozenSource>>,
    pub(super) hasher: Sender<ReadBatch>,
    pub(super) cataloguer: Sender<Catalogue>,
}

/// What is collected until it is sent.
struct Walk {
    steps: Vec<Walked>,
    batch: ReadBatch,
    batch_bytes: u64,
    next_slot: u64,
    /// An interrupted run left finished files.
    journal: Option<Journal>,
}

/// A source, and what the last point has of it.
struct Source {
    frozen: FrozenSource,
    path: Vec<u8>,
    old: Option<Old>,
}

struct Old {
    entry: Entry,
    /// When that point's run began: what changed later may not have been seen by it.
    started: (i64, u32),
}

impl Enumerator {
    pub(super) fn run(self) -> Result<(), Stop> {
        let Some(frozen) = self.inbox.recv()? else {
            return Err(Stop::Broken("sources"));
        };
        let job = &self.context.job;
        job.progress.set_phase("reading the index");
        let view = self.race(job.domain.refresh())??;
        let sources = self.prepare(frozen, &view);
        job.progress.set_phase("backing up");
        if view.log_damaged {
            return Err(
                Fault::integrity("the log of this domain is damaged, so nothing can be added to it")
                    .hint("Run `lockstone check` to see what is damaged. Undamaged points can still be restored.")
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

    fn race<F: Future>(&self, task: F) -> Result<F::Output, Stop> {
        self.context.job.engine.race(&self.context.generation.cancel, task)
    }

    /// Chooses for each source the point to compare with: the last one of this server that had the same source.
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
                    Some(Old {
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
        // Set once a generation, by this stage.
        let _ = self.context.generation.base.set(base);
        sources
    }

    /// Walks the sources below `folder`, `depth` components deep, and the folders that lead to them.
    fn implied(&self, folder: &Path, sources: &[Source], depth: usize, walk: &mut Walk) -> Result<(), Stop> {
        let mut rest = sources;
        while let Some(first) = rest.first() {
            let Some(name) = components(&first.path).nth(depth) else {
                // The source is this folder itself: `/`.
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
            Fault::permanent(format!("{}: {error}", path.display())).hint("A folder above a source can't be read.")
        };
        let (folder, stat) = Folder::open(path).map_err(gone)?;
        let mut problems = Vec::new();
        let names = &self.context.job.owner_names;
        let entry = capture(CaptureFrom::Handle(folder.handle(), b""), &stat, names, &mut problems).map_err(gone)?;
        for problem in problems {
            self.context.job.warnings.add(os_bytes(path), problem);
        }
        Ok(entry)
    }

    /// Walks one source. `named`: its own entry is part of the tree, as it is for all but `/`.
    fn source(&self, source: &Source, walk: &mut Walk, named: bool) -> Result<(), Stop> {
        let job = &self.context.job;
        let walker = Walker::new(&source.frozen, &job.request.rules).map_err(|error| {
            Fault::permanent(format!("{}: {error}", source.frozen.source.display()))
                .hint("The source must exist and be readable when the backup begins.")
        })?;
        // The folders on the way down, with what the last point has of each.
        let mut folders: Vec<Option<OldFolder>> = Vec::new();
        ahead::each(walker, |event| {
            fault_point("enumerator")?;
            self.step(event, source, &mut folders, walk, named)?;
            if walk.steps.len() >= STEPS {
                self.flush(walk)?;
            }
            Ok(())
        })
    }

    fn step(
        &self,
        event: WalkEvent,
        source: &Source,
        folders: &mut Vec<Option<OldFolder>>,
        walk: &mut Walk,
        named: bool,
    ) -> Result<(), Stop> {
        let job = &self.context.job;
        let started = source.old.as_ref().map(|old| old.started);
        let old = |folders: &mut Vec<Option<OldFolder>>, name: &[u8]| match folders.last_mut() {
            Some(old) => old.as_mut().and_then(|old| old.find(name)),
            None => source.old.as_ref().map(|old| old.entry.clone()),
        };
        match event {
            WalkEvent::Enter { name, stat, folder } => {
                let old = old(folders, &name).filter(|old| old.kind() == EntryKind::Folder);
                let beneath = old.as_ref().map(|old| OldFolder::open(job, old.page.clone()));
                add(&job.progress.counters.folders, 1);
                if named || !folders.is_empty() {
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
                folders.push(beneath);
            }
            WalkEvent::Entry { folder, name, stat } => {
                let old = old(folders, &name);
                self.entry(&folder, name, stat, old, started, walk)?;
            }
            WalkEvent::Leave => {
                folders.pop();
                if named || !folders.is_empty() {
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
                // Every backup of `/` meets the agent's own state, and that is as it should be.
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
        for problem in problems {
            job.warnings.add(folder.path(), problem);
        }
        let mut entry = captured
            .map_err(|error| Fault::transient(format!("{}: {error}", String::from_utf8_lossy(folder.path()))))?;
        entry.name = Bytes::copy_from_slice(name);
        Ok(entry)
    }

    fn entry(
        &self,
        folder: &Arc<Folder>,
        name: Vec<u8>,
        stat: Stat,
        old: Option<Entry>,
        started: Option<(i64, u32)>,
        walk: &mut Walk,
    ) -> Result<(), Stop> {
        let job = &self.context.job;
        let counters = &job.progress.counters;
        add(&counters.files_seen, 1);
        let is_file = stat.is_file();
        let size = if is_file { stat.size } else { 0 };
        add(&counters.bytes_seen, size);
        let known = old.as_ref().is_some_and(|old| old.kind() != EntryKind::Folder);
        if let (Some(old), Some(started)) = (old, started)
            && is_same(&old, &stat, started)
        {
            add(&counters.files_unchanged, 1);
            return self.taken_over(old, size, walk);
        }
        if is_file
            && let Some(journal) = &mut walk.journal
            && let Some(done) = self.journaled(journal, folder, &name, &stat)?
        {
            add(&counters.files_resumed, 1);
            add(
                if known {
                    &counters.files_changed
                } else {
                    &counters.files_new
                },
                1,
            );
            return self.taken_over(done, size, walk);
        }
        add(
            if known {
                &counters.files_changed
            } else {
                &counters.files_new
            },
            1,
        );
        if !is_file {
            let mut problems = Vec::new();
            let captured = capture(CaptureFrom::Name(folder, &name), &stat, &job.owner_names, &mut problems);
            for problem in problems {
                job.warnings.add(folder.join(&name), problem);
            }
            match captured {
                Ok(entry) => {
                    add(&counters.files_done, 1);
                    walk.steps.push(Walked::Entry(Box::new(entry)));
                }
                Err(error) => job
                    .warnings
                    .add(folder.join(&name), format!("could not be read: {error}")),
            }
            return Ok(());
        }
        let slot = walk.next_slot;
        walk.next_slot += 1;
        walk.steps.push(Walked::Pending(slot));
        let small = stat.size < CHUNK_MIN as u64;
        let overflows = walk.batch_bytes + stat.size > FRAME_TARGET as u64;
        // A large file has a batch to itself, so that another reader can take the small ones.
        if !walk.batch.is_empty() && (overflows || !small) {
            self.send_batch(walk)?;
        }
        walk.batch.push(FileTask {
            folder: Arc::clone(folder),
            name,
            stat,
            slot,
        });
        walk.batch_bytes += size;
        if !small || walk.batch.len() >= FILES {
            self.send_batch(walk)?;
        }
        Ok(())
    }

    fn taken_over(&self, mut entry: Entry, size: u64, walk: &mut Walk) -> Result<(), Stop> {
        let counters = &self.context.job.progress.counters;
        add(&counters.files_done, 1);
        add(&counters.bytes_done, size);
        self.refresh_names(&mut entry);
        walk.steps.push(Walked::Entry(Box::new(entry)));
        Ok(())
    }

    /// What an interrupted run had of the file, if it still is that file and all of its chunks are durable.
    fn journaled(
        &self,
        journal: &mut Journal,
        folder: &Folder,
        name: &[u8],
        stat: &Stat,
    ) -> Result<Option<Entry>, Stop> {
        let job = &self.context.job;
        let index = job.domain.index();
        // The record's own run did not write it before the file had settled, so any start will do here.
        let always = (i64::MAX, 0);
        let found = journal.find(index, folder.path(), name)?;
        let Some(entry) = found.filter(|entry| is_same(entry, stat, always)) else {
            return Ok(None);
        };
        let Some(content) = &entry.content else {
            return Ok((entry.size == 0).then_some(entry));
        };
        let lists = content
            .ids
            .chunks_exact(ChunkId::LEN)
            .filter_map(|id| ChunkId::try_from(id).ok());
        let mut ids: Vec<ChunkId> = lists.collect();
        if content.level > 0 {
            // The lists themselves must be durable, and so must all that they list. One that can't be read says no.
            for placed in Chunks::of(&entry, &job.domain, &job.engine) {
                let Ok(placed) = placed else { return Ok(None) };
                ids.push(placed.id);
            }
        }
        let places = index.lookup(&ids)?;
        Ok(places.iter().all(Option::is_some).then_some(entry))
    }

    /// The names of owners are the machine's own matter and leave no mark on a file: they are looked up anew.
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

    /// Sends what was collected: files first, as the room that steps wait for may be theirs to make.
    fn flush(&self, walk: &mut Walk) -> Result<(), Stop> {
        self.send_batch(walk)?;
        self.context.generation.window.take(walk.steps.len())?;
        self.cataloguer.send(Catalogue::Walked(std::mem::take(&mut walk.steps)))
    }
}

/// Whether an entry is still what a point that began at `started` says of it. A change within the last tick before that
/// may have left the times as they are: it counts as changed.
fn is_same(old: &Entry, stat: &Stat, started: (i64, u32)) -> bool {
    old.kind() == stat.kind()
        && (old.kind() == EntryKind::Folder || old.size == if stat.is_file() { stat.size } else { 0 })
        && (old.mtime_s, old.mtime_ns) == (stat.mtime_s, stat.mtime_ns)
        && (old.ctime_s, old.ctime_ns) == (stat.ctime_s, stat.ctime_ns)
        && (old.inode, old.device) == (stat.inode, stat.device)
        && super::settled_before((stat.ctime_s, stat.ctime_ns), started)
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}

fn os_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

fn os_path(name: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name))
}
