//! How a job ended, as far as its records and its caller need to know.

use lockstone_proto::ids::PointId;
use lockstone_proto::job::JobState;
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Exit, Failure};

/// What the operator sees of a job. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Bytes that the job added to the vault.
    pub(crate) stored_bytes: u64,
    pub(crate) warnings: u64,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) state: JobState,
    /// Why it failed.
    pub(crate) failure: Option<Failure>,
    /// The recovery point that it made or read.
    pub(crate) point: Option<PointId>,
    /// The document that `--json` prints, and that the job's record keeps.
    pub(crate) document: Value,
    pub(crate) figures: Figures,
    /// How often the pipeline began again.
    pub(crate) restarts: u32,
}

impl Ending {
    /// A job that failed before its pipeline ran.
    pub(crate) fn not_run(failure: &Failure) -> Ending {
        let state = if failure.exit == Exit::Cancelled {
            JobState::Cancelled
        } else {
            JobState::Failed
        };
        Ending {
            state,
            failure: Some(failure.clone()),
            point: None,
            document: Value::Null,
            figures: Figures::default(),
            restarts: 0,
        }
    }
}

/// A document as a value, for the record.
pub(super) fn value_of(document: &impl Serialize) -> Value {
    serde_json::to_value(document).unwrap_or_else(|error| {
        tracing::error!(%error, "the job's document cannot be written");
        Value::Null
    })
}
