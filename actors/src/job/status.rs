//! How a job ended.

use lockstone_proto::job::JobState;

/// How a job ended. The other states of a job are in [`JobState`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JobStatus {
    /// Everything was done.
    Completed,
    /// Everything was done except what the warnings name.
    CompletedWithWarnings,
    /// It was cancelled before it was done.
    Cancelled,
    /// An error ended it, or it was never started.
    #[default]
    Failed,
}

impl JobStatus {
    /// The word used in `--json` and in records, such as `CompletedWithWarnings`.
    #[must_use]
    pub fn word(self) -> &'static str {
        JobState::from(self).word()
    }

    /// The status of a job that the supervisor ended in this state. A job that has not ended counts as failed.
    pub(crate) fn of(state: JobState, warnings: u64) -> Self {
        match state {
            JobState::Completed if warnings > 0 => Self::CompletedWithWarnings,
            JobState::Completed => Self::Completed,
            JobState::CompletedWithWarnings => Self::CompletedWithWarnings,
            JobState::Cancelled => Self::Cancelled,
            JobState::Queued | JobState::Running | JobState::Cancelling | JobState::Failed => Self::Failed,
        }
    }
}

impl From<JobStatus> for JobState {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Completed => Self::Completed,
            JobStatus::CompletedWithWarnings => Self::CompletedWithWarnings,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::Failed => Self::Failed,
        }
    }
}
