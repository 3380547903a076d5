//! The Planner stage: walks the recovery point's tree in order, decides what becomes of each entry, and looks up where
//! the chunks lie. It works in windows of the tree: within one, all chunks of a frame are asked for together, frames
//! that lie side by side in a pack are one range, and each range is fetched once. As frames were laid in walk order,
//! windows in the same order rarely meet the same frame again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::MIB;
use lockstone_proto::vault::{Entry, EntryKind, Page, PageRef};
use lockstone_vault::index::ChunkPlace;
use lockstone_vault::points::{Found, PageSource, lookup};
use lockstone_vault::tree::check_child;

use super::Context;
use super::files::{FileOut, FolderOut};
use super::messages::{FramePlan, RangePlan, Wanted, WriteTask};
use super::selection::{Pick, Selection};
use crate::contents::{Chunks, Placed};
use crate::flow::{Fault, Sender, Stop, fault_point};
use crate::progress::add;

/// Raw bytes of chunks that are planned together.
const WINDOW_BYTES: u64 = 64 * MIB;
/// Chunks that are planned together.
const WINDOW_CHUNKS: usize = 16 * 1024;
/// Largest range of a pack that is fetched at once, sealed bytes.
const RANGE_MAX: u64 = 4 * MIB;
/// Files or folders in one message.
const BATCH: usize = 64;
/// A gap between wanted frames that costs less to fetch than another request.
const GAP_MAX: u64 = 128 * 1024;

pub(super) struct Planner {
    pub(super) context: Context,
    pub(super) fetcher: Sender<RangePlan>,
    pub(super) writer: Sender<WriteTask>,
}

/// The page above another, and which of its children that is.
type Above = (Arc<Page>, usize);

/// Chunks to be planned, and the files they belong to.
#[derive(Default)]
struct Window {
    chunks: Vec<(Placed, Arc<FileOut>)>,
    bytes: u64,
    /// Files that got their last chunk in this window.
    complete: Vec<Arc<FileOut>>,
    /// Folders that were left in this window.
    left: Vec<Arc<FolderOut>>,
}

impl Planner {
    pub(super) fn run(self) -> Result<(), Stop> {
        let job = &self.context.job;
        job.progress.set_phase("planning");
        let selection = Selection::new(&job.request.paths);
        self.check_selection(&selection)?;
        let mut window = Window::default();
        job.progress.set_phase("restoring");
        let root = self.context.root()?;
        self.folder(
            &job.request.point.body.root.clone(),
            &root,
            &selection,
            false,
            &mut window,
        )?;
        window.left.push(root);
        self.plan(&mut window)?;
        job.progress.seen_all();
        self.fetcher.finish();
        self.writer.finish();
        Ok(())
    }

    /// Every path that was asked for must be in the point, before anything is written.
    fn check_selection(&self, selection: &Selection) -> Result<(), Stop> {
        let job = &self.context.job;
        let root = ChunkId::try_from(job.request.point.body.root.as_ref()).ok();
        for path in selection.paths() {
            let found = job
                .engine
                .race(&self.context.cancel, lookup(&*job.domain, root, path))??;
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

    /// Calls `each` with every entry of a folder, in order; the inner error is a page that can't be read.
    fn each_entry(
        &self,
        top: &Bytes,
        each: &mut dyn FnMut(Entry) -> Result<(), Stop>,
    ) -> Result<Result<(), Fault>, Stop> {
        if top.is_empty() {
            return Ok(Ok(()));
        }
        // Pages not read yet, the next one last, each with the page above it for the check.
        let mut ahead: Vec<(Bytes, Option<Above>)> = vec![(top.clone(), None)];
        while let Some((id, above)) = ahead.pop() {
            let page = match self.read_page(&id)? {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            if let Some((parent, index)) = above
                && let Err(error) = check_child(&parent, index, &page)
            {
                return Ok(Err(error.into()));
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
        Ok(Ok(()))
    }

    fn read_page(&self, id: &[u8]) -> Result<Result<Page, Fault>, Stop> {
        let Ok(id) = ChunkId::try_from(id) else {
            return Err(Fault::integrity("a page id of the wrong length").into());
        };
        let job = &self.context.job;
        let page = job.engine.race(&self.context.cancel, job.domain.page(&id))?;
        Ok(page.map_err(Fault::from))
    }

    fn folder(
        &self,
        top: &Bytes,
        folder: &Arc<FolderOut>,
        selection: &Selection,
        all: bool,
        window: &mut Window,
    ) -> Result<(), Stop> {
        // Entries of one page chain at a time; the recursion is as deep as the tree, which pages bound.
        let outcome = self.each_entry(top, &mut |entry| {
            fault_point("planner")?;
            if self.context.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            let pick = if all {
                Pick::All
            } else {
                selection.pick(folder.path(), &entry.name)
            };
            match pick {
                Pick::Nothing => Ok(()),
                Pick::Through | Pick::All if entry.kind() == EntryKind::Folder => {
                    let page = entry.page.clone();
                    let implied = entry.implied || pick == Pick::Through;
                    let Some(child) = self.context.enter(folder, entry, implied)? else {
                        return Ok(());
                    };
                    self.deeper(&page, &child, selection, pick == Pick::All, window)?;
                    window.left.push(child);
                    self.plan_if_full(window)
                }
                Pick::Through => Ok(()),
                Pick::All => self.file(folder, entry, window),
            }
        })?;
        if let Err(error) = outcome {
            if !error.costs_one_object() {
                return Err(error.into());
            }
            // The rest of this folder can't be known; what is elsewhere still can be restored.
            self.context.damaged(
                folder.path(),
                &format!("what else is in this folder can't be restored: {error}"),
            );
        }
        Ok(())
    }

    /// A folder one level down, on a fresh piece of stack where this one runs short.
    fn deeper(
        &self,
        top: &Bytes,
        folder: &Arc<FolderOut>,
        selection: &Selection,
        all: bool,
        window: &mut Window,
    ) -> Result<(), Stop> {
        stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
            self.folder(top, folder, selection, all, window)
        })
    }

    fn file(&self, folder: &Arc<FolderOut>, entry: Entry, window: &mut Window) -> Result<(), Stop> {
        let job = &self.context.job;
        add(&job.progress.counters.files_seen, 1);
        add(&job.progress.counters.bytes_seen, entry.size);
        job.progress.set_current(folder.path(), &entry.name);
        let Some(file) = self.context.plan_file(folder, entry)? else {
            return Ok(());
        };
        if file.needs_content() {
            let chunks = Chunks::of(&file.entry, &job.domain, &job.engine);
            for placed in chunks {
                match placed {
                    Ok(placed) if file.has_already(&placed) => {}
                    Ok(placed) => {
                        window.bytes += u64::from(placed.len);
                        file.expect_chunk();
                        window.chunks.push((placed, Arc::clone(&file)));
                        self.plan_if_full(window)?;
                    }
                    Err(error) => {
                        if !error.costs_one_object() {
                            return Err(error.into());
                        }
                        file.fail(error.message);
                        break;
                    }
                }
            }
        }
        window.complete.push(file);
        self.plan_if_full(window)
    }

    fn plan_if_full(&self, window: &mut Window) -> Result<(), Stop> {
        let full = window.bytes >= WINDOW_BYTES
            || window.chunks.len() >= WINDOW_CHUNKS
            || window.complete.len() >= WINDOW_CHUNKS;
        if full { self.plan(window) } else { Ok(()) }
    }

    /// Looks the window's chunks up and sends its ranges.
    fn plan(&self, window: &mut Window) -> Result<(), Stop> {
        let job = &self.context.job;
        let Window {
            chunks, complete, left, ..
        } = std::mem::take(window);
        let ids: Vec<ChunkId> = chunks.iter().map(|(placed, _)| placed.id).collect();
        let places = job.domain.index().lookup(&ids)?;
        // Frames by pack and ordinal; in each, where its chunks go.
        let mut lost = Vec::new();
        let mut packs: BTreeMap<u32, BTreeMap<u32, HashMap<ChunkId, Wanted>>> = BTreeMap::new();
        for ((placed, file), place) in chunks.into_iter().zip(places) {
            let Some(ChunkPlace {
                pack,
                frame,
                offset,
                len,
            }) = place
            else {
                file.fail(format!("its chunk {} is not in the vault's index", placed.id));
                lost.push(file);
                continue;
            };
            if len != placed.len {
                file.fail(format!("its chunk {} has another length in the index", placed.id));
                lost.push(file);
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
        for (number, frames) in packs {
            self.send_pack(number, frames)?;
        }
        self.send_each(lost, WriteTask::Planned)?;
        self.send_each(complete, WriteTask::Planned)?;
        self.send_each(left, WriteTask::Left)
    }

    /// Sends the Writer so many at once that the sending does not count, and so few that its threads share the work.
    fn send_each<T>(&self, mut items: Vec<T>, task: fn(Vec<T>) -> WriteTask) -> Result<(), Stop> {
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(BATCH));
            self.writer.send(task(std::mem::replace(&mut items, rest)))?;
        }
        Ok(())
    }

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
            // As they were written: files of a folder come one after another.
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
