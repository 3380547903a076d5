//! What a job's caller gets back: its status, its error in words, its warnings.

use lockstone_vault::error::Kind;
use parking_lot::Mutex;

use crate::flow::Fault;
use crate::supervisor::machine::JobState;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Everything was done.
    Completed,
    /// Everything was done but what the warnings name.
    CompletedWithWarnings,
    /// It was cancelled.
    Cancelled,
    /// It failed.
    Failed,
}

impl JobStatus {
    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::CompletedWithWarnings => "CompletedWithWarnings",
            Self::Cancelled => "Cancelled",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn of(state: JobState, warnings: u64) -> Self {
        match state {
            JobState::Completed if warnings > 0 => Self::CompletedWithWarnings,
            JobState::Completed => Self::Completed,
            JobState::Cancelled => Self::Cancelled,
            JobState::Queued | JobState::Running | JobState::Cancelling | JobState::Failed => Self::Failed,
        }
    }
}

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

/// Something that could not be kept or given back as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is about: a path, any bytes; may be empty.
    pub path: Vec<u8>,
    /// What happened.
    pub message: String,
}

/// Most warnings that are kept word for word; the others are counted.
const KEPT: usize = 10_000;

/// Where the stages put warnings.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    state: Mutex<(Vec<Warning>, u64)>,
}

impl Warnings {
    pub(crate) fn add(&self, path: impl Into<Vec<u8>>, message: impl Into<String>) {
        let warning = Warning {
            path: path.into(),
            message: message.into(),
        };
        tracing::debug!(path = %String::from_utf8_lossy(&warning.path), "{}", warning.message);
        let mut state = self.state.lock();
        state.1 += 1;
        if state.0.len() < KEPT {
            state.0.push(warning);
        }
    }

    /// How many, kept or not.
    pub(crate) fn count(&self) -> u64 {
        self.state.lock().1
    }

    /// A new generation meets the same files again.
    pub(crate) fn clear(&self) {
        *self.state.lock() = (Vec::new(), 0);
    }

    pub(crate) fn take(&self) -> (Vec<Warning>, u64) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.0), state.1)
    }
}
