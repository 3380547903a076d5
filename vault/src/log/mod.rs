//! The log of a domain: a chain of signed entries that says what exists.
//!
//! # Overview Entries have the positions 1, 2, 3 … without gaps. An entry is created only if there is none at its
//! position, it is signed by the server that wrote it, and it names the hash of the entry before it. What no entry
//! names does not exist: a pack, a segment or a page counts only if the log leads to it.
//!
//! The operator reads the log too, without a passphrase: the summaries of recovery points are signed but not sealed.
//!
//! `entry` is the pure part: from bytes to entries and back. `chain` decides which objects count, given that some are
//! foreign, damaged or missing. `view` sums entries up, `overview` without keys. `read` gets them from a store and
//! reports those that are damaged or missing. `pin` notes how far this machine has read. Appending is the task of
//! `domain`, which also keeps the index in step.
//!
//! # Validity
//! An object `domains/<domain>/log/<n>` is an encoded `SignedEntry`. It is valid if
//! * it is encoded as `prost` would encode it (no unknown fields, defaults left out), at most 16 MiB;
//! * its signature, Ed25519 over `"lockstone v1 log entry\0"` ‖ record, is by the key in the registration of the server
//!   it names, and that server is registered in this domain;
//! * version, domain and n are those of its place, and `previous` is the link of the position before it (`chain`);
//! * its kind is known, what the kind does not use is empty, ids have their lengths and lists their limits;
//! * its body opens: AES-256-GCM with nonce 0 under `derive_key("lockstone v1 log body", log subkey ‖ n u64 LE ‖
//!   nonce)`, with the encoded record without its `sealed` field as AAD.
//!
//! The operator, who has no keys, checks everything but the body. What the next entry names shows whether it opened
//! (`overview`).
//!
//! # Consistency The store decides between two servers that write the same position: only one create succeeds. The
//! other server reads that entry, validates again, and tries the next position. A listing never decides where the log
//! ends, because listings may be old: the end is the first position without an object. A listing only shows entries
//! after a gap, which is damage.
//!
//! # Crashes An entry is one object, so it exists whole or not at all. A server that does not get the answer to its
//! create finds its own entry by the nonce. Packs and segments that a crash left behind are named by no entry, and do
//! no harm.
//!
//! # Rollback Each machine pins the last entry it has seen, outside its cache. If the vault later lacks that entry,
//! or has another one in its place, the vault was set back, and nothing is appended.

mod chain;
mod entry;
pub(crate) mod overview;
mod pin;
pub(crate) mod read;
pub(crate) mod repairs;
mod view;

use lockstone_proto::ids::{PackId, PointId, SegmentId, ServerId};
use lockstone_proto::vault::{
    CommitBody, CondemnBody, FoldBody, ForgetReason, HoldBody, PointSummary, RepackBody, RepairBody,
};

pub(crate) use chain::{Before, Chain, Skipped};
pub use entry::LogBroken;
#[cfg(test)]
pub(crate) use entry::seal_with;
pub(crate) use entry::{EntryParts, PlainEntry, own_nonce, seal};
pub use overview::{DomainOverview, PointOverview};
pub(crate) use pin::Pin;
pub(crate) use repairs::Repairs;
pub(crate) use view::Summed;
pub use view::{Hold, LogView, Point, Removal};

/// The most ids of one kind in one entry.
pub const IDS_MAX: usize = 64 * 1024;
/// The most sources, and the most parents, of a recovery point.
pub const SOURCES_MAX: usize = 4096;
/// The most tags of a recovery point.
pub const TAGS_MAX: usize = 32;
/// The longest tag or label, bytes.
pub const TEXT_MAX: usize = 1024;

/// A position in the log, with the hash of the object there. Because of the chain it also fixes all entries before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// The position; 0 is before the first entry.
    pub n: u64,
    /// BLAKE3 of the object; zeros at 0.
    pub hash: [u8; 32],
}

impl LogHead {
    /// Before the first entry.
    pub const START: Self = Self { n: 0, hash: [0; 32] };
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A checkpoint: these segments belong to the index.
    Segments(Vec<SegmentId>),
    /// A recovery point.
    Commit(Box<PointSummary>, Box<CommitBody>),
    /// These points are forgotten: deleted, but they can be brought back.
    Forget(Vec<PointId>, ForgetReason),
    /// These forgotten points are brought back.
    Restore(Vec<PointId>),
    /// These packs will be deleted, and these forgotten points are gone: they cannot be brought back.
    Condemn(Vec<PointId>, CondemnBody),
    /// These packs are replaced.
    Repack(RepackBody),
    /// A summary to start reading from.
    Fold(Box<FoldBody>),
    /// These points are held: they cannot be forgotten.
    Hold(Vec<PointId>, HoldBody),
    /// These points are not held any more.
    Release(Vec<PointId>),
    /// What a check found lost, and what was made anew. These are all points that lost something.
    Repair(Vec<PointId>, Box<RepairBody>),
}

impl Body {
    /// The segments it names. The lengths of their ids were checked when the entry was opened.
    pub(crate) fn segments(&self) -> Vec<SegmentId> {
        let ids = match self {
            Self::Segments(ids) => return ids.clone(),
            Self::Commit(_, body) => &body.segment_ids,
            Self::Repack(body) => &body.segment_ids,
            Self::Repair(_, body) => &body.segment_ids,
            // A fold repeats what earlier entries said. Its reader has read those.
            Self::Fold(_)
            | Self::Forget(..)
            | Self::Restore(_)
            | Self::Hold(..)
            | Self::Release(_)
            | Self::Condemn(..) => return Vec::new(),
        };
        ids.iter()
            .filter_map(|id| SegmentId::try_from(id.as_ref()).ok())
            .collect()
    }
}

impl Body {
    /// The packs it rules out: nothing relies on them from now on.
    pub(crate) fn condemned(&self) -> Vec<PackId> {
        let ids = match self {
            Self::Condemn(_, body) => &body.pack_ids,
            Self::Repack(body) => &body.old_pack_ids,
            _ => return Vec::new(),
        };
        ids.iter().filter_map(|id| PackId::try_from(id.as_ref()).ok()).collect()
    }

    /// The time before which the packs that it rules out are not deleted, seconds since the epoch.
    pub(crate) fn delete_after_s(&self) -> i64 {
        match self {
            Self::Condemn(_, body) => body.delete_after_s,
            Self::Repack(body) => body.delete_after_s,
            _ => i64::MAX,
        }
    }
}

/// An entry, opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its position, and the hash of its object.
    pub head: LogHead,
    /// The hash of the entry before, as this entry names it.
    pub previous: [u8; 32],
    /// When the server wrote it, by its clock, seconds since the epoch.
    pub time_s: i64,
    /// The nanoseconds of that time.
    pub time_ns: u32,
    /// The server that wrote it.
    pub server: ServerId,
    /// Its content.
    pub body: Body,
}

#[cfg(test)]
mod tests;
