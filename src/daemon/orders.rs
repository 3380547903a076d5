//! What the queue can hold, and how each of it is carried out.

use std::sync::Arc;

use jiff::Timestamp;
use lockstone_actors::{CancelToken, Tuning};
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use serde::{Deserialize, Serialize};

use super::Daemon;
use super::events::Event;
use crate::agent::access::right::{Access, registered};
use crate::agent::alerts;
use crate::agent::environment::Environment;
use crate::agent::held_policy::InForce;
use crate::agent::housekeeping::keep_house;
use crate::agent::jobs::backup::{Backup, BackupOrder, run_due};
use crate::agent::jobs::check::{Check, CheckOrder};
use crate::agent::jobs::gc::{Gc, GcOrder};
use crate::agent::jobs::perform::perform_as;
use crate::agent::jobs::settle::settle;
use crate::agent::jobs::test_restore::Trial;
use crate::agent::notices::{Notice, Notices};
use crate::agent::state::job_records::{self, JobRecord};
use crate::agent::vault_policy;
use crate::failure::{Exit, Failure};

/// A run that was interrupted so often is said to somebody. Something may kill the daemon each time, such as a limit of
/// memory, and then no job ever fails.
const OFTEN: usize = 3;

/// What the queue can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Order {
    /// The backup of the policy's items for the run of the schedule that was due at this time.
    Scheduled { at: Timestamp },
    /// The backup of the policy's items on demand.
    OnDemand,
    /// The share of a day of the policy's reading of the whole vault.
    Check,
    /// The policy's restore of some files on trial.
    TestRestore,
    /// What is to be done once a day.
    Housekeeping,
    /// The space is freed that no recovery point needs. It gives way to everything else.
    Collect,
    /// A command of another process has its turn. The command itself does what it does.
    #[serde(skip)]
    Turn,
}

impl Order {
    /// The kind of its job. `None` if it is no job and has no record.
    pub(super) fn kind(&self) -> Option<JobKind> {
        match self {
            Order::Scheduled { .. } | Order::OnDemand => Some(JobKind::Backup),
            Order::Check => Some(JobKind::Check),
            Order::TestRestore => Some(JobKind::Restore),
            Order::Collect => Some(JobKind::Collect),
            Order::Housekeeping | Order::Turn => None,
        }
    }

    /// Whether it is ended, and done again later, when something else is to be done.
    pub(super) fn gives_way(&self) -> bool {
        *self == Order::Collect
    }
}

/// What became of an order.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is done, and how the job ended is in its record.
    Done { state: JobState, point: Option<PointId> },
    /// It did not begin, and never will.
    Failed(Failure),
    /// There is nothing to do (any more).
    Needless(&'static str),
    /// It could not begin yet.
    Later(Failure),
}

/// Carries an order out.
pub(super) async fn carry_out(daemon: Arc<Daemon>, order: Order, job: JobId, cancel: CancelToken) -> Outcome {
    let notices = Arc::new(Heard {
        daemon: Arc::clone(&daemon),
        job,
    });
    let environment = daemon.environment.for_job(cancel, notices);
    let is_house = order == Order::Housekeeping;
    let is_backup = order.kind() == Some(JobKind::Backup);
    let outcome = match order {
        Order::Scheduled { at } => scheduled(&daemon, &environment, job, at).await,
        Order::OnDemand => backup(&daemon, &environment, job, None).await,
        Order::Check => check(&daemon, &environment, job).await,
        Order::TestRestore => test_restore(&daemon, &environment, job).await,
        Order::Housekeeping => house(&environment).await,
        Order::Collect => collect(&daemon, &environment, job).await,
        // The queue sees to that.
        Order::Turn => Ok(Outcome::Needless("a turn")),
    };
    let outcome = outcome.unwrap_or_else(|failure| match failure.exit {
        Exit::Busy => Outcome::Later(failure),
        _ => Outcome::Failed(failure),
    });
    if let Outcome::Failed(failure) = &outcome
        && job_records::one(&daemon.state, job).is_none_or(|record| record.waits())
    {
        // A job that began has raised its alert itself.
        if is_house {
            alerts::house_not_kept(&environment, failure).await;
        } else if is_backup {
            alerts::not_begun(&environment, failure).await;
        }
    }
    outcome
}

async fn scheduled(daemon: &Daemon, environment: &Environment, job: JobId, at: Timestamp) -> Result<Outcome, Failure> {
    let earlier = job_records::all(&daemon.state)?;
    let same_run = earlier.into_iter().filter(|record| record.scheduled == Some(at));
    let interrupted: Vec<JobRecord> = same_run.filter(|record| record.was_interrupted()).collect();
    if interrupted.len() == OFTEN {
        alerts::often_interrupted(environment, at, OFTEN).await;
    }
    match settle(environment, &daemon.state, interrupted).await {
        Ok(false) => backup(daemon, environment, job, Some(at)).await,
        Ok(true) => Ok(Outcome::Needless(
            "an interrupted backup of this run had been committed",
        )),
        // Whether the run is done already is not known before the vault can be read.
        Err(failure) => Ok(Outcome::Later(failure)),
    }
}

/// The backup of the policy's items. `at`: the run of the schedule that it does.
async fn backup(
    daemon: &Daemon,
    environment: &Environment,
    job: JobId,
    at: Option<Timestamp>,
) -> Result<Outcome, Failure> {
    let (state, registration) = registered()?;
    let in_force = vault_policy::required(environment, &state, &registration).await?;
    if at.is_some() && !in_force.held.is_scheduled() {
        return Ok(Outcome::Needless("the policy makes no backups now"));
    }
    let run = match at.map(|at| run_due(&in_force, at)) {
        Some(Err(_)) => return Ok(Outcome::Needless("the schedule has no such run any more")),
        Some(Ok(run)) => Some(run),
        None => None,
    };
    let order = BackupOrder::of_policy(&in_force, run, Tuning::default())?;
    let backup = Backup::prepare(environment, order)?;
    let finished = perform_as(environment, backup, job, &daemon.live).await?;
    Ok(Outcome::Done {
        state: finished.ending.state,
        point: finished.ending.point,
    })
}

/// A share of the vault is read, if the policy still asks for it.
async fn check(daemon: &Daemon, environment: &Environment, job: JobId) -> Result<Outcome, Failure> {
    let (state, registration) = registered()?;
    let policy = InForce::load(&state, registration.server_id)?.map(|in_force| in_force.policy);
    let Some(every) = policy.and_then(|policy| policy.check) else {
        return Ok(Outcome::Needless("the policy reads nothing any more"));
    };
    let order = CheckOrder {
        read_data: None,
        round: Some(every),
        repair: false,
        tuning: Tuning::default(),
    };
    let check = Check::prepare(&Access::Own, order)?;
    let finished = perform_as(environment, check, job, &daemon.live).await?;
    let state = finished.ending.state;
    Ok(Outcome::Done { state, point: None })
}

/// Some files are restored on trial, if the policy still asks for it.
async fn test_restore(daemon: &Daemon, environment: &Environment, job: JobId) -> Result<Outcome, Failure> {
    let (state, registration) = registered()?;
    let policy = InForce::load(&state, registration.server_id)?.map(|in_force| in_force.policy);
    let Some(test) = policy.and_then(|policy| policy.test_restore) else {
        return Ok(Outcome::Needless("the policy restores nothing on trial any more"));
    };
    let finished = perform_as(environment, Trial::prepare(test)?, job, &daemon.live).await?;
    Ok(Outcome::Done {
        state: finished.ending.state,
        point: finished.ending.point,
    })
}

async fn collect(daemon: &Daemon, environment: &Environment, job: JobId) -> Result<Outcome, Failure> {
    let gc = Gc::prepare(GcOrder::in_background())?;
    let finished = perform_as(environment, gc, job, &daemon.live).await?;
    Ok(Outcome::Done {
        state: finished.ending.state,
        point: None,
    })
}

async fn house(environment: &Environment) -> Result<Outcome, Failure> {
    let forgotten = keep_house(environment).await?;
    tracing::info!(forgotten = forgotten.len(), "kept house");
    Ok(Outcome::Needless("kept house"))
}

/// What a job of the daemon has to say goes to the log, and to whoever follows.
struct Heard {
    daemon: Arc<Daemon>,
    job: JobId,
}

impl Notices for Heard {
    fn give(&self, notice: Notice) {
        let (severity, text) = match notice {
            Notice::Note(text) => ("note", text),
            Notice::Warning(text) => ("warning", text),
        };
        if severity == "warning" {
            tracing::warn!(job = %self.job, "{text}");
        } else {
            tracing::info!(job = %self.job, "{text}");
        }
        let job = self.job;
        self.daemon.events.tell(Event::Notice { job, severity, text });
    }
}
