//! Alerts: what somebody should hear of. Each is kept in the state folder, and sent to whom the policy names.
//!
//! A command that runs a job raises its alerts as the daemon does. What the policy does not ask for is not raised, but
//! failures, deletions and alarms of the guard always are. An alert that cannot be delivered is kept, and says so.

mod deliver;
mod kept;
mod mail;

use std::time::Duration;

use jiff::Timestamp;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use serde::{Deserialize, Serialize};

pub(crate) use self::kept::all;
use super::environment::Environment;
use super::held_policy::InForce;
use super::jobs::ending::Ending;
use super::state::folder::StateFolder;
use super::state::registration::Registration;
use crate::failure::{Exit, Failure};
use crate::policy::{Notify, Occasion};
use crate::text::render;

/// How long a delivery may take.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);

/// How serious an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Backups are not as they should be.
    Critical,
    /// Deserves a look.
    Warning,
    /// Worth knowing.
    Info,
}

/// One alert, as it is kept and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) time: Timestamp,
    /// `failure`, `warnings`, `deletion`, `missed`, `cache`, `guard`, `damage`, `test` or `success`.
    pub(crate) kind: String,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    /// The job that it is about; null if it is about none.
    pub(crate) job: Option<JobId>,
    /// The name of this server.
    pub(crate) server: String,
    /// Whom it could not be delivered to, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) undelivered: Vec<String>,
    /// When what it is about was over; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Timestamp>,
}

/// Raises an alert: keeps it, and sends it to whom the policy names. What goes wrong here is a warning.
pub(crate) async fn raise(
    environment: &Environment,
    state: &StateFolder,
    occasion: Occasion,
    message: String,
    job: Option<JobId>,
) {
    match try_raise(state, occasion, message, job).await {
        Ok(undelivered) => {
            for why in undelivered {
                environment.notices.warn(format!("an alert was not delivered: {why}"));
            }
        }
        Err(failure) => {
            let why = failure.message;
            environment.notices.warn(format!("an alert could not be raised: {why}"));
        }
    }
}

async fn try_raise(
    state: &StateFolder,
    occasion: Occasion,
    message: String,
    job: Option<JobId>,
) -> Result<Vec<String>, Failure> {
    let Some(registration) = Registration::load(state)? else {
        return Ok(Vec::new());
    };
    // A policy that cannot be read must not hide a failure.
    let in_force = InForce::load(state, registration.server_id).ok().flatten();
    let notify = in_force.map(|in_force| in_force.policy.notify);
    if !is_wanted(occasion, notify.as_ref()) {
        return Ok(Vec::new());
    }
    let mut alert = Alert {
        time: Timestamp::now(),
        kind: occasion.to_string(),
        severity: severity(occasion),
        message,
        job,
        server: registration.server_name,
        undelivered: Vec::new(),
        ended: None,
    };
    // It is kept before it is sent: a program that is killed here loses the message and not the alert. On a full disk
    // it is sent all the same.
    let place = kept::keep(state, &alert);
    if let Some(notify) = notify {
        alert.undelivered = deliver::deliver(&notify, &alert).await;
    }
    let place = place?;
    if !alert.undelivered.is_empty() {
        kept::replace(&place, &alert)?;
    }
    Ok(alert.undelivered)
}

/// Notes that what the alerts of this kind were about is over. Returns whether there were any.
pub(crate) fn end(state: &StateFolder, occasion: Occasion, now: Timestamp) -> bool {
    kept::end(state, &occasion.to_string(), now).unwrap_or_else(|failure| {
        tracing::warn!("alerts could not be ended: {failure}");
        false
    })
}

/// Whether an alert of this kind is open.
pub(crate) fn is_open(state: &StateFolder, occasion: Occasion) -> bool {
    let kind = occasion.to_string();
    let all = all(state).unwrap_or_default();
    all.iter().any(|alert| alert.kind == kind && alert.ended.is_none())
}

/// Whether an alert of this kind is raised. Without a policy: whatever is not good news.
fn is_wanted(occasion: Occasion, notify: Option<&Notify>) -> bool {
    match notify {
        Some(notify) => notify.on.contains(&occasion),
        None => occasion != Occasion::Success,
    }
}

fn severity(occasion: Occasion) -> Severity {
    match occasion {
        Occasion::Failure | Occasion::Deletion | Occasion::Guard | Occasion::Damage | Occasion::Test => {
            Severity::Critical
        }
        Occasion::Warnings | Occasion::Missed | Occasion::Cache => Severity::Warning,
        Occasion::Success => Severity::Info,
    }
}

/// Raises the alert of a job that has ended: `Err` if it did not run.
pub(crate) async fn after_job(
    environment: &Environment,
    state: &StateFolder,
    kind: JobKind,
    job: JobId,
    ended: Result<&Ending, &Failure>,
) {
    if let Some((occasion, message)) = of_job(kind, job, ended) {
        raise(environment, state, occasion, message, Some(job)).await;
    }
}

/// Raises the alert of a backup of the policy that could not begin. It has no record.
pub(crate) async fn not_begun(environment: &Environment, failure: &Failure) {
    let Ok(state) = StateFolder::locate() else { return };
    let message = format!("a backup of the policy could not begin: {}", failure.message);
    raise(environment, &state, Occasion::Failure, message, None).await;
}

/// Raises the alert of a run of the schedule that is interrupted each time.
pub(crate) async fn often_interrupted(environment: &Environment, at: Timestamp, times: usize) {
    let Ok(state) = StateFolder::locate() else { return };
    let at = render::local_time(at.as_second());
    let message = format!("the backup that was due at {at} was interrupted {times} times, and is tried again");
    raise(environment, &state, Occasion::Failure, message, None).await;
}

/// Raises the alert of a daily housekeeping that failed. It has no record.
pub(crate) async fn house_not_kept(environment: &Environment, failure: &Failure) {
    let Ok(state) = StateFolder::locate() else { return };
    let message = format!("expired recovery points could not be looked for: {}", failure.message);
    raise(environment, &state, Occasion::Failure, message, None).await;
}

/// What is to be said of a job that has ended. Nothing of one that was cancelled, or that found another one running.
fn of_job(kind: JobKind, job: JobId, ended: Result<&Ending, &Failure>) -> Option<(Occasion, String)> {
    let (short, failure) = (
        &job.hex()[..8],
        ended.err().or(ended.ok().and_then(|ending| ending.failure.as_ref())),
    );
    if let Some(failure) = failure {
        // What a check finds has an alert of its own, once.
        let is_found = kind == JobKind::Check && failure.exit == Exit::Damaged;
        let is_silent = is_found || matches!(failure.exit, Exit::Cancelled | Exit::Busy);
        let message = format!("the {kind} {short} failed: {}", failure.message);
        return (!is_silent).then_some((Occasion::Failure, message));
    }
    let ending = ended.ok()?;
    match ending.state {
        JobState::Completed => Some((Occasion::Success, format!("the {kind} {short} completed"))),
        JobState::CompletedWithWarnings => {
            let warnings = render::counted(ending.figures.warnings, "warning", "warnings");
            let message = format!("the {kind} {short} completed with {warnings}: see `lockstone jobs show {short}`");
            Some((Occasion::Warnings, message))
        }
        JobState::Failed => Some((Occasion::Failure, format!("the {kind} {short} failed"))),
        JobState::Cancelled | JobState::Queued | JobState::Running | JobState::Cancelling => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_proto::job::JobState;

    use super::*;

    fn ended(state: JobState) -> Ending {
        Ending {
            state,
            ..Ending::not_run(&Failure::cancelled())
        }
    }

    #[test]
    fn a_job_is_said_to_have_failed_unless_somebody_cancelled_it() {
        let job = JobId([7; 16]);
        let of = |ending: &Ending| of_job(JobKind::Backup, job, Ok(ending)).map(|(occasion, _)| occasion);
        let mut ending = ended(JobState::Cancelled);
        assert_eq!(of(&ending), None);
        ending.failure = None;
        for (state, occasion) in [
            (JobState::Completed, Some(Occasion::Success)),
            (JobState::CompletedWithWarnings, Some(Occasion::Warnings)),
            (JobState::Failed, Some(Occasion::Failure)),
            (JobState::Cancelled, None),
        ] {
            ending.state = state;
            assert_eq!(of(&ending), occasion);
        }
        let failure = Failure::failed("x", "the store is away", "");
        let (occasion, message) = of_job(JobKind::Restore, job, Err(&failure)).unwrap();
        assert_eq!(occasion, Occasion::Failure);
        assert_eq!(message, "the restore 07070707 failed: the store is away");
        let busy = Failure::new(Exit::Busy, "busy", "", "");
        assert_eq!(of_job(JobKind::Backup, job, Err(&busy)), None);
    }

    #[test]
    fn without_a_policy_only_good_news_is_not_told() {
        assert!(is_wanted(Occasion::Missed, None) && is_wanted(Occasion::Failure, None));
        assert!(!is_wanted(Occasion::Success, None));
    }
}
