//! One job at a time: a lock on the state folder.
//!
//! The lock is an flock on `<state folder>/lock`, so it ends with the process that holds it, in whatever way the
//! process ends. The file says which process and which job hold the lock, for `jobs cancel` and for the message that
//! a second job gets.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use anyhow::Context;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::folder::StateFolder;
use crate::failure::{Exit, Failure};

/// How long a job waits for a command that only reads.
const READER_PATIENCE: Duration = Duration::from_secs(60);

/// How often a job that waits looks at the lock again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What the lock is held for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) enum Purpose {
    Job(JobKind),
    Registration,
    Cache,
    Delete,
    Undelete,
    Housekeeping,
    Hold,
    Release,
    /// Looking at recovery points. A job waits for this a while.
    Read,
    /// What a later version of this program holds it for.
    Other(String),
}

impl Purpose {
    fn word(&self) -> &str {
        match self {
            Purpose::Job(kind) => kind.word(),
            Purpose::Registration => "registration",
            Purpose::Cache => "cache",
            Purpose::Delete => "delete",
            Purpose::Undelete => "undelete",
            Purpose::Housekeeping => "housekeeping",
            Purpose::Hold => "hold",
            Purpose::Release => "release",
            Purpose::Read => "look at the recovery points",
            Purpose::Other(word) => word,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<Purpose> for String {
    fn from(purpose: Purpose) -> String {
        purpose.to_string()
    }
}

impl From<String> for Purpose {
    fn from(word: String) -> Purpose {
        let known = [
            Purpose::Registration,
            Purpose::Cache,
            Purpose::Delete,
            Purpose::Undelete,
            Purpose::Housekeeping,
            Purpose::Hold,
            Purpose::Release,
            Purpose::Read,
        ];
        let jobs = JobKind::ALL.into_iter().map(Purpose::Job);
        let found = jobs.chain(known).find(|purpose| purpose.word() == word);
        found.unwrap_or(Purpose::Other(word))
    }
}

/// The process that holds the lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) pid: i32,
    /// When the process started, in clock ticks since boot. A later process with the same number started at another
    /// time.
    pub(crate) started_ticks: u64,
    pub(crate) job: JobId,
    /// Why it holds the lock.
    pub(crate) kind: Purpose,
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct JobLock {
    #[expect(dead_code, reason = "the open file holds the lock")]
    file: File,
}

impl JobLock {
    /// Takes the lock. Waits up to a minute for a command that only reads, so that a look at a list does not cost the
    /// nightly backup. Fails with `busy` (exit 7) if another job holds the lock.
    pub(crate) async fn take(state: &StateFolder, job: JobId, purpose: Purpose) -> Result<JobLock, Failure> {
        let patience = Instant::now() + READER_PATIENCE;
        loop {
            if let Some(lock) = JobLock::try_take(state, job, purpose.clone())? {
                return Ok(lock);
            }
            let reader = holder(state)?.is_none_or(|holder| holder.kind == Purpose::Read);
            if !reader || Instant::now() > patience {
                return Err(busy(state));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Takes the lock for a command that only reads.
    pub(crate) fn take_to_read(state: &StateFolder, job: JobId) -> Result<ToRead, Failure> {
        match JobLock::try_take(state, job, Purpose::Read) {
            Ok(Some(lock)) => Ok(ToRead::Free(lock)),
            Ok(None) => Ok(ToRead::Held),
            Err(error) if cannot_be_written(&error) => Ok(ToRead::NotWritable),
            Err(error) => Err(error.into()),
        }
    }

    fn try_take(state: &StateFolder, job: JobId, purpose: Purpose) -> anyhow::Result<Option<JobLock>> {
        let mut file = open(state)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let holder = Holder {
            pid,
            started_ticks: started_ticks(pid).unwrap_or(0),
            job,
            kind: purpose,
        };
        write_holder(&mut file, &holder).with_context(|| format!("cannot write {}", state.lock().display()))?;
        Ok(Some(JobLock { file }))
    }
}

/// What a command that only reads finds.
#[derive(Debug)]
pub(crate) enum ToRead {
    /// The lock was free, and is this command's now.
    Free(JobLock),
    /// A job holds the lock.
    Held,
    /// The state folder is full or read-only. The cache cannot be used then, but the vault can be read.
    NotWritable,
}

/// Whether the file system of the state folder takes no more.
fn cannot_be_written(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| matches!(cause.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull))
}

/// The failure of a job that finds the lock held. It names the holder if the file does.
fn busy(state: &StateFolder) -> Failure {
    let who = match holder(state) {
        Ok(Some(holder)) => format!(
            "a {} runs already: job {}, process {}",
            holder.kind, holder.job, holder.pid
        ),
        _ => "another job runs already".to_owned(),
    };
    let hint = "wait for it to end, or stop it with `lockstone jobs cancel JOB`";
    Failure::new(Exit::Busy, "busy", who, hint)
}

/// The process that holds the lock now; `None` if the lock is free.
pub(crate) fn holder(state: &StateFolder) -> anyhow::Result<Option<Holder>> {
    let mut file = match File::open(state.lock()) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", state.lock().display())),
    };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // A process takes the lock an instant before it writes its name. In that instant the holder has no name.
    Ok(serde_json::from_str(&text).ok())
}

/// Asks the process that runs `holder`'s job to cancel it. Fails if that process is gone, or belongs to another user.
pub(crate) fn cancel(holder: &Holder) -> anyhow::Result<()> {
    let pid = Pid::from_raw(holder.pid).context("the lock names no process")?;
    // A pidfd stays with its process. Once the start time is verified, the signal cannot reach another process.
    let handle = pidfd_open(pid, PidfdFlags::empty()).with_context(|| format!("process {} is gone", holder.pid))?;
    if started_ticks(holder.pid) != Some(holder.started_ticks) {
        anyhow::bail!("process {} is not the one that runs the job", holder.pid);
    }
    pidfd_send_signal(handle, Signal::TERM).with_context(|| format!("cannot signal process {}", holder.pid))
}

fn open(state: &StateFolder) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(state.lock())
        .with_context(|| format!("cannot open {}", state.lock().display()))
}

fn write_holder(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())
}

/// Field 22 of `/proc/PID/stat`. The fields are counted from the end of the name, which may contain blanks and
/// brackets.
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

    #[test]
    fn a_purpose_is_read_back_from_its_word() {
        for purpose in [
            Purpose::Job(JobKind::Backup),
            Purpose::Read,
            Purpose::Other("mending".to_owned()),
        ] {
            assert_eq!(Purpose::from(String::from(purpose.clone())), purpose);
        }
    }
}
