//! What the stages of a backup say to each other. Work travels in batches through bounded channels; bytes travel in
//! [`Buffer`]s, which carry the permit that pays for them.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::walk::{Folder, Stat};
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{ChunkKind, Entry, PackEntry};
use lockstone_vault::buffers::Pooled;
use lockstone_vault::tree::NewPage;

use crate::flow::Permit;

/// A file that has to be read: the last point does not have it as it is.
pub(crate) struct FileTask {
    pub(crate) folder: Arc<Folder>,
    pub(crate) name: Vec<u8>,
    pub(crate) stat: Stat,
    /// Where the Cataloguer waits for it.
    pub(crate) slot: u64,
}

/// Enumerator → Hasher: small files that fill a buffer together, or one larger file.
pub(crate) type ReadBatch = Vec<FileTask>;

/// One step of the walk, in walk order.
pub(crate) enum Walked {
    /// A folder begins; its entry has no page yet.
    Enter(Box<Entry>),
    /// A finished entry.
    Entry(Box<Entry>),
    /// A file that the Hasher is reading.
    Pending(u64),
    /// The folder entered last is complete.
    Leave,
}

/// A file that was read, or could not be.
pub(crate) struct FileRead {
    pub(crate) slot: u64,
    /// `None`: it is not in the recovery point, and a warning says so.
    pub(crate) entry: Option<Box<Entry>>,
    /// Its folder's path, for the journal; `None` when an interrupted run would have to read it again.
    pub(crate) folder: Option<Arc<[u8]>>,
}

/// What the Cataloguer hears.
pub(crate) enum Catalogue {
    /// From the Enumerator.
    Walked(Vec<Walked>),
    /// From the Hasher.
    Read(Vec<FileRead>),
    /// From the Hasher: content lists of a large file.
    Lists(Vec<NewPage>),
}

/// Where a buffer's bytes are.
pub(crate) enum Held {
    /// In a reader's buffer, which goes back to the pool.
    Pooled(Pooled),
    /// In a tree page.
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
    /// Lets the bytes go and keeps what paid for them.
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

/// Hasher → Dedup and Cataloguer → Dedup: hashed chunks of one buffer; Dedup → Sealer: those that the vault lacks.
pub(crate) struct ChunkBatch {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) chunks: Vec<Chunk>,
}

/// A chunk that goes into a frame.
pub(crate) struct FrameChunk {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) chunk: Chunk,
}

/// Within the Sealer: chunks that make a frame.
pub(crate) enum FrameJob {
    /// Compress, seal and check these.
    Seal(ChunkKind, Vec<FrameChunk>),
    /// Close the open pack of this kind, however small it is.
    Flush(ChunkKind),
}

/// Sealer → Uploader: a pack, whole.
pub(crate) struct SealedPack {
    /// As the segment will list it.
    pub(crate) entry: PackEntry,
    /// Header, frames, directory: the object is their concatenation.
    pub(crate) pieces: Vec<Bytes>,
    /// Raw bytes in it.
    pub(crate) raw_len: u64,
    /// For the sealed bytes; given back when the pack is durable.
    pub(crate) permits: Vec<Permit>,
}

/// Uploader → Bookkeeper: the store has acknowledged the pack.
pub(crate) struct PackUploaded {
    pub(crate) entry: PackEntry,
}
