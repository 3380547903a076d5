//! The programs that the policy runs around a backup. What they print goes to this program's standard error. A hook
//! that takes longer than the policy allows is ended with all that it has started.

use std::process::Stdio;
use std::time::Duration;

use lockstone_actors::CancelToken;
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::JobState;

use super::programs::{self, NotEnded, Running};
use crate::failure::Failure;
use crate::policy::Hooks;

/// Runs the program before a backup. A failure ends the backup, if the policy says that it must not fail. A cancelled
/// job ends the program.
pub(crate) async fn before(hooks: &Hooks, job: JobId, cancel: &CancelToken) -> Result<Option<String>, Failure> {
    let variables = vec![("LOCKSTONE_JOB", job.hex())];
    let why = match run(&hooks.before, variables, hooks.timeout, Some(cancel.clone())).await {
        Ok(()) => return Ok(None),
        Err(Failed::Cancelled) => return Err(Failure::cancelled()),
        Err(Failed::Because(why)) => why,
    };
    let message = format!("the hook before the backup failed: {why}");
    if !hooks.before_required {
        return Ok(Some(message));
    }
    let hint = "mend the program that hooks.before names, or set `before_required = false` in the policy";
    Err(Failure::failed("hook", message, hint))
}

/// Runs the program after a backup, whatever became of it. Returns a warning if the program failed. It runs to its end
/// also after a cancelled job: it may have to start what the other hook has stopped.
pub(crate) async fn after(hooks: &Hooks, job: JobId, state: JobState, point: Option<PointId>) -> Option<String> {
    let variables = vec![
        ("LOCKSTONE_JOB", job.hex()),
        ("LOCKSTONE_STATE", state.word().to_owned()),
        ("LOCKSTONE_POINT", point.map(|point| point.hex()).unwrap_or_default()),
    ];
    match run(&hooks.after, variables, hooks.timeout, None).await {
        Err(Failed::Because(why)) => Some(format!("the hook after the backup failed: {why}")),
        Ok(()) | Err(Failed::Cancelled) => None,
    }
}

/// Why a hook did not succeed.
enum Failed {
    Cancelled,
    Because(String),
}

async fn run(
    words: &[String],
    variables: Vec<(&'static str, String)>,
    timeout: Duration,
    cancel: Option<CancelToken>,
) -> Result<(), Failed> {
    let Some(mut command) = programs::command(words) else {
        return Ok(());
    };
    command.stdout(Stdio::from(std::io::stderr())).envs(variables);
    let waited = tokio::task::spawn_blocking(move || {
        let running = Running::start(&mut command).map_err(NotEnded::Failed)?;
        running.wait(timeout, cancel.as_ref())
    });
    let program = words.first().map(String::as_str).unwrap_or_default();
    let because = |why: String| Failed::Because(format!("{program}: {why}"));
    match waited.await.map_err(|error| because(error.to_string()))? {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(because(status.to_string())),
        Err(NotEnded::Cancelled) => Err(Failed::Cancelled),
        Err(NotEnded::Failed(error)) => Err(because(error.to_string())),
        Err(NotEnded::TimedOut) => Err(because(format!(
            "it was ended because it took longer than {} s (`hooks.timeout`)",
            timeout.as_secs()
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn hooks(script: &str, before_required: bool) -> Hooks {
        let command: Vec<String> = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Hooks {
            before: command.clone(),
            after: command,
            before_required,
            timeout: Duration::from_secs(600),
        }
    }

    #[tokio::test]
    async fn a_hook_that_fails_ends_the_backup_only_if_it_must_not_fail() {
        let (job, live) = (JobId::default(), CancelToken::new());
        let failure = before(&hooks("exit 3", true), job, &live).await.unwrap_err();
        assert!(failure.message.contains("exit status: 3"), "{failure}");
        let warning = before(&hooks("exit 3", false), job, &live).await.unwrap();
        assert!(warning.unwrap().contains("exit status: 3"));
        assert_eq!(before(&hooks("exit 0", true), job, &live).await.unwrap(), None);
        let missing = Hooks {
            before: vec!["/no/such/program".to_owned()],
            after: Vec::new(),
            before_required: true,
            timeout: Duration::from_secs(600),
        };
        assert!(before(&missing, job, &live).await.is_err());
        assert_eq!(after(&missing, job, JobState::Failed, None).await, None);
    }

    #[tokio::test]
    async fn a_hook_is_told_of_the_job() {
        let said = "test \"$LOCKSTONE_STATE\" = Failed && test -n \"$LOCKSTONE_JOB\" && test -z \"$LOCKSTONE_POINT\"";
        assert_eq!(
            after(&hooks(said, true), JobId::default(), JobState::Failed, None).await,
            None
        );
    }

    #[tokio::test]
    async fn a_hook_that_takes_too_long_is_ended_and_so_is_one_of_a_cancelled_job() {
        let job = JobId::default();
        let slow = Hooks {
            timeout: Duration::ZERO,
            ..hooks("sleep 300", true)
        };
        let failure = before(&slow, job, &CancelToken::new()).await.unwrap_err();
        assert!(failure.message.contains("hooks.timeout"), "{failure}");
        let warning = after(&slow, job, JobState::Completed, None).await.unwrap();
        assert!(warning.contains("hooks.timeout"), "{warning}");
        let cancelled = CancelToken::new();
        cancelled.cancel();
        let failure = before(&hooks("sleep 300", true), job, &cancelled).await.unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Cancelled);
    }
}
