//! Programs that the agent starts: hooks, commands whose output is backed up, and the tools that describe the system.
//!
//! They get no secret: the passphrase and the store's keys are taken out of their environment. Each has a process group
//! of its own, so that it can be ended together with everything that it has started.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lockstone_actors::CancelToken;
use rustix::process::{Pid, Signal, kill_process_group};

/// Variables that begin like this hold secrets.
const SECRET_PREFIXES: [&str; 4] = ["LOCKSTONE_PASSPHRASE", "AWS_", "AZURE_", "SECONDARY_"];

/// How long a program has to end by itself when it is told to.
const GRACE: Duration = Duration::from_secs(2);
/// How often a program is asked whether it has ended.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// A program with its arguments, without secrets and without input. `None` if no program is named.
pub(crate) fn command(words: &[String]) -> Option<Command> {
    use std::os::unix::process::CommandExt;
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    for (name, _) in std::env::vars_os() {
        let is_secret = |prefix: &&str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if SECRET_PREFIXES.iter().any(is_secret) {
            command.env_remove(&name);
        }
    }
    Some(command)
}

/// A program that runs. Dropping it before it has ended ends its whole process group.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    has_ended: bool,
}

/// Why a program was not waited for to its end.
#[derive(Debug)]
pub(crate) enum NotEnded {
    /// It took longer than it may.
    TimedOut,
    /// The job was cancelled.
    Cancelled,
    /// The system's error.
    Failed(io::Error),
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> io::Result<Running> {
        Ok(Running {
            child: command.spawn()?,
            has_ended: false,
        })
    }

    /// How it ended; `None` if it still runs.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let ended = self.child.try_wait()?;
        self.has_ended |= ended.is_some();
        Ok(ended)
    }

    /// Waits until it has ended, at most `patience`. If it is given up, its process group is ended. Blocks.
    pub(crate) fn wait(mut self, patience: Duration, cancel: Option<&CancelToken>) -> Result<ExitStatus, NotEnded> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended().map_err(NotEnded::Failed)? {
                return Ok(status);
            }
            if cancel.is_some_and(CancelToken::is_cancelled) {
                return Err(NotEnded::Cancelled);
            }
            if begun.elapsed() >= patience {
                return Err(NotEnded::TimedOut);
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Tells the group to end, and ends it if it does not.
    fn end(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let Some(group) = group else { return };
        // An error means that the group is gone.
        let _ = kill_process_group(group, Signal::TERM);
        let told = Instant::now();
        while told.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(ASK_EVERY);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        self.has_ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        command(&["/bin/sh", "-c", script].map(str::to_owned)).unwrap()
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        // Neither of the two heeds the signal.
        let script = format!(
            "trap '' TERM; (trap '' TERM; sleep 300) & echo $! > {0}.new; mv {0}.new {0}; wait",
            pid.display()
        );
        let running = Running::start(&mut shell(&script)).unwrap();
        while !pid.exists() {
            std::thread::sleep(ASK_EVERY);
        }
        let ended = running.wait(Duration::ZERO, None);
        assert!(matches!(ended, Err(NotEnded::TimedOut)), "{ended:?}");
        let child: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // It may be a zombie that nobody has waited for.
        while !(state().is_empty() || state().contains(") Z ")) {
            std::thread::sleep(ASK_EVERY);
        }
    }

    #[test]
    fn a_cancelled_job_ends_the_program_that_it_waits_for() {
        let cancel = CancelToken::new();
        cancel.cancel();
        let running = Running::start(&mut shell("sleep 300")).unwrap();
        let ended = running.wait(Duration::from_secs(300), Some(&cancel));
        assert!(matches!(ended, Err(NotEnded::Cancelled)), "{ended:?}");
    }

    #[test]
    fn how_it_ended_is_told() {
        let status = |script: &str| {
            let running = Running::start(&mut shell(script)).unwrap();
            running.wait(Duration::from_secs(60), None).unwrap().code()
        };
        assert_eq!((status("exit 0"), status("exit 3")), (Some(0), Some(3)));
        assert!(command(&[]).is_none());
        assert!(Running::start(&mut command(&["/no/such/program".to_owned()]).unwrap()).is_err());
    }
}
