//! One check: what it was asked for, what it knows over all of its generations, and its result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockstone_proto::ids::JobId;
use lockstone_vault::check::CheckReport as Findings;
use lockstone_vault::domain::Domain;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::flow::Fault;
use crate::job::{JobContext, JobError, JobStatus};
use crate::progress::Progress;
use crate::supervisor::JobEnd;
use crate::tuning::Tuning;

/// What to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckRequest {
    /// The job's id.
    pub job: JobId,
    /// The percentage of the packs of which every byte is read. `None`: only the structure is checked.
    pub read_data: Option<f64>,
    /// Every byte is to be read within this time, by a check each day: reads the share of this one. Instead of
    /// `read_data`.
    pub round: Option<Duration>,
    /// Whether what is damaged is repaired.
    pub repair: bool,
}

/// How a check went.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// The job's id.
    pub job: JobId,
    /// How it ended. `Completed` says that everything was looked at, and not that everything is whole.
    pub status: JobStatus,
    /// Why it could not go on, such as a store that can't be reached or a wrong key. `None` if it could.
    pub error: Option<JobError>,
    /// What the check found. If it was cancelled: what it had found until then.
    pub found: Findings,
    /// From start to end.
    pub duration: Duration,
    /// Generations after the first.
    pub restarts: u32,
}

impl CheckReport {
    /// The job failed before its first stage.
    pub(super) fn not_started(job: JobId, fault: Fault) -> Self {
        Self {
            job,
            error: Some(fault.into()),
            ..Self::default()
        }
    }

    pub(super) fn of(job: &CheckJob, end: JobEnd, duration: Duration) -> Self {
        let status = JobStatus::of(end.state, 0);
        let mut found = job.found.lock().take().unwrap_or_default();
        found.cancelled |= status == JobStatus::Cancelled;
        Self {
            job: job.request.job,
            status,
            error: end.fault.map(JobError::from),
            found,
            duration,
            restarts: end.restarts,
        }
    }
}

/// One check, over all of its generations.
pub(super) struct CheckJob {
    pub(super) domain: Arc<Domain>,
    pub(super) request: CheckRequest,
    pub(super) tuning: Tuning,
    pub(super) engine: Engine,
    pub(super) progress: Arc<Progress>,
    /// Selects the packs that are read, if only some are. Every generation reads the same ones.
    pub(super) sample: u64,
    /// What the last generation that came to its end has found.
    pub(super) found: Mutex<Option<Findings>>,
    /// The most objects that any generation has looked at.
    furthest: AtomicU64,
}

impl CheckJob {
    pub(super) fn new(context: &JobContext, request: CheckRequest) -> Result<Self, Fault> {
        let mut sample = [0; 8];
        getrandom::fill(&mut sample)
            .map_err(|error| Fault::permanent(format!("the system gives no random bytes: {error}")))?;
        Ok(Self {
            domain: Arc::clone(&context.domain),
            request,
            engine: Engine::new(&context.tuning, &context.cancel)?,
            tuning: context.tuning.clone(),
            progress: Arc::clone(&context.progress),
            sample: u64::from_le_bytes(sample),
            found: Mutex::default(),
            furthest: AtomicU64::new(0),
        })
    }

    /// A generation has looked at so many objects. Each begins anew, so only one that gets further than any before it
    /// has made progress.
    pub(super) fn got_to(&self, objects: u64) {
        self.furthest.fetch_max(objects, Ordering::SeqCst);
    }

    pub(super) fn furthest(&self) -> u64 {
        self.furthest.load(Ordering::SeqCst)
    }
}
