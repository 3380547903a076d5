//! What backup, restore and check share around their job: the lock, the records, the signals, and the warnings at the end.

use std::sync::Arc;
use std::time::SystemTime;

use lockstone_actors::{JobStatus, Progress, Warning};
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::JobKind;
use serde_json::{Map, Value};
use tracing::span::EnteredSpan;

use crate::agent::home::Home;
use crate::agent::job_metrics;
use crate::agent::jobs::{self, Job, Seen};
use crate::agent::lock::JobLock;
use crate::agent::session::{Session, fresh_id};
use crate::agent::signals::JobRuns;
use crate::cli::Context;
use crate::cli::watch::{Watch, WatchArgs};
use crate::failure::{Exit, Failure};
use crate::text::render;

/// So many warnings are printed; all are counted, and in the job's record.
const SHOWN: usize = 20;

/// A job from its start to its end: holds the lock, lets signals cancel instead of kill, keeps the records.
#[derive(Debug)]
pub struct Running {
    home: Home,
    job: Job,
    kind: JobKind,
    watch: Watch,
    _lock: JobLock,
    _signals: JobRuns,
    /// Each line that is logged meanwhile says which job it is about.
    _span: EnteredSpan,
}

/// How a job ended, as far as its records go.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The word of the contract.
    pub status: JobStatus,
    /// Why it failed.
    pub error: Option<&'a Failure>,
    /// The point made or read.
    pub point: Option<PointId>,
    /// The document of `--json`.
    pub report: &'a Map<String, Value>,
    /// What the operator may see: files, bytes, stored bytes, warnings.
    pub figures: [u64; 4],
    /// Generations after the first.
    pub restarts: u32,
}

impl Running {
    /// Takes the lock and writes down that the job runs.
    ///
    /// # Errors
    /// `busy` (exit 7) where another job runs; where the address for metrics cannot be had, or the state folder cannot be
    /// written.
    pub fn begin(
        context: &Context,
        home: &Home,
        kind: JobKind,
        request: Map<String, Value>,
        watch: &WatchArgs,
    ) -> Result<Running, Failure> {
        let id: JobId = fresh_id()?;
        let word = kind_word(kind);
        let span = tracing::error_span!(target: lockstone_actors::SPANS, "job", job = %id, kind = word).entered();
        let lock = JobLock::take(home, id, word)?;
        let watch = watch.begin(context, word, id)?;
        if let Some(seen) = jobs::tidy(home)? {
            // Until this job has seen for itself.
            job_metrics::show_seen(&context.numbers, &seen);
        }
        // Batches of files that wait to be read hold their folders open.
        if let Err(error) = lockstone_host::process::raise_open_files() {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
        let job = Job::start(id, word, request);
        job.save(home)?;
        Ok(Running {
            home: home.clone(),
            job,
            kind,
            watch,
            _lock: lock,
            _signals: JobRuns::begin(),
            _span: span,
        })
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.job.job
    }

    /// The lock is held, the vault opened: the operator may know, and who watches. Only a warning where that fails.
    pub fn announce(&self, context: &Context, session: &Session, progress: &Arc<Progress>) {
        self.watch.runs(session.domain.index().folder(), progress);
        self.tell_operator(context, session, None);
    }

    /// Writes down how the job ended, here and for the operator. Only warnings where that fails: the job is done.
    pub fn end(mut self, context: &Context, session: Option<&Session>, ending: &Ending<'_>) {
        self.job.end(ending.status.word(), ending.error);
        self.job.point = ending.point;
        self.job.report.clone_from(ending.report);
        self.job.seen = session.and_then(seen);
        if let Err(error) = self.job.save(&self.home) {
            context.out.warn(format!("the job's record was not written: {error:#}"));
        }
        if let Some(session) = session {
            self.tell_operator(context, session, Some(ending));
        }
        context
            .numbers
            .recorded(&job_metrics::ended(&self.job, SystemTime::now()));
        if let Some(seen) = &self.job.seen {
            job_metrics::show_seen(&context.numbers, seen);
        }
        self.watch.end(context);
    }

    /// Ends a job that failed before it did anything, and hands its failure on.
    pub fn failed(self, context: &Context, failure: Failure) -> Failure {
        let status = if failure.exit == Exit::Cancelled {
            JobStatus::Cancelled
        } else {
            JobStatus::Failed
        };
        let ending = Ending {
            status,
            error: Some(&failure),
            point: None,
            report: &Map::new(),
            figures: [0; 4],
            restarts: 0,
        };
        self.end(context, None, &ending);
        failure
    }

    fn tell_operator(&self, context: &Context, session: &Session, ending: Option<&Ending<'_>>) {
        let written = session.write_job_record(context, &self.job, self.kind, ending);
        if let Err(error) = written {
            context
                .out
                .warn(format!("the job's record for the operator was not written: {error}"));
        }
    }
}

/// What the job knows of the vault; nothing where it did not come to read the log, or where the vault is another machine's.
fn seen(session: &Session) -> Option<Seen> {
    let view = session.domain.view();
    if view.head.n == 0 || session.domain.server().is_none() {
        return None;
    }
    let mut seen = Seen::default();
    for point in view.alive().filter(|point| session.is_own(point.server)) {
        for tag in &point.summary.tags {
            *seen.points.entry(tag.clone()).or_default() += 1;
        }
        seen.newest_point_s = seen.newest_point_s.max(Some(point.summary.started_s));
    }
    (seen.index_chunks, seen.index_bytes) = session.domain.index().size();
    Some(seen)
}

/// The word for a kind of job.
#[must_use]
pub fn kind_word(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backup => "backup",
        JobKind::Restore => "restore",
        JobKind::Check => "check",
        JobKind::Unspecified => "job",
    }
}

/// The exit code of a job that ran.
#[must_use]
pub fn exit_of(status: JobStatus, error: Option<&Failure>) -> Exit {
    match (status, error) {
        (JobStatus::Cancelled, _) => Exit::Cancelled,
        (_, Some(failure)) => failure.exit,
        (JobStatus::Completed, None) => Exit::Done,
        (JobStatus::CompletedWithWarnings, None) => Exit::Warnings,
        (JobStatus::Failed, None) => Exit::Failed,
    }
}

/// Warnings for scripts.
#[must_use]
pub fn warnings_value(warnings: &[Warning]) -> Value {
    let value = |warning: &Warning| {
        let mut value = Map::new();
        render::put_path(&mut value, &warning.path);
        value.insert("message".to_owned(), Value::String(warning.message.clone()));
        Value::Object(value)
    };
    warnings.iter().map(value).collect()
}

/// Warnings for people, on stderr; not more than a person reads.
pub fn show_warnings(context: &Context, warnings: &[Warning], total: u64) {
    for warning in warnings.iter().take(SHOWN) {
        if warning.path.is_empty() {
            context.out.warn(&warning.message);
        } else {
            context
                .out
                .warn(format!("{}: {}", render::name(&warning.path), warning.message));
        }
    }
    let left = total.saturating_sub(SHOWN as u64);
    if left > 0 {
        context
            .out
            .warn(format!("and {} more (see `lockstone jobs show`)", render::count(left)));
    }
}
