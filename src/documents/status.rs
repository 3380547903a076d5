//! The document of `status`.

use jiff::Timestamp;
use lockstone_proto::ids::{DomainId, JobId, PointId, ServerId, VaultId};
use lockstone_proto::vault::PointStatus;
use lockstone_vault::log::Point;
use serde::Serialize;

use super::words;
use crate::text::render;

/// The answer of `status`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct StatusDocument {
    pub(crate) registered: bool,
    /// Null if this server is not registered.
    pub(crate) server: Option<String>,
    /// The domain whose backups it shares; null if this server is not registered.
    pub(crate) domain: Option<DomainId>,
    /// The vault's URL; null if this server is not registered.
    pub(crate) vault: Option<String>,
    /// The region that this server is registered with; only the primary one registers. Null if it is not registered.
    pub(crate) region: Option<&'static str>,
    /// Whose vault it is; null if it has no tenant, or cannot be opened.
    pub(crate) tenant: Option<String>,
    /// Absent if this server is not registered.
    #[serde(flatten)]
    pub(crate) registration: Option<RegistrationIds>,
    pub(crate) warnings: Vec<String>,
    /// The newest recovery point; null if there is none.
    pub(crate) last_point: Option<LastPoint>,
    /// Whether the policy is paused.
    pub(crate) paused: bool,
    /// When the next backup of the schedule is due. Null without a schedule, or if the policy is paused.
    pub(crate) next_run: Option<Timestamp>,
    /// Whether the daemon runs, which starts the backups of the schedule.
    pub(crate) agent_runs: bool,
    /// How far the reading of the vault is, if the policy asks for it; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<CheckStanding>,
}

/// How far the policy's reading of the vault is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CheckStanding {
    /// Within which time every byte is to be read.
    pub(crate) every_seconds: u64,
    /// Since when some byte was not read; null before the first check.
    pub(crate) unread_since: Option<Timestamp>,
    pub(crate) never_read_bytes: Option<u64>,
    /// When every byte will have been read, if the agent goes on as it should.
    pub(crate) all_read_by: Option<Timestamp>,
}

/// What only a registered server has.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RegistrationIds {
    pub(crate) server_id: ServerId,
    pub(crate) vault_id: VaultId,
    pub(crate) domain_id: DomainId,
    pub(crate) running_job: Option<JobId>,
}

/// The newest recovery point of this server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LastPoint {
    id: PointId,
    time: String,
    #[serde(serialize_with = "words::point_status")]
    status: PointStatus,
}

impl From<&Point> for LastPoint {
    fn from(point: &Point) -> LastPoint {
        LastPoint {
            id: point.id,
            time: render::utc_time(point.summary.started_s, point.summary.started_ns),
            status: point.summary.status(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_that_is_not_registered_has_no_ids() {
        assert_eq!(
            json!(StatusDocument::default()),
            json!({
                "registered": false, "server": null, "domain": null, "vault": null, "region": null, "tenant": null,
                "warnings": [], "last_point": null, "paused": false, "next_run": null, "agent_runs": false,
            })
        );
    }

    #[test]
    fn the_ids_of_a_registration_are_beside_its_names() {
        let document = StatusDocument {
            registration: Some(RegistrationIds {
                server_id: ServerId([1; 16]),
                vault_id: VaultId([2; 16]),
                domain_id: DomainId([3; 16]),
                running_job: None,
            }),
            ..StatusDocument::default()
        };
        let value = json!(document);
        assert_eq!(value["server_id"], "01".repeat(16));
        assert!(value["running_job"].is_null() && value.get("running_job").is_some());
    }
}
