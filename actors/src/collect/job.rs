//! One collection: what it was asked for, what it knows over all of its generations, and its result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use lockstone_proto::ids::JobId;
use lockstone_vault::collect::CollectReport as Collected;
use lockstone_vault::domain::Domain;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::flow::Fault;
use crate::job::{JobContext, JobError, JobStatus};
use crate::progress::Progress;
use crate::supervisor::JobEnd;
use crate::tuning::Tuning;

/// What to collect.
#[derive(Debug, Clone, Copy)]
pub struct CollectRequest {
    /// The job's id.
    pub job: JobId,
    /// Nothing is written or deleted.
    pub dry_run: bool,
    /// Condemned packs are deleted after so much time.
    pub grace: SignedDuration,
    /// What unfinished backups stored is kept for so long.
    pub unfinished: SignedDuration,
    /// Packs of which less than this share is needed are repacked, percent.
    pub repack_below: u8,
}

/// How a collection went.
#[derive(Debug, Clone, Default)]
pub struct CollectReport {
    /// The job's id.
    pub job: JobId,
    /// How it ended.
    pub status: JobStatus,
    /// Why it could not go on. `None` if it could.
    pub error: Option<JobError>,
    /// What it did.
    pub collected: Collected,
    /// From start to end.
    pub duration: Duration,
    /// Generations after the first.
    pub restarts: u32,
}

impl CollectReport {
    /// The job failed before its first stage.
    pub(super) fn not_started(job: JobId, fault: Fault) -> Self {
        Self {
            job,
            error: Some(fault.into()),
            ..Self::default()
        }
    }

    pub(super) fn of(job: &CollectJob, end: JobEnd, duration: Duration) -> Self {
        let collected = job.collected.lock().take().unwrap_or_default();
        Self {
            job: job.request.job,
            status: JobStatus::of(end.state, collected.warnings.len() as u64),
            error: end.fault.map(JobError::from),
            collected,
            duration,
            restarts: end.restarts,
        }
    }
}

/// One collection, over all of its generations.
pub(super) struct CollectJob {
    pub(super) domain: Arc<Domain>,
    pub(super) request: CollectRequest,
    pub(super) tuning: Tuning,
    pub(super) engine: Engine,
    pub(super) progress: Arc<Progress>,
    /// What the last generation that came to its end has done.
    pub(super) collected: Mutex<Option<Collected>>,
    /// The most steps that any generation has done.
    furthest: AtomicU64,
}

impl CollectJob {
    pub(super) fn new(context: &JobContext, request: CollectRequest) -> Result<Self, Fault> {
        Ok(Self {
            domain: Arc::clone(&context.domain),
            request,
            engine: Engine::new(&context.tuning, &context.cancel)?,
            tuning: context.tuning.clone(),
            progress: Arc::clone(&context.progress),
            collected: Mutex::default(),
            furthest: AtomicU64::new(0),
        })
    }

    /// A generation has done so many steps. Each begins with reading what is there, so only one that gets further than
    /// any before it has made progress.
    pub(super) fn got_to(&self, steps: u64) {
        self.furthest.fetch_max(steps, Ordering::SeqCst);
    }

    pub(super) fn furthest(&self) -> u64 {
        self.furthest.load(Ordering::SeqCst)
    }
}
