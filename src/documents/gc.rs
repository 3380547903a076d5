//! The document of a collection that has ended.

use lockstone_actors::CollectReport;
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::JobState;
use serde::Serialize;

/// What a collection did, or would do.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GcDocument {
    job: JobId,
    status: JobState,
    dry_run: bool,
    /// Recovery points that the policy gave up.
    points_forgotten: u64,
    /// Deleted recovery points that cannot be brought back from now on.
    points_gone: u64,
    packs_condemned: u64,
    /// Condemned packs that no part of the index listed: an interrupted backup left them behind.
    packs_left_behind: u64,
    packs_repacked: u64,
    packs_written: u64,
    bytes_written: u64,
    packs_deleted: u64,
    bytes_freed: u64,
    /// What will be free when the time is over that readers are granted; of a dry run: what would be.
    bytes_reclaimable: u64,
    packs_waiting: u64,
    /// Packs of backups that are not finished.
    packs_unfinished: u64,
    /// What is in the vault, without what is condemned.
    packs: u64,
    bytes: u64,
    /// Of a dry run: what each point alone holds. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<Vec<HeldAlone>>,
    duration_seconds: f64,
    restarts: u32,
    warnings: Vec<String>,
}

/// What would be free if this point alone were gone.
#[derive(Debug, Clone, Serialize)]
struct HeldAlone {
    point: PointId,
    bytes: u64,
}

impl GcDocument {
    pub(crate) fn new(
        job: JobId,
        state: JobState,
        dry_run: bool,
        points_forgotten: u64,
        report: &CollectReport,
    ) -> Self {
        let collected = &report.collected;
        GcDocument {
            job,
            status: state,
            dry_run,
            points_forgotten,
            points_gone: collected.points_gone,
            packs_condemned: collected.packs_condemned,
            packs_left_behind: collected.orphans,
            packs_repacked: collected.packs_repacked,
            packs_written: collected.packs_written,
            bytes_written: collected.bytes_written,
            packs_deleted: collected.packs_deleted,
            bytes_freed: collected.bytes_freed,
            bytes_reclaimable: collected.bytes_reclaimable,
            packs_waiting: collected.packs_waiting,
            packs_unfinished: collected.packs_spared,
            packs: collected.packs,
            bytes: collected.bytes,
            points: dry_run.then(|| {
                let alone = collected.alone.iter();
                alone
                    .map(|(point, bytes)| HeldAlone {
                        point: *point,
                        bytes: *bytes,
                    })
                    .collect()
            }),
            duration_seconds: report.duration.as_secs_f64(),
            restarts: report.restarts,
            warnings: collected.warnings.clone(),
        }
    }
}
