//! The document of a check that has ended.

use std::time::Duration;

use lockstone_proto::ids::PointId;
use lockstone_vault::check::{CheckReport, Repaired};
use lockstone_vault::damage::Damage;
use serde::Serialize;

use super::common::exact_of;

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CheckDocument {
    /// Whether the check ran to its end and found no damage.
    ok: bool,
    packs: u64,
    chunks: u64,
    points: u64,
    cancelled: bool,
    damaged: Vec<DamagedObject>,
    /// Objects that are not what they should be, but cost nothing.
    harmless: Vec<DamagedObject>,
    /// What `--repair` did.
    repaired: Vec<RepairedObject>,
    /// Why something could not be repaired; null if all could be, or nothing was to be.
    not_repaired: Option<String>,
    /// How many packs were read, and how many bytes.
    packs_read: u64,
    bytes_read: u64,
    /// How many packs were not read again, because a check that was stopped had read them.
    packs_read_before: u64,
    duration_seconds: f64,
}

/// Something that was repaired.
#[derive(Debug, Clone, Serialize)]
struct RepairedObject {
    object: String,
    kind: &'static str,
    how: String,
}

impl From<&Repaired> for RepairedObject {
    fn from(repaired: &Repaired) -> RepairedObject {
        RepairedObject {
            object: repaired.object.clone(),
            kind: repaired.kind.name(),
            how: repaired.how.clone(),
        }
    }
}

/// A damaged object of the vault, and what it costs.
#[derive(Debug, Clone, Serialize)]
struct DamagedObject {
    object: String,
    kind: &'static str,
    reason: String,
    /// The recovery points that need the object.
    points: Vec<PointId>,
    /// The paths that need the object, as far as they were found.
    paths: Vec<String>,
    /// For each path its exact bytes in base64, or null if it is UTF-8; absent if all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths_bytes: Vec<Option<String>>,
}

impl From<&Damage> for DamagedObject {
    fn from(damage: &Damage) -> DamagedObject {
        let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
        DamagedObject {
            object: damage.object.clone(),
            kind: damage.kind.name(),
            reason: damage.reason.clone(),
            points: damage.points.clone(),
            paths: damage.paths.iter().map(text).collect(),
            paths_bytes: exact_of(damage.paths.iter().map(|path| &path[..])),
        }
    }
}

impl CheckDocument {
    pub(crate) fn new(report: &CheckReport, duration: Duration) -> Self {
        CheckDocument {
            ok: report.damaged.is_empty() && !report.cancelled,
            packs: report.packs,
            chunks: report.chunks,
            points: report.points,
            cancelled: report.cancelled,
            damaged: report.damaged.iter().map(DamagedObject::from).collect(),
            harmless: report.harmless.iter().map(DamagedObject::from).collect(),
            repaired: report.repaired.iter().map(RepairedObject::from).collect(),
            not_repaired: report.not_repaired.clone(),
            packs_read: report.packs_read,
            bytes_read: report.bytes_read,
            packs_read_before: report.packs_read_before,
            duration_seconds: duration.as_secs_f64(),
        }
    }
}
