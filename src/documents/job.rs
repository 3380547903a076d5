//! The documents of lists of jobs. A server's own record of a job is a document already
//! (`agent::state::job_records::JobRecord`).

use lockstone_proto::ids::{CredentialId, JobId, PointId};
use lockstone_proto::job::{JobKind, JobRecord, JobState};
use serde::Serialize;

use super::vault::DamageDocument;
use crate::text::render;

/// The answer of `jobs list`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct JobsDocument<'a, R> {
    pub(crate) jobs: &'a [R],
}

/// The answer of `jobs cancel`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CancelledJobDocument {
    pub(crate) job: JobId,
    pub(crate) cancelled: bool,
}

/// The answer of `vault jobs`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OperatorJobsDocument {
    pub(crate) jobs: Vec<OperatorJobDocument>,
    pub(crate) damaged: Vec<DamageDocument>,
}

/// A job, as the operator sees it. Sizes are in bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OperatorJobDocument {
    job: JobId,
    /// Of a job by credentials, the server whose points were read.
    server: String,
    /// The credentials by which another machine did the job; null of a server's own job.
    credential_id: Option<CredentialId>,
    kind: JobKind,
    status: JobState,
    started: String,
    /// Null while the job runs.
    ended: Option<String>,
    files: u64,
    bytes: u64,
    stored_bytes: u64,
    warnings: u64,
    restarts: u32,
    /// The recovery point that the job made or read.
    point: Option<PointId>,
    /// The code of the failure.
    error: Option<String>,
}

impl OperatorJobDocument {
    pub(crate) fn new(
        job: JobId,
        (server, credential_id): (&str, Option<CredentialId>),
        point: Option<PointId>,
        record: &JobRecord,
    ) -> Self {
        OperatorJobDocument {
            job,
            server: server.to_owned(),
            credential_id,
            kind: record.kind(),
            status: record.state(),
            started: render::utc_time(record.started_s, 0),
            ended: render::utc_if_set(record.ended_s),
            files: record.files,
            bytes: record.bytes,
            stored_bytes: record.stored_bytes,
            warnings: record.warnings,
            restarts: record.restarts,
            point,
            error: (!record.error_code.is_empty()).then(|| record.error_code.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_running_job_has_null_where_an_ended_one_has_values() {
        let record = JobRecord {
            kind: JobKind::Backup.into(),
            state: JobState::Running.into(),
            ..JobRecord::default()
        };
        let document = json!(OperatorJobDocument::new(JobId([1; 16]), ("web", None), None, &record));
        assert_eq!(
            document,
            json!({
                "job": "01".repeat(16), "server": "web", "credential_id": null, "kind": "backup", "status": "Running",
                "started": "1970-01-01T00:00:00Z", "ended": null, "files": 0, "bytes": 0, "stored_bytes": 0,
                "warnings": 0, "restarts": 0, "point": null, "error": null,
            })
        );
    }
}
