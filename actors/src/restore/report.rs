//! What a restore's caller gets back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lockstone_proto::ids::JobId;

use super::Job;
use crate::flow::Fault;
use crate::job::{JobError, JobStatus, Warning};
use crate::progress::get;
use crate::supervisor::JobEnd;

/// How a restore went.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub status: JobStatus,
    /// Why it failed.
    pub error: Option<JobError>,
    /// Files, symlinks, fifos and devices restored (in a dry run: that would be).
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes that came from the vault.
    pub bytes_fetched: u64,
    /// Bytes of content written.
    pub bytes_written: u64,
    /// Entries left out because something stood there.
    pub skipped: u64,
    /// Entries restored beside what stood there.
    pub copies: u64,
    /// Files found as they should be.
    pub unchanged: u64,
    /// Files and folders that damage in the vault cost.
    pub damaged: u64,
    /// From start to end.
    pub duration: Duration,
    /// Generations after the first.
    pub restarts: u32,
    /// The first warnings, word for word.
    pub warnings: Vec<Warning>,
    /// How many there were.
    pub warnings_total: u64,
    /// Of a dry run: the first 1,000 paths.
    pub would: Vec<Vec<u8>>,
}

impl RestoreReport {
    /// The job failed before its first stage.
    pub(super) fn not_started(job: JobId, fault: Fault) -> Self {
        Self {
            job,
            status: JobStatus::Failed,
            error: Some(fault.into()),
            files: 0,
            folders: 0,
            bytes: 0,
            bytes_fetched: 0,
            bytes_written: 0,
            skipped: 0,
            copies: 0,
            unchanged: 0,
            damaged: 0,
            duration: Duration::ZERO,
            restarts: 0,
            warnings: Vec::new(),
            warnings_total: 0,
            would: Vec::new(),
        }
    }

    pub(super) fn of(job: &Job, end: JobEnd, duration: Duration) -> Self {
        let (warnings, warnings_total) = job.warnings.take();
        let status = JobStatus::of(end.state, warnings_total);
        let (counters, totals) = (&job.progress.counters, &job.progress.totals);
        job.metrics.job_ended();
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
            unchanged: get(&counters.unchanged),
            damaged: job.damaged.load(Ordering::SeqCst),
            duration,
            restarts: end.restarts,
            warnings,
            warnings_total,
            would: std::mem::take(&mut *job.would.lock()),
        }
    }
}
