//! One job at a time: a lock on the state folder.
//!
//! The lock is an flock on `<home>/lock`, so it ends with the process that holds it, however that ends. The file says
//! which process and which job, for `jobs cancel` and for the message that a second job gets.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use anyhow::Context;
use lockstone_proto::ids::JobId;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::home::Home;
use crate::failure::{Exit, Failure};

/// The kind of a holder that only reads.
const READING: &str = "look at the recovery points";

/// How long a job waits for such a holder.
const READER_PATIENCE: Duration = Duration::from_secs(60);

/// Who holds the lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: i32,
    /// When the process started, in clock ticks since boot: tells it from a later one with the same number.
    pub started_ticks: u64,
    /// Its job.
    pub job: JobId,
    /// `backup`, `restore` or `check`.
    pub kind: String,
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct JobLock {
    _file: File,
}

impl JobLock {
    /// Takes the lock for a job. Waits a while for a command that only reads, so that looking at a list does not cost
    /// the nightly backup.
    ///
    /// # Errors
    /// `busy` (exit 7) where another job holds it; a plain failure where the file cannot be written.
    pub fn take(home: &Home, job: JobId, kind: &str) -> Result<JobLock, Failure> {
        let patience = Instant::now() + READER_PATIENCE;
        loop {
            if let Some(lock) = JobLock::try_take(home, job, kind)? {
                return Ok(lock);
            }
            let reader = holder(home)?.is_none_or(|holder| holder.kind == READING);
            if !reader || Instant::now() > patience {
                return Err(busy(home));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Takes the lock for a command that only reads; `None` where somebody holds it.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn take_to_read(home: &Home, job: JobId) -> Result<Option<JobLock>, Failure> {
        JobLock::try_take(home, job, READING)
    }

    fn try_take(home: &Home, job: JobId, kind: &str) -> Result<Option<JobLock>, Failure> {
        let mut file = open(home)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let holder = Holder {
            pid,
            started_ticks: started_ticks(pid).unwrap_or(0),
            job,
            kind: kind.to_owned(),
        };
        write_holder(&mut file, &holder).with_context(|| format!("cannot write {}", home.lock().display()))?;
        Ok(Some(JobLock { _file: file }))
    }
}

/// The failure of a second job, which names the first where it can.
#[must_use]
pub fn busy(home: &Home) -> Failure {
    let who = match holder(home) {
        Ok(Some(holder)) => format!(
            "a {} runs already: job {}, process {}",
            holder.kind, holder.job, holder.pid
        ),
        _ => "another job runs already".to_owned(),
    };
    let hint = "wait for it to end, or stop it with `lockstone jobs cancel JOB`";
    Failure::new(Exit::Busy, "busy", who, hint)
}

/// Who holds the lock now, if anybody.
///
/// # Errors
/// Where the lock cannot be looked at.
pub fn holder(home: &Home) -> anyhow::Result<Option<Holder>> {
    let mut file = match File::open(home.lock()) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", home.lock().display())),
    };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // Between taking the lock and writing the name there is an instant; then there is a holder, but no name yet.
    Ok(serde_json::from_str(&text).ok())
}

/// Asks the process that runs `holder`'s job to cancel it.
///
/// # Errors
/// Where it is gone, or is no longer the process that took the lock, or belongs to somebody else.
pub fn cancel(holder: &Holder) -> anyhow::Result<()> {
    let pid = Pid::from_raw(holder.pid).context("the lock names no process")?;
    // A pidfd stays with its process: once the start time is verified, the signal can reach no other.
    let handle = pidfd_open(pid, PidfdFlags::empty()).with_context(|| format!("process {} is gone", holder.pid))?;
    if started_ticks(holder.pid) != Some(holder.started_ticks) {
        anyhow::bail!("process {} is not the one that runs the job", holder.pid);
    }
    pidfd_send_signal(handle, Signal::TERM).with_context(|| format!("cannot signal process {}", holder.pid))
}

fn open(home: &Home) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(home.lock())
        .with_context(|| format!("cannot open {}", home.lock().display()))
}

fn write_holder(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())
}

/// Field 22 of `/proc/PID/stat`; the fields are counted behind the name, which may hold blanks and brackets.
fn started_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind_name = &stat[stat.rfind(')')? + 1..];
    behind_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_when_it_started() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        assert!(started_ticks(pid).is_some_and(|ticks| ticks > 0));
        assert_eq!(started_ticks(-1), None);
    }
}
