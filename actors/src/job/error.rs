//! Why a job failed, for its caller.

use lockstone_vault::error::Kind;

use crate::flow::Fault;

/// Why a job failed.
#[derive(Debug, Clone)]
pub struct JobError {
    /// What kind of fault it was.
    pub kind: Kind,
    /// What happened, to what.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl From<Fault> for JobError {
    fn from(fault: Fault) -> Self {
        Self {
            kind: fault.kind,
            message: fault.message,
            hint: fault.hint,
        }
    }
}
