//! The documents of the servers of a vault.

use lockstone_proto::ids::{CredentialId, DomainId, ServerId};
use lockstone_proto::job::{JobKind, JobRecord, JobState};
use lockstone_vault::access::orders::Ended;
use serde::Serialize;

use super::vault::DamageDocument;
use crate::text::render;

/// The answer of `vault servers`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServersDocument {
    pub(crate) servers: Vec<ServerDocument>,
    pub(crate) damaged: Vec<DamageDocument>,
}

/// A registered server. Sizes are in bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServerDocument {
    /// Its name.
    pub(crate) server: String,
    pub(crate) id: ServerId,
    pub(crate) domain_id: DomainId,
    pub(crate) registered: String,
    /// The credentials by which it registered.
    pub(crate) credential_id: CredentialId,
    /// When its newest recovery point was begun; null if it has none.
    pub(crate) last_point: Option<String>,
    /// Recovery points that are not deleted.
    pub(crate) points: u64,
    /// What these added to the vault.
    pub(crate) stored_bytes: u64,
    /// How many of them have had their time by the policy of a server that is no longer registered.
    pub(crate) expired_points: u64,
    /// Null if it has no job.
    pub(crate) last_job: Option<LastJobDocument>,
    /// `ok`, `silent`, `failing`, `revoked` or `unregistered`.
    pub(crate) health: &'static str,
    /// Null if its right to write was not ended.
    pub(crate) revoked: Option<RevokedDocument>,
}

/// The last job of a server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LastJobDocument {
    job: String,
    kind: JobKind,
    status: JobState,
    started: String,
    /// Null while the job runs.
    ended: Option<String>,
    /// The code of the failure.
    error: Option<String>,
}

impl From<&JobRecord> for LastJobDocument {
    fn from(record: &JobRecord) -> LastJobDocument {
        LastJobDocument {
            job: hex::encode(&record.job_id),
            kind: record.kind(),
            status: record.state(),
            started: render::utc_time(record.started_s, 0),
            ended: render::utc_if_set(record.ended_s),
            error: (!record.error_code.is_empty()).then(|| record.error_code.clone()),
        }
    }
}

/// The end of a server's right to write.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RevokedDocument {
    at: String,
    reason: String,
    /// The last position of its domain's log at which it counts.
    last_entry: u64,
}

impl From<&Ended> for RevokedDocument {
    fn from(ended: &Ended) -> RevokedDocument {
        RevokedDocument {
            at: ended.at.to_string(),
            reason: ended.reason.clone(),
            last_entry: ended.last_entry,
        }
    }
}

/// The answer of `vault revoke`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum RevocationDocument {
    Servers {
        revoked: Vec<RevokedServerDocument>,
    },
    Credentials {
        credential_id: CredentialId,
        /// The servers that registered with them before, and stay.
        servers: Vec<StayingServerDocument>,
    },
}

/// A server whose right has ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RevokedServerDocument {
    pub(crate) server: String,
    pub(crate) id: ServerId,
    pub(crate) domain_id: DomainId,
    pub(crate) last_entry: u64,
    pub(crate) slots_removed: u64,
    /// Whether it had ended before.
    pub(crate) again: bool,
}

/// A server that keeps its right.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StayingServerDocument {
    pub(crate) server: String,
    pub(crate) id: ServerId,
}
