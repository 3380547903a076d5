//! The documents of the control socket.

use jiff::Timestamp;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{Id, JobKindWord};

/// The answer of `GET /v1/status`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Status")]
pub(crate) struct DaemonDocument {
    /// The version of the program that the daemon runs.
    pub(crate) version: String,
    pub(crate) process: u32,
    /// The job that runs; null if none does.
    #[schemars(with = "Option<Id>")]
    pub(crate) running: Option<JobId>,
    /// The jobs that wait, in their order.
    #[schemars(with = "Vec<Id>")]
    pub(crate) waiting: Vec<JobId>,
}

/// What is asked with `POST /v1/jobs`: the backup of the policy's items, on demand.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "JobOrder")]
pub(crate) struct JobOrderDocument {
    #[schemars(with = "JobKindWord")]
    pub(crate) kind: JobKind,
}

/// The answer of `POST /v1/jobs` and of `POST /v1/jobs/{job}/cancel`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Job")]
pub(crate) struct JobDocument {
    #[schemars(with = "Id")]
    pub(crate) job: JobId,
}

/// An answer that is an error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Refusal")]
pub(crate) struct RefusalDocument {
    /// A fixed word.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: String,
    pub(crate) at: Timestamp,
}
