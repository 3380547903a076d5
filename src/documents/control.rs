//! The documents of the control socket.

use jiff::Timestamp;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use serde::{Deserialize, Serialize};

/// The answer of `GET /v1/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DaemonDocument {
    /// The version of the program that the daemon runs.
    pub(crate) version: String,
    pub(crate) process: u32,
    /// The job that runs; null if none does.
    pub(crate) running: Option<JobId>,
    /// The jobs that wait, in their order.
    pub(crate) waiting: Vec<JobId>,
}

/// What is asked with `POST /v1/jobs`: the backup of the policy's items, on demand.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobOrderDocument {
    pub(crate) kind: JobKind,
}

/// The answer of `POST /v1/jobs` and of `POST /v1/jobs/{job}/cancel`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JobDocument {
    pub(crate) job: JobId,
}

/// An answer that is an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RefusalDocument {
    /// A fixed word.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: String,
    pub(crate) at: Timestamp,
}
