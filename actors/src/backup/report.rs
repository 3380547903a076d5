//! The result of a backup, for its caller.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::vault::Consistency;

use super::job::BackupJob;
use crate::flow::Fault;
use crate::job::{JobError, JobStatus, Warning};
use crate::progress::get;
use crate::supervisor::JobEnd;

/// What a backup left out on purpose.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    /// Each exclude pattern as the user gave it, and how many entries it decided about. A folder counts as one,
    /// whatever is in it.
    pub patterns: Vec<(String, u64)>,
    /// Folders marked by a `CACHEDIR.TAG`.
    pub caches: u64,
    /// Folders that have an entry with one of the names that mark folders to leave out.
    pub marked: u64,
    /// Files above the greatest size.
    pub too_large: u64,
    /// Mount points that were not entered.
    pub other_file_systems: u64,
    /// Views into the kernel.
    pub kernel_views: u64,
}

/// How a backup went. Files and folders are counted in the last generation only, as each generation walks them again.
/// Work that stays done (bytes read and stored, chunks) is counted over the whole job.
#[derive(Debug, Clone, Default)]
pub struct BackupReport {
    /// The job's id.
    pub job: JobId,
    /// The recovery point, if it was committed.
    pub point: Option<PointId>,
    /// How it ended.
    pub status: JobStatus,
    /// Why it failed. `None` if it did not.
    pub error: Option<JobError>,
    /// Files that the last recovery point did not have.
    pub files_new: u64,
    /// Files that differ from the last recovery point.
    pub files_changed: u64,
    /// Files taken over from the last recovery point.
    pub files_unchanged: u64,
    /// How many of the new and changed files an interrupted run had finished, so that they were not read again.
    pub files_resumed: u64,
    /// Folders in the sources.
    pub dirs: u64,
    /// Bytes of all files seen.
    pub bytes_scanned: u64,
    /// Bytes read from files.
    pub bytes_read: u64,
    /// In a dry run, bytes of the files that a backup would read.
    pub bytes_to_read: u64,
    /// Bytes that the vault did not have.
    pub bytes_new: u64,
    /// Bytes added to the vault: packs and segments, sealed.
    pub bytes_stored: u64,
    /// Chunks that the vault did not have.
    pub chunks_new: u64,
    /// Chunks that were read and that the vault had.
    pub chunks_known: u64,
    /// Sockets, which are skipped.
    pub sockets_skipped: u64,
    /// What else was left out.
    pub left_out: LeftOut,
    /// From start to end.
    pub duration: Duration,
    /// Time spent waiting for the throttle, summed over uploads.
    pub throttled: Duration,
    /// Generations after the first.
    pub restarts: u32,
    /// The warnings, the first 10,000 word for word.
    pub warnings: Vec<Warning>,
    /// How many warnings there were.
    pub warnings_total: u64,
    /// The most frequent endings of the names of new and changed files. Empty for a first backup.
    pub suffixes: Vec<(String, u64)>,
    /// How the weakest of the sources was read.
    pub consistency: Consistency,
}

impl BackupReport {
    /// The job failed before its first stage.
    pub(super) fn not_started(job: JobId, fault: Fault) -> Self {
        Self {
            job,
            error: Some(fault.into()),
            consistency: Consistency::Live,
            ..Self::default()
        }
    }

    pub(super) fn of(job: &BackupJob, end: JobEnd, duration: Duration) -> Self {
        let (warnings, warnings_total) = job.warnings.take();
        let status = JobStatus::of(end.state, warnings_total);
        let (counters, totals) = (&job.progress.counters, &job.progress.totals);
        Self {
            job: job.request.job,
            point: job.committed.load(Ordering::SeqCst).then_some(job.request.point),
            status,
            error: end.fault.map(JobError::from),
            files_new: get(&counters.files_new),
            files_changed: get(&counters.files_changed),
            files_unchanged: get(&counters.files_unchanged),
            files_resumed: get(&counters.files_resumed),
            dirs: get(&counters.folders),
            bytes_scanned: get(&counters.bytes_seen),
            bytes_read: get(&totals.bytes_read),
            bytes_to_read: get(&counters.bytes_to_read),
            bytes_new: get(&totals.bytes_new),
            bytes_stored: get(&totals.bytes_stored),
            chunks_new: get(&totals.chunks_new),
            chunks_known: get(&totals.chunks_known),
            sockets_skipped: get(&counters.sockets),
            left_out: LeftOut {
                patterns: job.request.rules.counts(),
                caches: get(&counters.caches),
                marked: get(&counters.marked),
                too_large: get(&counters.too_large),
                other_file_systems: get(&counters.other_file_systems),
                kernel_views: get(&counters.kernel_views),
            },
            duration,
            throttled: Duration::from_nanos(get(&totals.throttled_ns)),
            restarts: end.restarts,
            warnings,
            warnings_total,
            suffixes: job.suffixes.top(),
            consistency: *job.consistency.lock(),
        }
    }
}
