//! Why a job failed, for its caller.

use crate::flow::{Fault, FaultKind};

/// Why a job failed.
#[derive(Debug, Clone)]
pub struct JobError {
    /// What sort of fault it was.
    pub kind: FaultKind,
    /// A fixed word for machines.
    pub code: &'static str,
    /// What happened, to what.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
    /// The process's exit code.
    pub exit_code: i32,
}

impl From<Fault> for JobError {
    fn from(fault: Fault) -> Self {
        let (code, exit_code) = match fault.kind {
            FaultKind::Transient => ("unreachable", 1),
            FaultKind::Integrity => ("damaged", 6),
            FaultKind::Key => ("refused", 5),
            FaultKind::Busy => ("busy", 7),
            FaultKind::Permanent => ("failed", 1),
        };
        Self {
            kind: fault.kind,
            code,
            message: fault.message,
            hint: fault.hint,
            exit_code,
        }
    }
}
