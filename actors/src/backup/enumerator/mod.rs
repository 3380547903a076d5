//! The Enumerator stage walks the frozen sources in byte order of names, in step with the tree of the last recovery
//! point. An entry that has not changed since then (size, mtime, ctime, inode, device) is taken over without being
//! opened. So is a file that an interrupted run had finished, if the vault has its chunks. Files that must be read go
//! to the Hasher. Every step of the walk goes to the Cataloguer.
//!
//! A recovery point's tree begins at `/`. The folders above a source are in it for their attributes only (`implied`).

mod emptiness;
mod file_systems;
mod left_out;
mod log;
mod made;
mod parents;
mod place;
mod previous_point;
mod read_ahead;
mod stored;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::metadata::{CaptureFrom, capture};
use lockstone_host::process::open_files_limit;
use lockstone_host::settle;
use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::{Folder, Stat, WalkEvent, Walker};
use lockstone_proto::limits::{CHUNK_MIN, FRAME_TARGET};
use lockstone_proto::vault::{Consistency, Entry, EntryKind};

use self::file_systems::FileSystems;
use self::place::{Level, Place, Source, SourceTally, components, is_same, looks_same, os_bytes, os_path};
use self::previous_point::{OldFolder, resolve};
use super::job::BackupContext;
use super::journal::Journal;
use super::messages::{Catalogue, FileClock, FileTask, ReadBatch, ToRead, Walked};
use super::source::SourceFrom;
use crate::flow::{Body, Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

/// Steps that are sent together.
const STEPS: usize = 512;
/// At most this many files are in a batch. Their content is at most a frame's.
const MAX_FILES: usize = 256;

pub(super) struct Enumerator {
    context: BackupContext,
    inbox: Receiver<Vec<FrozenSource>>,
    hasher: Sender<ToRead>,
    cataloguer: Sender<Catalogue>,
    /// How many folders a batch may hold open.
    max_folders: usize,
}

/// What is collected until it is sent.
struct Walk {
    steps: Vec<Walked>,
    batch: ReadBatch,
    batch_bytes: u64,
    /// How many folders the batch holds open, at most.
    batch_folders: usize,
    next_slot: u64,
    /// What an interrupted run had read, if there was one.
    journal: Option<Journal>,
    file_systems: FileSystems,
    /// Files, symlinks, fifos and devices of all sources so far.
    kept: u64,
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
        let view = self.read_log()?;
        let mut file_systems = FileSystems::default();
        let sources = self.prepare(frozen, &view, &mut file_systems)?;
        job.progress.set_phase("backing up");
        let journal = Journal::open(job.domain.index())?.filter(|_| !job.request.full);
        let mut walk = Walk {
            steps: Vec::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            batch_folders: 0,
            next_slot: 0,
            journal,
            file_systems,
            kept: 0,
            doubtful: self.is_doubtful(&view),
        };
        walk.steps.push(Walked::Enter(Box::default()));
        self.implied(Path::new("/"), &sources, 0, &mut walk)?;
        walk.steps.push(Walked::Leave);
        if walk.kept == 0 && job.warnings.count() == 0 && job.request.rules.counts().iter().any(|(_, count)| *count > 0)
        {
            job.warnings.add("", emptiness::ALL_LEFT_OUT);
        }
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
        (hasher, cataloguer): (Sender<ToRead>, Sender<Catalogue>),
    ) -> Self {
        Self {
            context: context.clone(),
            inbox,
            hasher,
            cataloguer,
            max_folders: read_ahead::folders_in_batch(&context.job.tuning, open_files_limit()),
        }
    }

    /// Walks the sources below `folder`, `depth` components deep, and the folders that lead to them.
    fn implied(&self, folder: &Path, sources: &[Source], depth: usize, walk: &mut Walk) -> Result<(), Stop> {
        let mut rest = sources;
        while let Some(first) = rest.first() {
            let Some(name) = components(&first.path).nth(depth) else {
                // The source is this folder itself, that is `/`. What is made for the backup lies beside its entries.
                return self.source(first, &rest[1..], walk);
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
                match &source.asked.from {
                    SourceFrom::Producer(producer) => self.produced(source, producer, walk)?,
                    SourceFrom::Path(_) | SourceFrom::Made(_) => self.source(source, &[], walk)?,
                }
                continue;
            }
            let path = folder.join(os_path(name));
            let mut entry = if now.iter().all(|source| source.asked.from.is_made()) {
                self.made_entry(EntryKind::Folder)
            } else {
                let old = now.iter().find_map(|source| source.old.as_ref());
                let old = old.and_then(|old| resolve(&self.context.job, &old.point, &os_bytes(&path)));
                self.above(&path, old.as_ref(), &mut walk.file_systems)?
            };
            entry.name = Bytes::copy_from_slice(name);
            entry.implied = true;
            walk.steps.push(Walked::Enter(Box::new(entry)));
            self.implied(&path, now, depth + 1, walk)?;
            walk.steps.push(Walked::Leave);
        }
        Ok(())
    }

    /// The attributes of a folder above a source. `old` is the folder in the last recovery point.
    fn above(&self, path: &Path, old: Option<&Entry>, file_systems: &mut FileSystems) -> Result<Entry, Stop> {
        let gone = |error: std::io::Error| {
            Fault::permanent(format!("{}: {error}", path.display()))
                .hint("make the folders above the source readable for this program")
        };
        let now = settle::now();
        let (folder, mut stat) = Folder::open(path).map_err(gone)?;
        file_systems.meet(&mut stat, &folder, old);
        let clock = FileClock {
            at_least: file_systems.clock(now),
            now,
            seen_before: None,
        };
        let mut problems = Vec::new();
        let names = &self.context.job.owner_names;
        let mut entry =
            capture(CaptureFrom::Handle(folder.handle(), b""), &stat, names, &mut problems).map_err(gone)?;
        clock.mark(&mut entry);
        self.context.job.warnings.all(|| os_bytes(path), problems);
        Ok(entry)
    }

    /// Walks one source. `beside`: sources that are put among the entries of the source `/`, in their order.
    fn source(&self, source: &Source, beside: &[Source], walk: &mut Walk) -> Result<(), Stop> {
        let walker = Walker::new(&source.frozen, &source.asked.rules).map_err(|error| {
            Fault::permanent(format!("{}: {error}", source.frozen.source.display()))
                .hint("the source must exist and be readable when the backup begins")
        })?;
        let above = source.frozen.source.parent().unwrap_or(Path::new("/"));
        let mut place = Place {
            source,
            beside,
            named: source.path != b"/",
            device_above: Folder::open(above).map_or(0, |(_, stat)| stat.device),
            folders: Vec::new(),
            seen: (0, 0),
            tally: SourceTally::default(),
        };
        read_ahead::each(walker, &self.context.generation.cancel, |event, seen| {
            fault_point("enumerator")?;
            place.seen = seen;
            self.step(event, &mut place, walk)?;
            if walk.steps.len() >= STEPS {
                self.flush(walk)?;
            }
            Ok(())
        })?;
        self.implied(Path::new("/"), place.beside, 0, walk)?;
        self.judge(&place)?;
        walk.kept += place.tally.kept;
        Ok(())
    }

    /// What is known about the clock of the file system met last, from before the entry met there was seen.
    fn clock(&self, file_systems: &FileSystems, place: &Place<'_>) -> FileClock {
        let source = &place.source.frozen;
        let is_frozen = source.consistency == Consistency::Snapshot || !source.devices.is_empty();
        // A snapshot shows what was there when it was taken.
        let now = if is_frozen {
            place.seen.min(self.context.job.started_at())
        } else {
            place.seen
        };
        FileClock {
            at_least: file_systems.clock(now),
            now,
            seen_before: None,
        }
    }

    fn step(&self, event: WalkEvent, place: &mut Place<'_>, walk: &mut Walk) -> Result<(), Stop> {
        let job = &self.context.job;
        if !place.beside.is_empty() {
            self.put_beside(&event, place, walk)?;
        }
        match event {
            WalkEvent::Enter { name, mut stat, folder } => {
                let old = place.old(&name).filter(|old| old.kind() == EntryKind::Folder);
                let device = stat.device;
                if old.as_ref().is_some_and(|old| place.lost_its_mount(old, &stat)) {
                    job.warnings.add(folder.path().to_vec(), emptiness::NOT_MOUNTED);
                }
                walk.file_systems.meet(&mut stat, &folder, old.as_ref());
                let beneath = Level {
                    old: old.as_ref().map(|old| OldFolder::open(job, old.page.clone())),
                    old_device: old.as_ref().map_or(0, |old| old.device),
                    device,
                };
                add(&job.progress.counters.folders, 1);
                if place.is_in_tree() {
                    let entry = match old {
                        Some(mut entry) if is_same(&entry, &stat) => {
                            entry.page = Bytes::new();
                            entry.implied = false;
                            self.refresh_names(&mut entry);
                            entry
                        }
                        old => {
                            let mut clock = self.clock(&walk.file_systems, place);
                            clock.compare(old.as_ref().filter(|old| looks_same(old, &stat)), place.compared_with());
                            let mut entry = self.folder(&folder, &name, &stat)?;
                            clock.mark(&mut entry);
                            entry
                        }
                    };
                    walk.steps.push(Walked::Enter(Box::new(entry)));
                }
                place.folders.push(beneath);
            }
            WalkEvent::Entry { folder, name, mut stat } => {
                let old = place.old(&name);
                walk.file_systems.meet(&mut stat, &folder, old.as_ref());
                place.tally.kept += 1;
                let file = FileTask {
                    clock: self.clock(&walk.file_systems, place),
                    folder,
                    name,
                    stat,
                    known: old.as_ref().is_some_and(|old| old.kind() != EntryKind::Folder),
                    slot: walk.next_slot,
                };
                self.entry(file, old, place.compared_with(), walk)?;
            }
            WalkEvent::Leave => {
                place.folders.pop();
                if place.is_in_tree() {
                    walk.steps.push(Walked::Leave);
                }
            }
            WalkEvent::Skipped { path, what } => {
                place.tally.left_out += 1;
                self.skipped(path, what, place);
            }
            WalkEvent::Problem { path, error } => {
                place.tally.problems += 1;
                job.not_read(path, &error)?;
            }
        }
        Ok(())
    }

    fn folder(&self, folder: &Arc<Folder>, name: &[u8], stat: &Stat) -> Result<Entry, Stop> {
        let job = &self.context.job;
        let mut problems = Vec::new();
        let from = CaptureFrom::Handle(folder.handle(), b"");
        let captured = capture(from, stat, &job.owner_names, &mut problems);
        job.warnings.all(|| folder.path().to_vec(), problems);
        let mut entry = captured.map_err(|error| {
            let path = folder.path().to_vec();
            Fault::if_out_of_handles(&path, &error)
                .unwrap_or_else(|| Fault::transient(format!("{}: {error}", String::from_utf8_lossy(&path))))
        })?;
        entry.name = Bytes::copy_from_slice(name);
        Ok(entry)
    }

    /// Decides about an entry that is not a folder: it is taken over, captured here, or sent to the Hasher.
    fn entry(
        &self,
        mut file: FileTask,
        old: Option<Entry>,
        compared_with: Option<i64>,
        walk: &mut Walk,
    ) -> Result<(), Stop> {
        let counters = &self.context.job.progress.counters;
        add(&counters.files_seen, 1);
        let is_file = file.stat.is_file();
        let size = if is_file { file.stat.size } else { 0 };
        add(&counters.bytes_seen, size);
        if let Some(old) = old.filter(|old| looks_same(old, &file.stat)) {
            if old.unsettled {
                file.clock.compare(Some(&old), compared_with);
            } else if !walk.doubtful || self.is_stored(&old)? {
                add(&counters.files_unchanged, 1);
                self.taken_over(old, size, walk);
                return Ok(());
            }
        }
        if !is_file {
            self.context.job.count_read(&file);
            return self.special(&file, walk);
        }
        if let Some(journal) = &mut walk.journal
            && let Some(done) = self.journaled(journal, &file)?
        {
            add(&counters.files_resumed, 1);
            self.context.job.count_read(&file);
            self.taken_over(done, size, walk);
            return Ok(());
        }
        if compared_with.is_some() {
            self.context.job.suffixes.count(&file.name);
        }
        self.send(file, walk)
    }

    /// Captures a symlink, fifo or device, which has no content to read.
    fn special(&self, file: &FileTask, walk: &mut Walk) -> Result<(), Stop> {
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
            Ok(mut entry) => {
                file.clock.mark(&mut entry);
                add(&job.progress.counters.files_done, 1);
                walk.steps.push(Walked::Entry(Box::new(entry)));
            }
            Err(error) => job.not_read(path(), &error)?,
        }
        Ok(())
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
        let is_new = walk
            .batch
            .last()
            .is_none_or(|last| !Arc::ptr_eq(&last.folder, &file.folder));
        walk.batch_folders += usize::from(is_new);
        walk.batch.push(file);
        walk.batch_bytes += size;
        if !small || walk.batch.len() >= MAX_FILES || walk.batch_folders >= self.max_folders {
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
        let found = journal.find(index, &file.folder.path().to_vec(), &file.name)?;
        let Some(entry) = found.filter(|entry| is_same(entry, &file.stat)) else {
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
        walk.batch_folders = 0;
        self.hasher.send(ToRead::Files(std::mem::take(&mut walk.batch)))
    }

    /// Sends what was collected. Files go first: the steps may wait for room that only these files can make.
    fn flush(&self, walk: &mut Walk) -> Result<(), Stop> {
        self.send_batch(walk)?;
        self.context.generation.window.take(walk.steps.len())?;
        self.cataloguer.send(Catalogue::Walked(std::mem::take(&mut walk.steps)))
    }
}
