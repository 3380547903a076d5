//! The document of a backup that has ended.

use lockstone_actors::{BackupReport, LeftOut};
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::JobState;
use lockstone_proto::vault::Consistency;
use serde::Serialize;

use super::common::{ErrorDocument, WarningDocument};

/// How a backup went. Sizes are in bytes, times in seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BackupDocument {
    job: JobId,
    /// The recovery point; null if none was made.
    point: Option<PointId>,
    status: JobState,
    /// `snapshot` or `live`.
    consistency: &'static str,
    files_new: u64,
    files_changed: u64,
    files_unchanged: u64,
    /// Of the new and changed files: finished by an interrupted run, and not read again.
    files_resumed: u64,
    dirs: u64,
    bytes_scanned: u64,
    bytes_read: u64,
    bytes_new: u64,
    bytes_stored: u64,
    chunks_new: u64,
    chunks_known: u64,
    sockets_skipped: u64,
    excluded: ExcludedDocument,
    duration_seconds: f64,
    throttled_seconds: f64,
    restarts: u32,
    /// Expired recovery points that the policy deleted after this backup.
    points_forgotten: Vec<PointId>,
    /// Nothing was read, stored or committed: the files were only compared with the last recovery point.
    dry_run: bool,
    /// The most frequent endings of the names of new and changed files.
    suffixes: Vec<SuffixDocument>,
    /// What is strange about this backup. While somebody has to look, the policy deletes nothing.
    guard: Vec<String>,
    warnings_total: u64,
    /// The first warnings.
    warnings: Vec<WarningDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorDocument>,
}

/// What was left out on purpose, apart from sockets.
#[derive(Debug, Clone, Serialize)]
struct ExcludedDocument {
    patterns: Vec<PatternDocument>,
    cache_folders: u64,
    /// Folders with an entry of `--exclude-if-present`.
    marked_folders: u64,
    /// Files above `--exclude-larger-than`.
    larger_files: u64,
    other_file_systems: u64,
    kernel_views: u64,
}

/// How the names of so many files end.
#[derive(Debug, Clone, Serialize)]
struct SuffixDocument {
    suffix: String,
    files: u64,
}

/// An exclude pattern as the user gave it, and how many entries it decided about.
#[derive(Debug, Clone, Serialize)]
struct PatternDocument {
    pattern: String,
    entries: u64,
}

impl From<&LeftOut> for ExcludedDocument {
    fn from(left_out: &LeftOut) -> Self {
        let patterns = left_out.patterns.iter().map(|(pattern, entries)| PatternDocument {
            pattern: pattern.clone(),
            entries: *entries,
        });
        ExcludedDocument {
            patterns: patterns.collect(),
            cache_folders: left_out.caches,
            marked_folders: left_out.marked,
            larger_files: left_out.too_large,
            other_file_systems: left_out.other_file_systems,
            kernel_views: left_out.kernel_views,
        }
    }
}

fn suffix((suffix, files): (String, u64)) -> SuffixDocument {
    SuffixDocument { suffix, files }
}

impl BackupDocument {
    /// With what is strange about the backup.
    pub(crate) fn with_guard(self, reasons: &[String]) -> Self {
        BackupDocument {
            guard: reasons.to_vec(),
            ..self
        }
    }

    pub(crate) fn new(
        job: JobId,
        report: &BackupReport,
        status: JobState,
        error: Option<ErrorDocument>,
        forgotten: &[PointId],
        dry_run: bool,
    ) -> Self {
        BackupDocument {
            job,
            point: report.point,
            status,
            consistency: match report.consistency {
                Consistency::Snapshot => "snapshot",
                Consistency::Live | Consistency::Unspecified => "live",
            },
            files_new: report.files_new,
            files_changed: report.files_changed,
            files_unchanged: report.files_unchanged,
            files_resumed: report.files_resumed,
            dirs: report.dirs,
            bytes_scanned: report.bytes_scanned,
            bytes_read: report.bytes_read,
            bytes_new: report.bytes_new,
            bytes_stored: report.bytes_stored,
            chunks_new: report.chunks_new,
            chunks_known: report.chunks_known,
            sockets_skipped: report.sockets_skipped,
            excluded: ExcludedDocument::from(&report.left_out),
            duration_seconds: report.duration.as_secs_f64(),
            throttled_seconds: report.throttled.as_secs_f64(),
            restarts: report.restarts,
            points_forgotten: forgotten.to_vec(),
            dry_run,
            suffixes: report.suffixes.iter().cloned().map(suffix).collect(),
            guard: Vec::new(),
            warnings_total: report.warnings_total,
            warnings: report.warnings.iter().map(WarningDocument::from).collect(),
            error,
        }
    }
}
