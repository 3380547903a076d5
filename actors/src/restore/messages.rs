//! What the stages of a restore say to each other.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_vault::buffers::Pooled;
use lockstone_vault::index::{FramePlace, PackInfo};

use super::files::{FileOut, FolderOut};
use crate::flow::Permit;

/// A chunk of a frame, and everywhere it belongs.
pub(crate) struct Wanted {
    pub(crate) id: ChunkId,
    /// In the raw frame.
    pub(crate) range: Range<usize>,
    /// Files, and where in them.
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
    /// In the pack object, bytes.
    pub(crate) range: Range<u64>,
    pub(crate) frames: Vec<FramePlan>,
}

/// Fetcher → Opener.
pub(crate) struct RangeFetched {
    pub(crate) plan: RangePlan,
    pub(crate) bytes: Bytes,
    /// Pays for `bytes`.
    pub(crate) permit: Permit,
}

/// What the Writer is asked to do.
pub(crate) enum WriteTask {
    /// From the Opener: put these chunks where they belong.
    Chunks {
        raw: Pooled,
        wanted: Vec<Wanted>,
        /// Pays for `raw` until it is written.
        permit: Permit,
    },
    /// From the Planner: everything that was planned for these files is on its way (or they need nothing).
    Planned(Vec<Arc<FileOut>>),
    /// From the Planner: nothing more comes for these folders.
    Left(Vec<Arc<FolderOut>>),
}
