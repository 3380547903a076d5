//! This server's own records of its jobs: one JSON file each in `<home>/jobs`, for `jobs list`, `jobs show` and `status`.
//!
//! A record is written when a job starts and again when it ends. A record that still says `Running` while nobody holds
//! the lock belongs to a run that was interrupted; it is shown as such, and the next job writes that down. The signed
//! records that the operator sees are the vault's (`lockstone_vault::access::job_records`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use lockstone_proto::ids::{JobId, PointId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::home::{Home, write_atomically};
use super::lock;
use crate::failure::Failure;

/// As many records are kept; older ones are removed when a job starts.
const KEPT: usize = 1000;

/// The code and message that a run gets which ended without saying so.
const INTERRUPTED: (&str, &str) = (
    "interrupted",
    "the run was interrupted (killed, or the machine went down)",
);

/// One job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub job: JobId,
    /// `backup`, `restore` or `check`.
    pub kind: String,
    /// `Running`, or how it ended: `Completed`, `CompletedWithWarnings`, `Cancelled`, `Failed`.
    pub status: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The process.
    pub pid: i32,
    /// What it was asked: sources, point, target.
    pub request: Map<String, Value>,
    /// The recovery point that it made or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<PointId>,
    /// The figures of its report, as `--json` gives them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub report: Map<String, Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// What it knew of the vault when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// What a job knew of the vault when it ended: for the metrics of those who do not open the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// This server's recovery points that are not deleted, by tag.
    pub points: BTreeMap<String, u64>,
    /// When the newest of them was begun, seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_point_s: Option<i64>,
    /// Chunks in the index.
    pub index_chunks: u64,
    /// Its bytes on disk.
    pub index_bytes: u64,
}

impl Job {
    /// A job that starts now.
    #[must_use]
    pub fn start(job: JobId, kind: &str, request: Map<String, Value>) -> Job {
        Job {
            job,
            kind: kind.to_owned(),
            status: "Running".to_owned(),
            started: now(),
            ended: None,
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            request,
            point: None,
            report: Map::new(),
            error: None,
            seen: None,
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.status == "Running"
    }

    /// Says how it ended, now.
    pub fn end(&mut self, status: &str, error: Option<&Failure>) {
        status.clone_into(&mut self.status);
        self.ended = Some(now());
        self.error = error.map(Failure::json);
    }

    /// Says that nobody runs it any more.
    pub fn interrupted(&mut self) {
        "Failed".clone_into(&mut self.status);
        self.error =
            Some(Failure::failed(INTERRUPTED.0, INTERRUPTED.1, "the next run continues where it stopped").json());
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Where the state folder cannot be written.
    pub fn save(&self, home: &Home) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        write_atomically(&home.job(self.job), &text, 0o600)
    }
}

fn now() -> String {
    jiff::Timestamp::now()
        .round(jiff::Unit::Millisecond)
        .unwrap_or_else(|_| jiff::Timestamp::now())
        .to_string()
}

/// All records, newest first. Files that are no records are left out, with a line in the log.
///
/// # Errors
/// Where the folder cannot be read.
pub fn all(home: &Home) -> anyhow::Result<Vec<Job>> {
    let mut jobs = read_all(home)?;
    let running = lock::holder(home)?.map(|holder| holder.job);
    for job in &mut jobs {
        if job.runs() && Some(job.job) != running {
            job.interrupted();
        }
    }
    Ok(jobs)
}

fn read_all(home: &Home) -> anyhow::Result<Vec<Job>> {
    let folder = home.jobs();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut jobs: Vec<Job> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match std::fs::read(&path)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(serde_json::from_slice(&text)?))
        {
            Ok(job) => jobs.push(job),
            Err(error) => tracing::warn!(path = %path.display(), %error, "not a job record"),
        }
    }
    jobs.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| a.job.cmp(&b.job)));
    Ok(jobs)
}

/// Brings the records up to date before a new job: runs that ended without saying so, and too old ones. Called with the
/// lock held, so that whatever says `Running` does not run. Gives what the last job knew of the vault.
///
/// # Errors
/// Where the folder cannot be read or written.
pub fn tidy(home: &Home) -> anyhow::Result<Option<Seen>> {
    let mut seen = None;
    for (place, mut job) in read_all(home)?.into_iter().enumerate() {
        if place >= KEPT {
            super::home::remove_if_there(&home.job(job.job))?;
        } else if job.runs() {
            job.interrupted();
            job.save(home)?;
        } else if seen.is_none() {
            seen = job.seen;
        }
    }
    Ok(seen)
}

/// The job that an id, or the beginning of one, means.
///
/// # Errors
/// Where there is none, or more than one.
pub fn find(home: &Home, id: &str) -> Result<Job, Failure> {
    let wanted = id.to_ascii_lowercase();
    let mut found = all(home)?.into_iter().filter(|job| job.job.hex().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(job), None) if !wanted.is_empty() => Ok(job),
        (Some(_), _) => Err(Failure::failed(
            "ambiguous",
            format!("more than one job begins with {id:?}"),
            "give more digits",
        )),
        (None, _) => Err(Failure::failed(
            "no-such-job",
            format!("no job {id:?} on this server"),
            "see `lockstone jobs list`",
        )),
    }
}

/// A report, by the name it has in a job's request.
#[must_use]
pub fn request(sources: &[PathBuf]) -> Map<String, Value> {
    let sources = sources
        .iter()
        .map(|path| Value::String(path.to_string_lossy().into_owned()))
        .collect();
    Map::from_iter([("sources".to_owned(), Value::Array(sources))])
}
