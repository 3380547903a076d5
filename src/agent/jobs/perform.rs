//! The skeleton of every job: right, lock, record, vault, pipeline, end.

use std::sync::Arc;

use lockstone_actors::{JobContext, Progress, SPANS, Tuning};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

use super::ending::Ending;
use super::observer::JobObserver;
use super::run::JobRun;
use crate::agent::access::session::Session;
use crate::agent::alerts;
use crate::agent::cache;
use crate::agent::environment::Environment;
use crate::agent::ids::new_job_id;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::JobRecord;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;
use crate::policy::Occasion;

/// The pipeline's thread has as much stack as a main thread.
const STACK_BYTES: usize = 8 << 20;

/// What one kind of job adds to the skeleton.
pub(crate) trait Job {
    const KIND: JobKind;
    /// What the pipeline is asked.
    type Request: Send + 'static;
    /// What the pipeline answers.
    type Report: Send + 'static;

    fn state(&self) -> &StateFolder;

    fn tuning(&self) -> Tuning;

    /// Nothing is written, neither here nor in the vault: not even records of the job.
    fn is_dry_run(&self) -> bool {
        false
    }

    /// What the job's record says it was asked to do.
    fn request_for_record(&self) -> Map<String, Value>;

    /// What else the job's record says from the beginning.
    fn note_in(&self, _record: &mut JobRecord) {}

    /// The registration that it works by; `None` if it reads by credentials, without the cache folder.
    fn own_registration(&mut self) -> Option<&mut Registration> {
        None
    }

    /// Whether it is refused if the cache folder is not as it must be. Others only warn.
    fn needs_good_cache(&self) -> bool {
        false
    }

    /// Takes what there is to warn of before the pipeline runs.
    fn take_warnings(&mut self, environment: &Environment, warnings: Vec<String>) {
        for warning in warnings {
            environment.notices.warn(warning);
        }
    }

    /// What happens before the vault is opened. A failure is a job that did not run.
    fn before(&mut self, _environment: &Environment, _job: JobId) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

    /// What happens at the very end, whatever became of the job after the lock was taken.
    fn after(
        &mut self,
        _environment: &Environment,
        _job: JobId,
        _ending: Option<&Ending>,
    ) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Opens the vault, and finds in it what the pipeline needs. Called with the lock held.
    fn open(
        &mut self,
        environment: &Environment,
        job: JobId,
    ) -> impl Future<Output = Result<(Session, Self::Request), Failure>> + Send;

    /// Runs the pipeline to its end. Blocks. A failure here is a job that did not run.
    fn work(request: Self::Request, context: JobContext) -> Result<Self::Report, Failure>;

    /// What is to be done in the vault after the pipeline, while the session is open and the lock is held. What fails
    /// here is a warning: the job is done.
    fn follow_up(
        &mut self,
        _environment: &Environment,
        _session: &Session,
        _report: &Self::Report,
    ) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// How the job ended, by the pipeline's report.
    fn ending(&self, job: JobId, report: &mut Self::Report) -> Ending;
}

/// A job that ran to its end, in whatever way it ended.
pub(crate) struct Finished<R> {
    pub(crate) report: R,
    pub(crate) ending: Ending,
    /// Where the vault is.
    pub(crate) vault_url: String,
}

/// Runs a job to its end. A failure means that the pipeline did not run; how a pipeline ended is in [`Finished`].
pub(crate) async fn perform<J: Job>(
    environment: &Environment,
    job: J,
    observer: &dyn JobObserver,
) -> Result<Finished<J::Report>, Failure> {
    perform_as(environment, job, new_job_id()?, observer).await
}

/// The same with an id that the caller has chosen.
pub(crate) async fn perform_as<J: Job>(
    environment: &Environment,
    job: J,
    id: JobId,
    observer: &dyn JobObserver,
) -> Result<Finished<J::Report>, Failure> {
    // Every line that is logged in this span says which job it is about.
    let span = tracing::error_span!(target: SPANS, "job", job = %id, kind = J::KIND.word());
    from_lock_to_end(environment, job, id, observer).instrument(span).await
}

async fn from_lock_to_end<J: Job>(
    environment: &Environment,
    mut job: J,
    id: JobId,
    observer: &dyn JobObserver,
) -> Result<Finished<J::Report>, Failure> {
    let mut new = JobRecord::start(id, J::KIND, job.request_for_record());
    job.note_in(&mut new);
    let run = JobRun::begin(environment, observer, job.state(), new, job.is_dry_run()).await?;
    let begun = match look_at_cache(environment, &mut job, id, run.protected_bytes()).await {
        Ok(()) => job.before(environment, id).await,
        refused => refused,
    };
    let finished = match begun {
        Ok(()) => run_pipeline(environment, &mut job, id, observer, run).await,
        Err(failure) => Err(run.fail(failure).await),
    };
    let ending = finished.as_ref().map(|finished| &finished.ending);
    job.after(environment, id, ending.ok()).await;
    if !job.is_dry_run() {
        alerts::after_job(environment, job.state(), J::KIND, id, ending).await;
    }
    finished
}

/// Looks at the cache folder with the lock held. The registration may have changed while the job waited for the lock.
async fn look_at_cache<J: Job>(
    environment: &Environment,
    job: &mut J,
    id: JobId,
    protected_bytes: Option<u64>,
) -> Result<(), Failure> {
    let (state, must) = (job.state().clone(), job.needs_good_cache());
    let Some(own) = job.own_registration() else {
        return Ok(());
    };
    let now = Registration::required(&state)?;
    (own.cache, own.cache_id, own.old_cache) = (now.cache, now.cache_id, now.old_cache);
    let before = cache::before_job(&state, own, protected_bytes, must)?;
    job.take_warnings(environment, before.warnings);
    if let Some(message) = before.space
        && !job.is_dry_run()
    {
        alerts::raise(environment, &state, Occasion::Cache, message, Some(id)).await;
    }
    Ok(())
}

async fn run_pipeline<J: Job>(
    environment: &Environment,
    job: &mut J,
    id: JobId,
    observer: &dyn JobObserver,
    mut run: JobRun<'_>,
) -> Result<Finished<J::Report>, Failure> {
    // Dropped after the session, because the next job needs the cache folder.
    let _lock = run.lock();
    // A store that does not answer must not keep a cancelled job.
    let opened = tokio::select! {
        opened = job.open(environment, id) => opened,
        () = environment.cancel.cancelled() => Err(Failure::cancelled()),
    };
    let (session, request) = match opened {
        Ok(opened) => opened,
        Err(failure) => return Err(run.fail(failure).await),
    };
    let progress = Arc::new(Progress::new());
    run.announce(&session, &progress).await;
    let context = JobContext {
        domain: Arc::clone(&session.domain),
        tuning: job.tuning(),
        metrics: Arc::clone(&environment.metrics),
        progress,
        cancel: environment.cancel.clone(),
    };
    let worked = on_a_thread(move || J::work(request, context)).await;
    observer.ran();
    let mut report = match worked {
        Ok(report) => report,
        Err(failure) => return Err(run.fail(failure).await),
    };
    job.follow_up(environment, &session, &report).await;
    let ending = job.ending(id, &mut report);
    run.end(Some(&session), &ending).await;
    Ok(Finished {
        report,
        ending,
        vault_url: session.vault.store().url().to_owned(),
    })
}

/// Runs blocking work on a plain thread of its own, in the caller's span. A panic of the work goes on in the caller.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (done, result) = oneshot::channel();
    let span = Span::current();
    let thread = std::thread::Builder::new()
        .name("job".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _ = done.send(span.in_scope(work));
        })
        .map_err(|error| Failure::failed("failed", format!("cannot start the job's thread: {error}"), ""))?;
    if let Ok(result) = result.await {
        return result;
    }
    match thread.join() {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(()) => Err(Failure::failed(
            "internal",
            "the job's thread ended without a result",
            "",
        )),
    }
}
