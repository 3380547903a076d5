//! The messages between the stages of a backup, and how many bytes of content each brings ([`Weigh`]). Work travels in
//! batches. Bytes travel in [`Buffer`]s, together with the permit that pays for them.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::settle::{Moment, has_settled, has_settled_since};
use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::{Folder, FolderPath, Stat};
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{ChunkKind, Entry, PackEntry};
use lockstone_vault::buffers::Pooled;
use lockstone_vault::tree::NewPage;

use super::source::Producer;
use crate::flow::{Permit, Weigh};

/// A file that has to be read, because the last recovery point does not have it as it is now.
pub(crate) struct FileTask {
    pub(crate) folder: Arc<Folder>,
    pub(crate) name: Vec<u8>,
    pub(crate) stat: Stat,
    /// Whether the last recovery point has a file of this path.
    pub(crate) known: bool,
    /// What is known about the clock behind the file's times.
    pub(crate) clock: FileClock,
    /// The slot in the walk where the Cataloguer waits for it.
    pub(crate) slot: u64,
}

/// What is known about the clock that makes an entry's times, from before the entry is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileClock {
    /// What it shows at least.
    pub(crate) at_least: Moment,
    /// What this server's clock shows, or showed when the snapshot was taken.
    pub(crate) now: Moment,
    /// The ctime that the last recovery point has, if it has settled since.
    pub(crate) seen_before: Option<Moment>,
}

impl FileClock {
    /// Takes into account that the last recovery point, committed at `then`, has an entry with the same attributes.
    pub(crate) fn compare(&mut self, old: Option<&Entry>, then: Option<i64>) {
        if let (Some(old), Some(then)) = (old, then) {
            let ctime = (old.ctime_s, old.ctime_ns);
            self.seen_before = has_settled_since(ctime, then, self.now).then_some(ctime);
        }
    }

    /// Notes in an entry that was read whether a later change of it would show.
    pub(crate) fn mark(&self, entry: &mut Entry) {
        let ctime = (entry.ctime_s, entry.ctime_ns);
        entry.unsettled = !has_settled(ctime, self.at_least) && self.seen_before != Some(ctime);
    }
}

/// Small files that fill a buffer together, or one larger file.
pub(crate) type ReadBatch = Vec<FileTask>;

/// A file whose content a producer gives.
pub(crate) struct ProducedTask {
    /// Its path in the recovery point.
    pub(crate) path: Vec<u8>,
    /// The entry, without content.
    pub(crate) entry: Box<Entry>,
    /// What the last recovery point has under this path.
    pub(crate) old: Option<Entry>,
    pub(crate) producer: Arc<dyn Producer>,
    pub(crate) slot: u64,
}

/// Enumerator → Hasher: what is to be read.
pub(crate) enum ToRead {
    Files(ReadBatch),
    Produced(Box<ProducedTask>),
}

/// One step of the walk, in walk order.
pub(crate) enum Walked {
    /// A folder begins. Its entry has no page yet.
    Enter(Box<Entry>),
    /// An entry that is complete.
    Entry(Box<Entry>),
    /// The slot of a file that the Hasher is reading.
    Pending(u64),
    /// The folder that was entered last is complete.
    Leave,
}

/// A file that the Hasher has dealt with.
pub(crate) struct FileRead {
    pub(crate) slot: u64,
    /// `None`: the file could not be read and is not in the recovery point; a warning says so.
    pub(crate) entry: Option<Box<Entry>>,
    /// Its folder's path, for the journal. `None`: the run after an interruption would have to read the file again.
    pub(crate) folder: Option<Arc<FolderPath>>,
}

/// The Cataloguer's messages.
pub(crate) enum Catalogue {
    /// From the Enumerator.
    Walked(Vec<Walked>),
    /// From the Hasher.
    Read(Vec<FileRead>),
    /// From the Hasher: pages with the content list of a large file.
    Lists(Vec<NewPage>),
}

/// The memory of a buffer.
pub(crate) enum Held {
    /// From the pool, to which it goes back.
    Pooled(Pooled),
    /// A tree page's own.
    Page(Bytes),
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Pooled(bytes) => bytes,
            Self::Page(bytes) => bytes,
        }
    }
}

/// Bytes in memory, and the permit for them.
pub(crate) struct Buffer {
    pub(crate) bytes: Held,
    pub(crate) permit: Permit,
}

impl Buffer {
    /// Drops the bytes and keeps the permit.
    pub(crate) fn into_permit(self) -> Permit {
        self.permit
    }
}

/// A chunk within a buffer.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) id: ChunkId,
    pub(crate) range: Range<usize>,
}

/// Hashed chunks of one buffer. Hasher → Dedup and Cataloguer → Dedup: all of them. Dedup → Assembler: those that the
/// vault lacks.
pub(crate) struct ChunkBatch {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) chunks: Vec<Chunk>,
}

/// A chunk that goes into a frame.
pub(crate) struct FrameChunk {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) chunk: Chunk,
}

/// Assembler → Sealer.
pub(crate) enum FrameJob {
    /// Compress, seal and check these chunks as one frame.
    Seal(ChunkKind, Vec<FrameChunk>),
    /// Close the open pack of this kind, even if it is small.
    Flush(ChunkKind),
}

/// Sealer → Uploader: a whole pack.
pub(crate) struct SealedPack {
    /// The pack as the segment will list it.
    pub(crate) entry: PackEntry,
    /// Header, frames and directory. Together, in this order, they are the object.
    pub(crate) pieces: Vec<Bytes>,
    /// The raw bytes of its chunks.
    pub(crate) raw_len: u64,
    /// They pay for the sealed bytes until the pack is durable.
    pub(crate) permits: Vec<Permit>,
}

/// Uploader → Bookkeeper: the store has acknowledged the pack.
pub(crate) struct PackUploaded {
    pub(crate) entry: PackEntry,
}

impl Weigh for Vec<FrozenSource> {}

impl Weigh for ToRead {
    fn weight(&self) -> u64 {
        match self {
            Self::Files(batch) => batch.iter().map(|task| task.stat.size).sum(),
            Self::Produced(_) => 0,
        }
    }
}

impl Weigh for Catalogue {}

impl Weigh for ChunkBatch {
    fn weight(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.range.len() as u64).sum()
    }
}

impl Weigh for FrameJob {
    fn weight(&self) -> u64 {
        match self {
            Self::Seal(_, chunks) => chunks.iter().map(|one| one.chunk.range.len() as u64).sum(),
            Self::Flush(_) => 0,
        }
    }
}

impl Weigh for SealedPack {
    fn weight(&self) -> u64 {
        self.entry.len
    }
}

impl Weigh for PackUploaded {
    fn weight(&self) -> u64 {
        self.entry.len
    }
}
