//! The Cataloguer stage turns the walk and the files that were read into tree pages.
//!
//! The walk arrives in walk order, with a slot for each file that the Hasher is reading. Files arrive in any order and
//! fill their slots. The Cataloguer follows the walk up to the first slot that is not filled, so it writes a page as
//! soon as everything in the page is known. `generation.window` bounds how far the walk may run ahead. Finished pages
//! go to Dedup's tree lane.
//!
//! The Cataloguer also writes each file that arrives into the journal, for the run after an interruption.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::tree::{FolderWriter, NewPage, TreeError};

use super::job::BackupContext;
use super::journal;
use super::messages::{Buffer, Catalogue, Chunk, ChunkBatch, Held, Walked};
use crate::flow::{Body, Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

pub(super) struct Cataloguer {
    context: BackupContext,
    inbox: Receiver<Catalogue>,
    dedup: Sender<ChunkBatch>,
}

/// A folder that the walk has not left yet.
struct OpenFolder {
    /// `None` for the root, whose attributes are not kept.
    entry: Option<Box<Entry>>,
    writer: FolderWriter,
}

/// What the Cataloguer knows at one moment.
#[derive(Default)]
struct Book {
    /// Steps of the walk that are not taken yet.
    ahead: VecDeque<Walked>,
    /// Files that arrived before the walk reached their slots. `None`: the file is not in the recovery point.
    filled: HashMap<u64, Option<Box<Entry>>>,
    open: Vec<OpenFolder>,
    /// The root's top page, once the walk has left the root. `Some(None)`: the root is empty.
    root: Option<Option<ChunkId>>,
    pages: Vec<NewPage>,
}

impl Body for Cataloguer {
    fn run(self) -> Result<(), Stop> {
        let mut book = Book::default();
        while let Some(message) = self.inbox.recv()? {
            match message {
                Catalogue::Walked(steps) => book.ahead.extend(steps),
                Catalogue::Read(files) => {
                    let records = journal::records(&files);
                    self.context.job.domain.index().journal_add(&records)?;
                    book.filled
                        .extend(files.into_iter().map(|file| (file.slot, file.entry)));
                }
                Catalogue::Lists(lists) => book.pages.extend(lists),
            }
            self.advance(&mut book)?;
            self.send(&mut book.pages)?;
        }
        match book.root {
            Some(root) if book.ahead.is_empty() && book.open.is_empty() => {
                self.context.generation.set_root(root);
                self.dedup.finish();
                Ok(())
            }
            _ => Err(Fault::integrity("the walk ended with files missing from the tree").into()),
        }
    }
}

/// The absolute path of an entry in the folder that was opened last.
fn path_of(open: &[OpenFolder], name: &[u8]) -> Vec<u8> {
    let names = open.iter().filter_map(|folder| folder.entry.as_ref());
    let mut path = Vec::new();
    for name in names.map(|entry| &entry.name[..]).chain([name]) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

impl Cataloguer {
    pub(super) fn new(context: &BackupContext, inbox: Receiver<Catalogue>, dedup: Sender<ChunkBatch>) -> Self {
        Self {
            context: context.clone(),
            inbox,
            dedup,
        }
    }

    /// Takes the steps whose slots are filled.
    fn advance(&self, book: &mut Book) -> Result<(), Stop> {
        let mut taken = 0;
        while let Some(step) = book.ahead.front() {
            if let Walked::Pending(slot) = step
                && !book.filled.contains_key(slot)
            {
                break;
            }
            let Some(step) = book.ahead.pop_front() else { break };
            taken += 1;
            match step {
                Walked::Enter(entry) => {
                    // The first folder is the root and has no name.
                    let entry = (!book.open.is_empty()).then_some(entry);
                    let writer = FolderWriter::new(Arc::clone(self.context.job.domain.keys()));
                    book.open.push(OpenFolder { entry, writer });
                }
                Walked::Entry(entry) => self.push(book, &entry)?,
                Walked::Pending(slot) => {
                    if let Some(Some(entry)) = book.filled.remove(&slot) {
                        self.push(book, &entry)?;
                    }
                }
                Walked::Leave => self.leave(book)?,
            }
        }
        self.context.generation.window.give(taken);
        Ok(())
    }

    fn push(&self, book: &mut Book, entry: &Entry) -> Result<(), Stop> {
        fault_point("cataloguer")?;
        let Some(folder) = book.open.last_mut() else {
            return Err(Fault::integrity("the walk has an entry outside of any folder").into());
        };
        match folder.writer.push(entry, &mut book.pages) {
            Ok(()) => {}
            // It is left out; the rest of the folder goes on.
            Err(TreeError::Entry { what, .. }) => {
                let path = path_of(&book.open, &entry.name);
                self.context
                    .job
                    .warnings
                    .add(path, format!("could not be kept: it {what}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let tally = &self.context.generation.tally;
        if entry.kind() == EntryKind::Folder {
            add(&tally.folders, 1);
        } else {
            add(&tally.files, 1);
            add(&tally.bytes, entry.size);
        }
        if book.pages.len() >= 16 {
            self.send(&mut book.pages)?;
        }
        Ok(())
    }

    fn leave(&self, book: &mut Book) -> Result<(), Stop> {
        let Some(folder) = book.open.pop() else {
            return Err(Fault::integrity("the walk leaves a folder it never entered").into());
        };
        let top = folder.writer.finish(&mut book.pages)?;
        match folder.entry {
            None => book.root = Some(top),
            Some(mut entry) => {
                debug_assert_eq!(entry.kind(), EntryKind::Folder);
                entry.page = top.map_or_else(bytes::Bytes::new, |id| bytes::Bytes::copy_from_slice(id.as_bytes()));
                self.push(book, &entry)?;
            }
        }
        Ok(())
    }

    /// Sends pages to Dedup, each in a buffer of its own, and puts them in the local page cache.
    fn send(&self, pages: &mut Vec<NewPage>) -> Result<(), Stop> {
        if pages.is_empty() {
            return Ok(());
        }
        let generation = &self.context.generation;
        self.context.job.domain.index().put_pages(pages)?;
        for page in pages.drain(..) {
            let permit = generation
                .budgets
                .tree
                .take(page.raw.len() as u64, &generation.cancel)?;
            let chunks = vec![Chunk {
                id: page.id,
                range: 0..page.raw.len(),
            }];
            self.dedup.send(ChunkBatch {
                buffer: Arc::new(Buffer {
                    bytes: Held::Page(page.raw),
                    permit,
                }),
                chunks,
            })?;
        }
        Ok(())
    }
}
