//! The programs that the policy runs around a backup. They get no secret: the passphrase and the store's keys are taken
//! out of their environment. What they print goes to this program's standard error.

use std::process::{Command, Stdio};

use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::JobState;

use crate::failure::Failure;
use crate::policy::Hooks;

/// Variables that begin like this hold secrets.
const SECRET_PREFIXES: [&str; 4] = ["LOCKSTONE_PASSPHRASE", "AWS_", "AZURE_", "SECONDARY_"];

/// Runs the program before a backup. A failure ends the backup, if the policy says that it must not fail.
pub(crate) async fn before(hooks: &Hooks, job: JobId) -> Result<Option<String>, Failure> {
    match run(&hooks.before, vec![("LOCKSTONE_JOB", job.hex())]).await {
        Ok(()) => Ok(None),
        Err(why) if hooks.before_required => {
            let hint = "mend the program that hooks.before names, or set `before_required = false` in the policy";
            Err(Failure::failed(
                "hook",
                format!("the hook before the backup failed: {why}"),
                hint,
            ))
        }
        Err(why) => Ok(Some(format!("the hook before the backup failed: {why}"))),
    }
}

/// Runs the program after a backup, whatever became of it. Returns a warning if the program failed.
pub(crate) async fn after(hooks: &Hooks, job: JobId, state: JobState, point: Option<PointId>) -> Option<String> {
    let variables = vec![
        ("LOCKSTONE_JOB", job.hex()),
        ("LOCKSTONE_STATE", state.word().to_owned()),
        ("LOCKSTONE_POINT", point.map(|point| point.hex()).unwrap_or_default()),
    ];
    let failed = run(&hooks.after, variables).await.err();
    failed.map(|why| format!("the hook after the backup failed: {why}"))
}

async fn run(command: &[String], variables: Vec<(&'static str, String)>) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let mut child = Command::new(program);
    child
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()));
    for (name, _) in std::env::vars_os() {
        let is_secret = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if SECRET_PREFIXES.iter().any(|prefix| is_secret(prefix)) {
            child.env_remove(&name);
        }
    }
    child.envs(variables);
    let program = program.clone();
    let ended = tokio::task::spawn_blocking(move || child.status()).await;
    match ended.map_err(|error| error.to_string())? {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program}: {status}")),
        Err(error) => Err(format!("{program}: {error}")),
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
        }
    }

    #[tokio::test]
    async fn a_hook_that_fails_ends_the_backup_only_if_it_must_not_fail() {
        let job = JobId::default();
        let failure = before(&hooks("exit 3", true), job).await.unwrap_err();
        assert!(failure.message.contains("exit status: 3"), "{failure}");
        let warning = before(&hooks("exit 3", false), job).await.unwrap();
        assert!(warning.unwrap().contains("exit status: 3"));
        assert_eq!(before(&hooks("exit 0", true), job).await.unwrap(), None);
        let missing = Hooks {
            before: vec!["/no/such/program".to_owned()],
            after: Vec::new(),
            before_required: true,
        };
        assert!(before(&missing, job).await.is_err());
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
}
