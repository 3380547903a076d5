//! The log: what a domain's servers agreed on, and the only truth about what exists. Entries are dense (1, 2, 3 …), created
//! only where none is, signed by the server that wrote them, and each names the hash of the one before it.
//!
//! An object `domains/<domain>/log/<n>` is an encoded `SignedEntry`. It is believed if
//! * it is encoded as `prost` would encode it (no unknown fields, defaults left out), at most 16 MiB;
//! * its signature, Ed25519 over `"lockstone v1 log entry\0"` ‖ record, is by the key in the registration of the server it
//!   names, and that server is registered in this domain;
//! * version, domain and n are those of its place, and `previous` is the BLAKE3 hash of the object before it;
//! * its kind is known, what the kind does not use is empty, ids have their lengths and lists their limits;
//! * its body opens: AES-256-GCM with nonce 0 under `derive_key("lockstone v1 log body", log subkey ‖ n u64 LE ‖ nonce)`,
//!   with the encoded record without its `sealed` field as AAD.
//!
//! The operator reads the log too, without the last point: the summaries of points are signed, not sealed.
//!
//! `entry` is the pure part: bytes to entries and back. `view` sums entries up. `read` gets them from a store and decides
//! what to make of those that are damaged or missing. Appending is the business of `domain`, which also keeps the index in
//! step.

mod entry;
mod pin;
pub(crate) mod read;
mod view;

use lockstone_proto::ids::{PointId, SegmentId, ServerId};
use lockstone_proto::vault::{CommitBody, CondemnBody, FoldBody, PointSummary, RepackBody};

pub use entry::LogBroken;
pub(crate) use entry::{EntryParts, PlainEntry, chain, own_nonce, seal};
pub(crate) use pin::Pin;
pub(crate) use view::Summed;
pub use view::{LogView, Point, PointOverview};

/// Most ids of one kind in one entry.
pub const IDS_MAX: usize = 64 * 1024;
/// Most sources, and most parents, of a recovery point.
pub const SOURCES_MAX: usize = 4096;
/// Most tags of a recovery point, and the longest of its strings, bytes.
pub const TAGS_MAX: usize = 32;
/// Longest tag or label, bytes.
pub const TEXT_MAX: usize = 1024;

/// A position in the log, with the hash of the object there. Whoever knows one knows all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// The entry; 0 is the place before the first.
    pub n: u64,
    /// BLAKE3 of the object; zeros at 0.
    pub hash: [u8; 32],
}

impl LogHead {
    /// Before the first entry.
    pub const START: Self = Self { n: 0, hash: [0; 32] };
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// These segments belong to the index.
    Segments(Vec<SegmentId>),
    /// A recovery point.
    Commit(Box<PointSummary>, Box<CommitBody>),
    /// These points are deleted, softly.
    Forget(Vec<PointId>),
    /// These points are back.
    Restore(Vec<PointId>),
    /// These packs will be deleted.
    Condemn(CondemnBody),
    /// These packs are replaced.
    Repack(RepackBody),
    /// A summary to start reading from.
    Fold(Box<FoldBody>),
}

impl Body {
    /// The segments it names. Lengths of ids were checked when it was opened.
    pub(crate) fn segments(&self) -> Vec<SegmentId> {
        let ids = match self {
            Self::Segments(ids) => return ids.clone(),
            Self::Commit(_, body) => &body.segment_ids,
            Self::Repack(body) => &body.segment_ids,
            // A fold repeats what entries before it said; its reader has read those.
            Self::Fold(_) | Self::Forget(_) | Self::Restore(_) | Self::Condemn(_) => return Vec::new(),
        };
        ids.iter()
            .filter_map(|id| SegmentId::try_from(id.as_ref()).ok())
            .collect()
    }
}

/// An entry, opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place and its object's hash.
    pub head: LogHead,
    /// The hash it names.
    pub previous: [u8; 32],
    /// When the server wrote it, by its clock, seconds since the epoch.
    pub time_s: i64,
    /// And nanoseconds.
    pub time_ns: u32,
    /// Who wrote it.
    pub server: ServerId,
    /// What it says.
    pub body: Body,
}

#[cfg(test)]
mod tests;
