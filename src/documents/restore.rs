//! The document of a restore that has ended.

use lockstone_actors::RestoreReport;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobState;
use serde::Serialize;

use super::common::{ErrorDocument, PathDocument, WarningDocument};

/// How a restore went. Sizes are in bytes, times in seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RestoreDocument {
    job: JobId,
    status: JobState,
    dry_run: bool,
    /// Files, symlinks, fifos and devices; in a dry run, those that would be restored.
    files: u64,
    folders: u64,
    bytes: u64,
    bytes_fetched: u64,
    bytes_written: u64,
    skipped: u64,
    copies: u64,
    /// Where the first copies are.
    copied: Vec<PathDocument>,
    unchanged: u64,
    /// What the recovery point does not have and was removed; in a dry run, what would be. A folder counts once.
    deleted: u64,
    /// The first of it.
    deleted_paths: Vec<PathDocument>,
    damaged: u64,
    restarts: u32,
    duration_seconds: f64,
    warnings_total: u64,
    /// The first warnings.
    warnings: Vec<WarningDocument>,
    /// The first paths that a dry run would restore; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<Vec<PathDocument>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorDocument>,
}

impl RestoreDocument {
    pub(crate) fn new(
        job: JobId,
        report: &RestoreReport,
        dry_run: bool,
        status: JobState,
        error: Option<ErrorDocument>,
    ) -> Self {
        let would = || report.would.iter().map(|path| path.as_slice().into()).collect();
        RestoreDocument {
            job,
            status,
            dry_run,
            files: report.files,
            folders: report.folders,
            bytes: report.bytes,
            bytes_fetched: report.bytes_fetched,
            bytes_written: report.bytes_written,
            skipped: report.skipped,
            copies: report.copies,
            copied: report.copied.iter().map(|path| path.as_slice().into()).collect(),
            unchanged: report.unchanged,
            deleted: report.deleted,
            deleted_paths: report.deleted_paths.iter().map(|path| path.as_slice().into()).collect(),
            damaged: report.damaged,
            restarts: report.restarts,
            duration_seconds: report.duration.as_secs_f64(),
            warnings_total: report.warnings_total,
            warnings: report.warnings.iter().map(WarningDocument::from).collect(),
            would: dry_run.then(would),
            error,
        }
    }
}

/// How a test restore went.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TestDocument {
    #[serde(flatten)]
    restore: RestoreDocument,
    /// Files that are the same as in the source.
    compared_with_source: u64,
    /// Files whose source has changed or is gone: their chunks have the right ids.
    compared_by_ids: u64,
    /// Files that differ from a source that has not changed.
    different: Vec<PathDocument>,
}

impl TestDocument {
    pub(crate) fn new(restore: RestoreDocument, (with_source, by_ids): (u64, u64), different: &[Vec<u8>]) -> Self {
        TestDocument {
            restore,
            compared_with_source: with_source,
            compared_by_ids: by_ids,
            different: different.iter().map(|path| path.as_slice().into()).collect(),
        }
    }
}
