//! The Planner stage walks the recovery point's tree in order, decides what becomes of each entry, and looks up where
//! the chunks are. It plans one window of the tree at a time. Within a window, all chunks of a frame are taken from the
//! frame together, frames that are side by side in a pack become one range, and each range is fetched once. The backup
//! filled the frames in walk order, too, so two windows rarely need the same frame.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::MIB;
use lockstone_proto::vault::{Entry, EntryKind, Page, PageRef};
use lockstone_vault::index::ChunkPlace;
use lockstone_vault::points::{Found, PageSource, lookup};
use lockstone_vault::tree::check_child;

use super::job::RestoreContext;
use super::messages::{FramePlan, RangePlan, Wanted, WriteTask};
use super::place::Place;
use super::selection::{Pick, Scope, Selection};
use super::writer::open_files::{FileOut, FolderOut};
use crate::contents::{Chunks, Placed};
use crate::flow::{Body, EntryError, Fault, Sender, Stop, fault_point};
use crate::progress::add;

/// A window has at most about this many raw bytes of chunks.
const WINDOW_BYTES: u64 = 64 * MIB;
/// A window has at most about this many chunks, files and folders.
const WINDOW_CHUNKS: usize = 16 * 1024;
/// A window has at most about this many bytes of names and attributes.
const WINDOW_NAMES: usize = 16 << 20;
/// The largest range of a pack that is fetched at once, sealed bytes.
const RANGE_MAX: u64 = 4 * MIB;
/// Files or folders in one message. Few enough that the Writer's threads can share the work.
const BATCH: usize = 64;
/// A gap between wanted frames up to this many bytes is fetched, too, because that costs less than another request.
const GAP_MAX: u64 = 128 * 1024;

pub(super) struct Planner {
    pub(super) context: RestoreContext,
    fetcher: Sender<RangePlan>,
    writer: Sender<WriteTask>,
}

/// The page above another one, and the position of that one among its children.
type Above = (Arc<Page>, usize);

/// What is planned together: chunks, and the files and folders that are finished with them.
#[derive(Default)]
struct Window {
    chunks: Vec<(Placed, Arc<FileOut>)>,
    bytes: u64,
    /// Bytes of the names and attributes of its files and folders.
    names: usize,
    /// Files whose last chunk is in this window.
    complete: Vec<Arc<FileOut>>,
    /// Folders that the walk left in this window.
    left: Vec<Arc<FolderOut>>,
}

/// The walk of the tree.
struct Walk<'a> {
    selection: &'a Selection,
    window: Window,
    /// The path of the folder that is planned, as long as the selection needs it.
    path: Vec<u8>,
}

impl Body for Planner {
    fn run(self) -> Result<(), Stop> {
        let job = &self.context.job;
        job.progress.set_phase("planning");
        let selection = Selection::new(&job.request);
        self.check_selection(&selection)?;
        let mut walk = Walk {
            selection: &selection,
            window: Window::default(),
            path: Vec::new(),
        };
        job.progress.set_phase("restoring");
        let root = self.context.root(selection.is_all())?;
        let top = &job.request.point.body.root;
        if selection.is_all() && job.request.point.body.sources.iter().any(|source| &source[..] == b"/") {
            self.remove_extras(top, &root, &selection)?;
        }
        self.folder(top, &Place::open(Arc::clone(&root)), Scope::Selected, &mut walk)?;
        walk.window.left.push(root);
        self.plan(&mut walk.window)?;
        for pattern in selection.fruitless() {
            job.warnings.add(b"", format!("`--include {pattern}` matches nothing"));
        }
        job.progress.seen_all();
        self.fetcher.finish();
        self.writer.finish();
        Ok(())
    }
}

impl Planner {
    pub(super) fn new(context: &RestoreContext, (fetcher, writer): (Sender<RangePlan>, Sender<WriteTask>)) -> Self {
        Self {
            context: context.clone(),
            fetcher,
            writer,
        }
    }

    /// Before anything is written, every selected path must be in the recovery point.
    fn check_selection(&self, selection: &Selection) -> Result<(), Stop> {
        let job = &self.context.job;
        let root = ChunkId::try_from(job.request.point.body.root.as_ref()).ok();
        for path in selection.paths() {
            let found = job
                .engine
                .run_cancellable(&self.context.cancel, lookup(&*job.domain, root, path))??;
            if found == Found::Missing {
                let path = String::from_utf8_lossy(path);
                return Err(
                    Fault::permanent(format!("{path} is not in this recovery point; nothing was written"))
                        .hint("`lockstone points ls POINT` and `lockstone points find PATTERN` show what is there")
                        .into(),
                );
            }
        }
        Ok(())
    }

    /// Calls `each` with every entry of a folder, in order. The entry's error is that of a page that can't be read.
    pub(super) fn each_entry(
        &self,
        top: &Bytes,
        each: &mut dyn FnMut(Entry) -> Result<(), Stop>,
    ) -> Result<(), EntryError<Fault>> {
        if top.is_empty() {
            return Ok(());
        }
        // Pages that are not read yet, the next one last, each with the page above it, which it is checked against.
        let mut ahead: Vec<(Bytes, Option<Above>)> = vec![(top.clone(), None)];
        while let Some((id, above)) = ahead.pop() {
            let page = self.read_page(&id)?;
            if let Some((parent, index)) = above {
                check_child(&parent, index, &page).map_err(|error| EntryError::Entry(Fault::from(error)))?;
            }
            if page.level > 0 {
                let page = Arc::new(page);
                let children = page.children.iter().map(|PageRef { id, .. }| id.clone()).enumerate();
                ahead.extend(children.rev().map(|(index, id)| (id, Some((Arc::clone(&page), index)))));
            } else {
                for entry in page.entries {
                    each(entry)?;
                }
            }
        }
        Ok(())
    }

    fn read_page(&self, id: &[u8]) -> Result<Page, EntryError<Fault>> {
        let Ok(id) = ChunkId::try_from(id) else {
            let fault = Fault::integrity("a page id of the wrong length");
            return Err(EntryError::Stop(fault.into()));
        };
        let job = &self.context.job;
        let page = job.engine.run_cancellable(&self.context.cancel, job.domain.page(&id))?;
        page.map_err(|error| EntryError::Entry(error.into()))
    }

    /// Plans a folder and everything below it. Continues on a new piece of stack if this one runs short: the recursion
    /// is as deep as the tree.
    fn folder(&self, top: &Bytes, folder: &Place<'_>, scope: Scope, walk: &mut Walk<'_>) -> Result<(), Stop> {
        let done = stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
            self.each_entry(top, &mut |entry| self.entry(entry, folder, scope, walk))
        });
        let Err(error) = done else { return Ok(()) };
        let error = error.entry()?;
        if !error.costs_one_object() {
            return Err(error.into());
        }
        // The rest of this folder is unknown. What is elsewhere can still be restored.
        self.context.damaged(
            &folder.shown().unwrap_or_else(|| walk.path.clone()),
            &format!("what else is in this folder can't be restored: {error}"),
        );
        Ok(())
    }

    fn entry(&self, entry: Entry, folder: &Place<'_>, scope: Scope, walk: &mut Walk<'_>) -> Result<(), Stop> {
        fault_point("planner")?;
        if self.context.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if !walk.selection.decides(scope) {
            return self.picked(entry, folder, Pick::All, walk);
        }
        let len = walk.path.len();
        walk.path.push(b'/');
        walk.path.extend_from_slice(&entry.name);
        let is_folder = entry.kind() == EntryKind::Folder;
        let pick = walk.selection.pick(scope, &walk.path, is_folder);
        let done = self.picked(entry, folder, pick, walk);
        walk.path.truncate(len);
        done
    }

    /// Plans an entry, as much of it as was picked.
    fn picked(&self, entry: Entry, folder: &Place<'_>, pick: Pick, walk: &mut Walk<'_>) -> Result<(), Stop> {
        let below = match pick {
            Pick::Nothing => return Ok(()),
            Pick::Through => Scope::Selected,
            Pick::Search => Scope::Search,
            Pick::All => Scope::Whole,
        };
        let is_folder = entry.kind() == EntryKind::Folder;
        if !is_folder && below != Scope::Whole {
            return Ok(());
        }
        let page = entry.page.clone();
        walk.window.names += if is_folder { weight(&entry) } else { 0 };
        let child = if is_folder && below == Scope::Search {
            Place::waiting(folder, entry)
        } else {
            let Some(folder) = folder.get(&self.context)? else {
                return Ok(());
            };
            if !is_folder {
                return self.file(&folder, entry, &mut walk.window);
            }
            let implied = entry.implied || below == Scope::Selected;
            let Some(child) = self.context.enter(&folder, entry, implied)? else {
                return Ok(());
            };
            if !implied {
                self.remove_extras(&page, &child, walk.selection)?;
            }
            Place::open(child)
        };
        self.folder(&page, &child, below, walk)?;
        if let Some(child) = child.into_opened() {
            walk.window.left.push(child);
        }
        self.plan_if_full(&mut walk.window)
    }

    /// Plans a file, or anything else except a folder.
    fn file(&self, folder: &Arc<FolderOut>, entry: Entry, window: &mut Window) -> Result<(), Stop> {
        let job = &self.context.job;
        add(&job.progress.counters.files_seen, 1);
        add(&job.progress.counters.bytes_seen, entry.size);
        job.progress.show_current(|to| folder.show(&entry.name, to));
        window.names += weight(&entry);
        for file in self.context.plan_file(folder, entry)? {
            self.content(&file, window)?;
            window.complete.push(file);
        }
        self.plan_if_full(window)
    }

    /// Adds the chunks that a file needs to the window.
    fn content(&self, file: &Arc<FileOut>, window: &mut Window) -> Result<(), Stop> {
        let job = &self.context.job;
        if file.needs_content() {
            let chunks = Chunks::of(&file.entry, &job.domain, &job.engine);
            for placed in chunks {
                match placed {
                    Ok(placed) if file.has_already(&placed) => {}
                    Ok(placed) => {
                        window.bytes += u64::from(placed.len);
                        file.expect_chunk();
                        window.chunks.push((placed, Arc::clone(file)));
                        self.plan_if_full(window)?;
                    }
                    Err(error) => {
                        file.fail(error.entry()?.message);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn plan_if_full(&self, window: &mut Window) -> Result<(), Stop> {
        let full = window.bytes >= WINDOW_BYTES
            || window.chunks.len() >= WINDOW_CHUNKS
            || window.complete.len() >= WINDOW_CHUNKS
            || window.left.len() >= WINDOW_CHUNKS
            || window.names >= WINDOW_NAMES;
        if full { self.plan(window) } else { Ok(()) }
    }

    /// Looks up the window's chunks and sends its ranges, files and folders. The window is empty afterwards.
    fn plan(&self, window: &mut Window) -> Result<(), Stop> {
        let job = &self.context.job;
        let Window {
            chunks, complete, left, ..
        } = std::mem::take(window);
        let ids: Vec<ChunkId> = chunks.iter().map(|(placed, _)| placed.id).collect();
        let places = job.domain.index().best_places(&ids)?;
        let mut missing = Vec::new();
        // By pack, frame and chunk: where the chunk goes.
        let mut packs: BTreeMap<u32, BTreeMap<u32, HashMap<ChunkId, Wanted>>> = BTreeMap::new();
        for ((placed, file), place) in chunks.into_iter().zip(places) {
            let place = match place {
                // A wrong segment can give a chunk a wrong length. Another one may be right.
                Some(place) if place.len != placed.len => {
                    let all = job.domain.index().places(&placed.id)?;
                    Some(all.into_iter().find(|place| place.len == placed.len).unwrap_or(place))
                }
                place => place,
            };
            let Some(ChunkPlace {
                pack,
                frame,
                offset,
                len,
                ..
            }) = place
            else {
                file.fail(format!("its chunk {} is not in the vault's index", placed.id));
                missing.push(file);
                continue;
            };
            if len != placed.len {
                file.fail(format!("its chunk {} has another length in the index", placed.id));
                missing.push(file);
                continue;
            }
            let start = offset as usize;
            packs
                .entry(pack)
                .or_default()
                .entry(frame)
                .or_default()
                .entry(placed.id)
                .or_insert_with(|| Wanted {
                    id: placed.id,
                    range: start..start + len as usize,
                    to: Vec::new(),
                })
                .to
                .push((file, placed.offset));
        }
        // Before the ranges, so that each file is finished as soon as its last chunk is there. Until then it may hold a
        // handle.
        let mut ready = missing;
        ready.extend(complete);
        ready.retain(|file| file.one_done());
        self.send_each(ready, WriteTask::Ready)?;
        for (number, frames) in packs {
            self.send_pack(number, frames)?;
        }
        self.send_each(left, WriteTask::Left)
    }

    /// Sends files or folders to the Writer, some at a time.
    fn send_each<T>(&self, mut items: Vec<T>, task: fn(Vec<T>) -> WriteTask) -> Result<(), Stop> {
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(BATCH));
            self.writer.send(task(std::mem::replace(&mut items, rest)))?;
        }
        Ok(())
    }

    /// Sends the wanted frames of a pack, as ranges.
    fn send_pack(&self, number: u32, frames: BTreeMap<u32, HashMap<ChunkId, Wanted>>) -> Result<(), Stop> {
        let info = self.context.job.domain.index().pack(number)?;
        let Some(pack) = info else {
            return Err(Fault::integrity("the index names a pack that it does not have").into());
        };
        let mut open: Option<RangePlan> = None;
        for (ordinal, wanted) in frames {
            let Some(place) = pack.frames.get(ordinal as usize).copied() else {
                return Err(Fault::integrity(format!("pack {} has no frame {ordinal}", pack.id)).into());
            };
            let end = place.offset + u64::from(place.sealed_len);
            let mut wanted: Vec<Wanted> = wanted.into_values().collect();
            // In the order of the backup, so that the files of a folder come one after another.
            wanted.sort_unstable_by_key(|wanted| wanted.range.start);
            let frame = FramePlan { ordinal, place, wanted };
            match &mut open {
                Some(range) if place.offset - range.range.end <= GAP_MAX && end - range.range.start <= RANGE_MAX => {
                    range.range.end = end;
                    range.frames.push(frame);
                }
                _ => {
                    let next = RangePlan {
                        pack: Arc::clone(&pack),
                        range: place.offset..end,
                        frames: vec![frame],
                    };
                    if let Some(range) = open.replace(next) {
                        self.fetcher.send(range)?;
                    }
                }
            }
        }
        open.map_or(Ok(()), |range| self.fetcher.send(range))
    }
}

/// Bytes that an entry's names and attributes take in memory, about.
fn weight(entry: &Entry) -> usize {
    let xattrs: usize = entry
        .xattrs
        .iter()
        .map(|xattr| xattr.name.len() + xattr.value.len())
        .sum();
    entry.name.len() + entry.link_target.len() + xattrs
}
