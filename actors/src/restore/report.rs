//! The result of a restore, for its caller.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lockstone_proto::ids::JobId;

use super::job::RestoreJob;
use crate::flow::Fault;
use crate::job::{JobError, JobStatus, Warning};
use crate::progress::get;
use crate::supervisor::JobEnd;

/// How a restore went.
#[derive(Debug, Clone, Default)]
pub struct RestoreReport {
    /// The job's id.
    pub job: JobId,
    /// How it ended.
    pub status: JobStatus,
    /// Why it failed. `None` if it did not.
    pub error: Option<JobError>,
    /// Files, symlinks, fifos and devices that were restored, or in a dry run would be.
    pub files: u64,
    /// Folders that were entered.
    pub folders: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes fetched from the vault, sealed.
    pub bytes_fetched: u64,
    /// Bytes of content written.
    pub bytes_written: u64,
    /// Entries left out because their place was taken.
    pub skipped: u64,
    /// Entries restored under another name because their place was taken.
    pub copies: u64,
    /// Where the first of these are.
    pub copied: Vec<Vec<u8>>,
    /// Files that were in the target already, just as in the recovery point.
    pub unchanged: u64,
    /// Files and folders that could not be restored because the vault is damaged.
    pub damaged: u64,
    /// From start to end.
    pub duration: Duration,
    /// Generations after the first.
    pub restarts: u32,
    /// The warnings, the first 10,000 word for word.
    pub warnings: Vec<Warning>,
    /// How many warnings there were.
    pub warnings_total: u64,
    /// The first 1,000 paths that a dry run would restore.
    pub would: Vec<Vec<u8>>,
    /// Entries of the target that were removed, or in a dry run would be. A folder counts once, with all that is in it.
    pub deleted: u64,
    /// The first 1,000 of them, by their paths in the recovery point.
    pub deleted_paths: Vec<Vec<u8>>,
}

impl RestoreReport {
    /// The job failed before its first stage.
    pub(super) fn not_started(job: JobId, fault: Fault) -> Self {
        Self {
            job,
            error: Some(fault.into()),
            ..Self::default()
        }
    }

    pub(super) fn of(job: &RestoreJob, end: JobEnd, duration: Duration) -> Self {
        let (warnings, warnings_total) = job.warnings.take();
        let status = JobStatus::of(end.state, warnings_total);
        let (counters, totals) = (&job.progress.counters, &job.progress.totals);
        Self {
            job: job.request.job,
            status,
            error: end.fault.map(JobError::from),
            files: get(&counters.files_done),
            folders: get(&counters.folders),
            bytes: get(&counters.bytes_done),
            bytes_fetched: get(&totals.bytes_fetched),
            bytes_written: get(&counters.bytes_written),
            skipped: get(&counters.skipped),
            copies: get(&counters.copies),
            copied: std::mem::take(&mut *job.copied.lock()),
            unchanged: get(&counters.unchanged),
            damaged: job.damaged.load(Ordering::SeqCst),
            duration,
            restarts: end.restarts,
            warnings,
            warnings_total,
            would: std::mem::take(&mut *job.would.lock()),
            deleted: job.deleted.load(Ordering::SeqCst),
            deleted_paths: std::mem::take(&mut *job.deleted_paths.lock()),
        }
    }
}
