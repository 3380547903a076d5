//! The messages between the stages of a restore, and how many bytes of content each brings ([`Weigh`]).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_vault::buffers::Pooled;
use lockstone_vault::index::{FramePlace, PackInfo};

use super::writer::open_files::{FileOut, FolderOut};
use crate::flow::{Permit, Weigh};

/// A chunk of a frame, and all places where it belongs.
pub(crate) struct Wanted {
    pub(crate) id: ChunkId,
    /// Where it is in the raw frame.
    pub(crate) range: Range<usize>,
    /// The files that need it, and the offset in each.
    pub(crate) to: Vec<(Arc<FileOut>, u64)>,
}

/// A frame to open.
pub(crate) struct FramePlan {
    pub(crate) ordinal: u32,
    pub(crate) place: FramePlace,
    pub(crate) wanted: Vec<Wanted>,
}

/// Planner → Fetcher: neighbouring frames of one pack, fetched with one request.
pub(crate) struct RangePlan {
    pub(crate) pack: Arc<PackInfo>,
    /// Where the frames are in the pack object, bytes.
    pub(crate) range: Range<u64>,
    pub(crate) frames: Vec<FramePlan>,
}

/// Fetcher → Opener: a range as the store returned it.
pub(crate) struct RangeFetched {
    pub(crate) plan: RangePlan,
    /// Empty if it could not be fetched.
    pub(crate) bytes: Bytes,
    /// Why it could not be fetched.
    pub(crate) failure: Option<String>,
    /// Pays for `bytes`.
    pub(crate) permit: Permit,
}

/// The Writer's tasks.
pub(crate) enum WriteTask {
    /// From the Opener: write these chunks into their files.
    Chunks {
        raw: Pooled,
        wanted: Vec<Wanted>,
        /// Pays for `raw` until it is written.
        permit: Permit,
    },
    /// From the Planner: these files wait for no chunk. Most of them need none.
    Ready(Vec<Arc<FileOut>>),
    /// From the Planner: nothing more is planned in these folders.
    Left(Vec<Arc<FolderOut>>),
}

impl Weigh for RangePlan {
    fn weight(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Weigh for RangeFetched {
    fn weight(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Weigh for WriteTask {
    fn weight(&self) -> u64 {
        match self {
            Self::Chunks { raw, .. } => raw.len() as u64,
            Self::Ready(_) | Self::Left(_) => 0,
        }
    }
}
