//! Collecting: space that no recovery point needs is freed.
//!
//! # The order
//! 1. The log is read to its end, entry h. Forgotten points whose time is over will be *gone*: they cannot be brought
//!    back. All others are *roots*, forgotten ones as well.
//! 2. What the roots need is marked (`walk`), and what to do with each pack is planned (`plan`).
//! 3. An entry Condemn names the gone points and the packs that nothing needs. It is written only behind entry h. If
//!    others wrote meanwhile, their new points are marked, too, and the plan is made again. If they condemned a pack of
//!    which something is marked, all is marked anew: they rely on another place of it.
//! 4. What is needed of mostly dead packs is moved into new ones (`repack`), and an entry Repack names both, by the
//!    same rule: a pack of which more is needed by now than was moved is left out.
//! 5. Packs that the log condemned, by this or by an earlier collection, are deleted when the time that readers were
//!    granted is over (`sweep`).
//!
//! # Safety
//! Every chunk of a point that is not gone lies in a pack that is not condemned, at each entry of the log. A Commit is
//! refused if what it relies on was condemned before (`domain::validate`). A Condemn is refused behind a Commit that
//! it does not know. Nobody waits for anybody. Clocks decide only when something is freed.
//!
//! # Crashes
//! Whatever was not named by an entry is an orphan of a later collection. What is condemned and not deleted yet is
//! deleted by a later one.
//!
//! # Damage
//! If entries of the log are lost, or if a page of a root cannot be read, then it is not known what is needed, and
//! nothing is condemned.
//!
//! # Memory
//! One bit for each chunk, some 40 MiB of ids that were met lately, and while packs are moved, one new pack and a few
//! frames.

mod alone;
mod builder;
mod finish;
mod marks;
pub mod plan;
mod refs;
mod repack;
mod rest;
mod rewrite;
mod run;
mod sweep;
mod walk;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lockstone_proto::ids::PointId;

use crate::domain::Domain;
use crate::error::VaultError;

pub use walk::{Inline, Looked, Spawn};

/// How a vault is collected.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// Nothing is written or deleted.
    pub dry_run: bool,
    /// Condemned packs are deleted after so much time, because somebody may be reading them. Packs that no segment
    /// lists count as left behind if they are older.
    pub grace: SignedDuration,
    /// What a server stored, and has not made a point of, is kept for so long after the last sign of that server: its
    /// backup is running, or was interrupted and will go on.
    pub unfinished: SignedDuration,
    /// Packs of which less than this share is needed are repacked, percent.
    pub repack_below: u8,
    /// The size at which a new pack is closed, bytes.
    pub pack_target: u64,
    /// The zstd level of new frames.
    pub zstd_level: i32,
    /// How many works run at the same time, at least 1.
    pub workers: usize,
    /// The time.
    pub now: Timestamp,
}

impl CollectOptions {
    /// What an administrator gets who asks for nothing else.
    #[must_use]
    pub fn usual(now: Timestamp) -> Self {
        let grace = SignedDuration::from_hours(24);
        Self {
            dry_run: false,
            grace,
            unfinished: SignedDuration::from_hours(24 * i64::from(UNFINISHED_GRACES)),
            repack_below: REPACK_BELOW,
            pack_target: PACK_TARGET,
            zstd_level: crate::pack::frame::DEFAULT_LEVEL,
            workers: 1,
            now,
        }
    }
}

/// Unfinished backups are kept for so many times of grace.
pub const UNFINISHED_GRACES: u32 = 7;
/// The usual share below which packs are repacked, percent.
pub const REPACK_BELOW: u8 = 95;
/// The usual size of new packs, bytes.
pub const PACK_TARGET: u64 = 16 << 20;

/// The progress of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectProgress {
    /// The current phase: `log`, `packs`, `points`, `condemn`, `repack`, `delete` or `index`.
    pub what: &'static str,
    /// How many of them are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
    /// How many bytes were moved.
    pub bytes_moved: u64,
    /// How many bytes of packs were deleted.
    pub bytes_freed: u64,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Deleted points that cannot be brought back from now on.
    pub points_gone: u64,
    /// Packs that nothing needs and that were condemned, with those that were left behind without an entry.
    pub packs_condemned: u64,
    /// Those of them that no segment listed.
    pub orphans: u64,
    /// Packs whose needed chunks were moved into new ones.
    pub packs_repacked: u64,
    /// New packs for that.
    pub packs_written: u64,
    /// Their length, bytes.
    pub bytes_written: u64,
    /// Packs that were deleted.
    pub packs_deleted: u64,
    /// Their length, bytes.
    pub bytes_freed: u64,
    /// What will be free once the time granted to readers is over, or once somebody with the right to delete collects,
    /// bytes. In a dry run: what a collection would free.
    pub bytes_reclaimable: u64,
    /// The packs of that.
    pub packs_waiting: u64,
    /// The packs of backups that are not finished: they stay.
    pub packs_spared: u64,
    /// How many packs are in the vault, and not condemned, when it ends.
    pub packs: u64,
    /// Their length, bytes.
    pub bytes: u64,
    /// Whether the store's keys do not allow to delete.
    pub delete_refused: bool,
    /// Of a dry run: what each point that is not deleted holds alone, bytes in the vault, about.
    pub alone: Vec<(PointId, u64)>,
    /// What an administrator should know.
    pub warnings: Vec<String>,
    /// Whether it was cancelled. What was done until then counts.
    pub cancelled: bool,
}

/// Whether the caller wants to stop.
pub type Cancelled<'a> = dyn Fn() -> bool + Sync + 'a;
/// Is told of the progress.
pub type OnProgress<'a> = dyn Fn(CollectProgress) + Sync + 'a;

/// Collects a domain. Needs a signer, unless it is a dry run.
pub async fn collect(
    domain: &Arc<Domain>,
    options: &CollectOptions,
    spawn: &dyn Spawn,
    progress: &OnProgress<'_>,
    cancelled: &Cancelled<'_>,
) -> Result<CollectReport, VaultError> {
    let callbacks = run::Callbacks { progress, cancelled };
    run::Run::new(domain, options, spawn, callbacks).all().await
}

#[cfg(test)]
mod scale_tests;
#[cfg(test)]
mod tests;
