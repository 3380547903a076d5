//! What a job needs from outside, the same for every kind of job.

use std::sync::Arc;

use lockstone_vault::domain::Domain;

use crate::flow::CancelToken;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::tuning::Tuning;

/// What a job works with. The caller makes it and keeps clones of what it wants to watch or cancel. A job starts its
/// own threads by `tuning`; the throttle is in the domain's store.
#[derive(Clone)]
pub struct JobContext {
    /// The domain that the job reads and writes.
    pub domain: Arc<Domain>,
    /// Threads and memory. Values out of range are brought into it.
    pub tuning: Tuning,
    /// Where the figures of the job and its stages appear while it runs.
    pub metrics: Arc<Metrics>,
    /// Where the job's own counters appear while it runs. Belongs to this job alone.
    pub progress: Arc<Progress>,
    /// Cancels the job.
    pub cancel: CancelToken,
}

impl std::fmt::Debug for JobContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobContext")
            .field("domain", &self.domain.id())
            .field("tuning", &self.tuning)
            .finish_non_exhaustive()
    }
}
