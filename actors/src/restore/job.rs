//! One restore: what it was asked for, what it knows over all of its generations, and what one generation knows.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use lockstone_host::process::is_out_of_handles;
use lockstone_host::walk::Rules;
use lockstone_host::write::Dir;
use lockstone_proto::ids::JobId;
use lockstone_vault::buffers::Pool;
use lockstone_vault::domain::Domain;
use lockstone_vault::error::Kind;
use lockstone_vault::log::Point;
use parking_lot::Mutex;

use super::writer::groups::Groups;
use crate::engine::Engine;
use crate::flow::{Budget, CancelToken, Fault, Stop};
use crate::job::{JobContext, Warnings};
use crate::metrics::Metrics;
use crate::progress::{Progress, add};
use crate::tuning::Tuning;

/// Where a restore writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreTo {
    /// Into a folder, which is made if it is missing: `/a/b` becomes `FOLDER/a/b`.
    Folder(PathBuf),
    /// To the original paths.
    Original,
}

/// What a restore does with an entry whose place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Keep what is there, and restore the entry beside it under another name.
    Copy,
    /// Replace what is there.
    Overwrite,
    /// Keep what is there, and leave the entry out.
    Skip,
}

/// What to restore, where to, and how.
pub struct RestoreRequest {
    /// The job's id.
    pub job: JobId,
    /// The recovery point to restore from.
    pub point: Point,
    /// Absolute paths in the recovery point. If there are none, everything is restored.
    pub paths: Vec<Vec<u8>>,
    /// Only what these patterns match, and what is in folders that they match, is restored. `None`: everything.
    pub include: Option<Rules>,
    /// What these patterns match is not restored.
    pub exclude: Option<Rules>,
    /// Remove from folders that are restored whole what the recovery point does not have there.
    pub delete: bool,
    /// Folders of this program, by their real paths. They are never removed, and nothing is removed in them.
    pub spare: Vec<PathBuf>,
    /// Where to write.
    pub to: RestoreTo,
    /// What to do where the place is taken.
    pub conflict: Conflict,
    /// Do not restore POSIX ACLs.
    pub skip_acls: bool,
    /// Read back what was written and compare it.
    pub verify: bool,
    /// Write everything to the disk before the restore is called complete, and the content of a file before it replaces
    /// another.
    pub sync: bool,
    /// Only report what would be restored.
    pub dry_run: bool,
    /// The recovery point's time as it appears in the names of copies, such as `2026-11-22 03-00`.
    pub copy_stamp: String,
}

/// One restore, over all of its generations.
pub(super) struct RestoreJob {
    pub(super) domain: Arc<Domain>,
    pub(super) request: RestoreRequest,
    pub(super) tuning: Tuning,
    pub(super) engine: Engine,
    pub(super) metrics: Arc<Metrics>,
    pub(super) progress: Arc<Progress>,
    pub(super) warnings: Warnings,
    pub(super) pool: Pool,
    /// Files and folders that could not be restored because the vault is damaged.
    pub(super) damaged: AtomicU64,
    /// The most files that any generation has finished.
    pub(super) furthest: AtomicU64,
    /// The folder beneath which the last generation wrote.
    pub(super) target: Mutex<Option<Dir>>,
    /// Whether there was nothing in that folder when the restore began. It is then as if the restore had made it.
    pub(super) target_was_empty: OnceLock<bool>,
    /// What a dry run would restore.
    pub(super) would: Mutex<Vec<Vec<u8>>>,
    /// How many entries of the target were removed, or would be.
    pub(super) deleted: AtomicU64,
    /// The first of them.
    pub(super) deleted_paths: Mutex<Vec<Vec<u8>>>,
    /// Where the first copies are that stand beside what was in their place.
    pub(super) copied: Mutex<Vec<Vec<u8>>>,
}

impl RestoreJob {
    pub(super) fn new(context: &JobContext, request: RestoreRequest) -> Result<Self, Fault> {
        let tuning = context.tuning.clone();
        Ok(Self {
            domain: Arc::clone(&context.domain),
            request,
            engine: Engine::new(&tuning, &context.cancel)?,
            // Only raw bytes are in the pool's buffers, and they get half of the budget. A store has buffers of its
            // own.
            pool: Pool::new(tuning.buffers() * 2 / 3),
            tuning,
            metrics: Arc::clone(&context.metrics),
            progress: Arc::clone(&context.progress),
            warnings: Warnings::default(),
            damaged: AtomicU64::new(0),
            furthest: AtomicU64::new(0),
            target: Mutex::default(),
            target_was_empty: OnceLock::new(),
            would: Mutex::default(),
            deleted: AtomicU64::new(0),
            deleted_paths: Mutex::default(),
            copied: Mutex::default(),
        })
    }
}

/// What every stage of a generation has at hand.
#[derive(Clone)]
pub(super) struct RestoreContext {
    pub(super) job: Arc<RestoreJob>,
    pub(super) cancel: CancelToken,
    /// For sealed bytes, from before they are fetched until their last frame is opened.
    pub(super) sealed_budget: Budget,
    /// For the bytes that come out of frames, until they are written. The Opener waits for it while it holds sealed
    /// bytes. The Writer, which gives it back, waits for neither budget.
    pub(super) raw_budget: Budget,
    /// Files with several names.
    pub(super) groups: Arc<Mutex<Groups>>,
}

impl RestoreContext {
    pub(super) fn new(job: &Arc<RestoreJob>, cancel: &CancelToken) -> Self {
        let half = job.tuning.budget_bytes / 2;
        Self {
            job: Arc::clone(job),
            cancel: cancel.clone(),
            sealed_budget: Budget::new(half),
            raw_budget: Budget::new(half),
            groups: Arc::default(),
        }
    }

    /// This path could not be restored (completely), because the vault is damaged.
    pub(super) fn damaged(&self, path: &[u8], message: &str) {
        add(&self.job.damaged, 1);
        self.job.warnings.add(path, message);
    }

    /// This path could not be restored, because of the target. That is a warning, or the end of the job if no other
    /// path could be restored, either.
    pub(super) fn not_restored(&self, path: &[u8], error: &io::Error) -> Result<(), Stop> {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) || is_out_of_handles(error) {
            return Err(target_fault(path, error).into());
        }
        self.job.warnings.add(path, format!("could not be restored: {error}"));
        Ok(())
    }
}

/// A fault of the target's file system, about a path.
pub(super) fn target_fault(path: &[u8], error: &io::Error) -> Fault {
    if let Some(fault) = Fault::if_out_of_handles(path, error) {
        return fault;
    }
    let path = String::from_utf8_lossy(path);
    let message = format!("{path}: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::new(Kind::Shortage, message)
            .hint("free space on the target, then run the same restore again: what was restored stays"),
        io::ErrorKind::ReadOnlyFilesystem => Fault::permanent(message).hint("remount the target writable"),
        _ => Fault::permanent(message),
    }
}
