//! This server's own records of its jobs: one JSON file each in `<state folder>/jobs`, for `jobs list`, `jobs show` and
//! `status`.
//!
//! A record is written when a job starts and again when it ends. If a record still says `Running` while the lock is
//! free, the run was interrupted. The record is shown as interrupted, and the next job writes that down. The signed
//! records that the operator sees are in the vault (`lockstone_vault::access::job_records`).

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use jiff::Timestamp;
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files::{remove_if_there, write_atomically};
use super::folder::StateFolder;
use super::lock;
use crate::documents::common::{ErrorDocument, exact_of};
use crate::documents::schema::{Id, JobKindWord, JobStateWord};
use crate::failure::Failure;

/// How many records are kept. Older ones are removed when a job starts.
const MAX_KEPT_RECORDS: usize = 1000;

/// The code and message of a run that ended without a final record.
const INTERRUPTED: (&str, &str) = (
    "interrupted",
    "the run was interrupted (killed, or the machine went down)",
);

/// What is known of one job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct JobRecord {
    #[schemars(with = "Id")]
    pub(crate) job: JobId,
    #[schemars(with = "JobKindWord")]
    pub(crate) kind: JobKind,
    #[serde(rename = "status")]
    #[schemars(with = "JobStateWord")]
    pub(crate) state: JobState,
    /// RFC 3339, UTC.
    pub(crate) started: String,
    /// RFC 3339, UTC; absent while the job runs, and if the run was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    pub(crate) pid: i32,
    /// The run of the schedule that a backup does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scheduled: Option<Timestamp>,
    /// The recovery point that a backup makes if it succeeds. Known from the beginning, so that it can be found out
    /// whether an interrupted run had committed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub(crate) makes: Option<PointId>,
    /// What a job that waits in the daemon's queue was asked to do, in the daemon's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<Value>,
    /// What the job was asked to do: sources, point, target.
    pub(crate) request: Map<String, Value>,
    /// The recovery point that the job made or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub(crate) point: Option<PointId>,
    /// The document that `--json` printed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) report: Map<String, Value>,
    /// Why the job failed: code, message and hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorDocument>,
    /// What the job knew of the vault when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Seen>,
}

/// What a job knew of the vault when it ended. The agent's metrics show it without opening the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Seen {
    /// How many recovery points of this server are not deleted, by tag.
    pub(crate) points: BTreeMap<String, u64>,
    /// When the newest of them was begun (RFC 3339, UTC). Those that lie in the future are left
    /// out. Earlier versions wrote seconds, as `newest_point_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) newest_point: Option<Timestamp>,
    /// When the newest of them with each tag was begun. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) newest_by_tag: BTreeMap<String, Timestamp>,
    /// The bytes of the newest of them. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protected_bytes: Option<u64>,
    /// Chunks in the index.
    pub(crate) index_chunks: u64,
    /// The index's bytes on disk.
    pub(crate) index_bytes: u64,
    /// Packs that this machine found damaged or missing and whose content is not stored again.
    /// Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distrusted_packs: Option<u64>,
    /// Objects that the last check found damaged. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) damaged_objects: Option<u64>,
    /// What is known of when packs were read. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reading: Option<Reading>,
}

/// When the content of the vault was read by checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reading {
    /// Since when some byte was not read.
    pub(crate) unread_since: Timestamp,
    /// The bytes of all packs.
    pub(crate) bytes: u64,
    /// The bytes of those that were never read.
    pub(crate) bytes_never_read: u64,
}

impl JobRecord {
    /// The record of a job that starts now in this process.
    pub(crate) fn start(job: JobId, kind: JobKind, request: Map<String, Value>) -> JobRecord {
        JobRecord {
            job,
            kind,
            state: JobState::Running,
            started: now(),
            ended: None,
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            scheduled: None,
            makes: None,
            order: None,
            request,
            point: None,
            report: Map::new(),
            error: None,
            seen: None,
        }
    }

    /// The record of a job that waits in the daemon's queue.
    pub(crate) fn waiting(job: JobId, kind: JobKind, order: Value) -> JobRecord {
        JobRecord {
            state: JobState::Queued,
            order: Some(order),
            ..JobRecord::start(job, kind, Map::new())
        }
    }

    /// Whether the job waits in the daemon's queue.
    pub(crate) fn waits(&self) -> bool {
        self.state == JobState::Queued
    }

    /// Whether the run was interrupted: it neither succeeded nor failed, and nobody cancelled it.
    pub(crate) fn was_interrupted(&self) -> bool {
        let error = self.error.as_ref();
        self.state == JobState::Failed && error.is_some_and(|error| error.code == INTERRUPTED.0)
    }

    /// Whether the record says that the job runs. If its process was killed, the record still says so.
    pub(crate) fn runs(&self) -> bool {
        self.state == JobState::Running
    }

    /// Notes how the job ended, now.
    pub(crate) fn end(&mut self, state: JobState, error: Option<&Failure>) {
        self.state = state;
        self.ended = Some(now());
        self.error = error.map(ErrorDocument::from);
    }

    /// Notes that the run was interrupted.
    pub(crate) fn interrupted(&mut self) {
        self.state = JobState::Failed;
        self.error = Some(ErrorDocument::from(&interruption()));
    }

    pub(crate) fn save(&self, state: &StateFolder) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        write_atomically(&state.job(self.job), &text, 0o600)
    }
}

/// Why an interrupted job failed.
pub(crate) fn interruption() -> Failure {
    let (code, message) = INTERRUPTED;
    Failure::failed(code, message, "the next run continues where it stopped")
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now).to_string()
}

/// The record of one job; `None` if there is none that can be read.
pub(crate) fn one(state: &StateFolder, job: JobId) -> Option<JobRecord> {
    let text = std::fs::read(state.job(job)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Removes the record of a job.
pub(crate) fn remove(state: &StateFolder, job: JobId) -> anyhow::Result<()> {
    remove_if_there(&state.job(job))
}

/// All records, newest first. A file that is not a record is left out, with a line in the log.
pub(crate) fn all(state: &StateFolder) -> anyhow::Result<Vec<JobRecord>> {
    let mut jobs = read_all(state)?;
    let running = lock::holder(state)?.map(|holder| holder.job);
    for job in &mut jobs {
        if job.runs() && Some(job.job) != running {
            job.interrupted();
        }
    }
    Ok(jobs)
}

fn read_all(state: &StateFolder) -> anyhow::Result<Vec<JobRecord>> {
    let folder = state.jobs();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut jobs: Vec<JobRecord> = Vec::new();
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
    newest_first(&mut jobs);
    Ok(jobs)
}

/// The records that were written last, at most so many, the last one first. Cheaper than all of them.
pub(crate) fn written_last(state: &StateFolder, most: usize) -> anyhow::Result<Vec<JobRecord>> {
    let folder = state.jobs();
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "json")
            && let Ok(written) = entry.metadata().and_then(|metadata| metadata.modified())
        {
            files.push((written, path));
        }
    }
    files.sort_unstable_by(|a, b| b.cmp(a));
    files.truncate(most);
    let read = files.iter().filter_map(|(_, path)| std::fs::read(path).ok());
    Ok(read.filter_map(|text| serde_json::from_slice(&text).ok()).collect())
}

/// Sorts records. A job that claims to have started in the future comes last: its clock was wrong, and it must not hide
/// what came after it.
pub(crate) fn newest_first<R: std::borrow::Borrow<JobRecord>>(jobs: &mut [R]) {
    let now = now();
    jobs.sort_by(|a, b| {
        let (a, b) = (a.borrow(), b.borrow());
        let from_future = |job: &JobRecord| job.started > now && !job.runs();
        let by_time = || b.started.cmp(&a.started).then_with(|| a.job.cmp(&b.job));
        from_future(a).cmp(&from_future(b)).then_with(by_time)
    });
}

/// Brings the records up to date before a new job: marks interrupted runs, and removes old records, but never the
/// last success of a kind of job. The caller holds the lock, so no other job runs. Returns the records without their
/// reports, newest first, and the ids of those jobs that were found to be interrupted.
pub(crate) fn clean_up(state: &StateFolder) -> anyhow::Result<(Vec<JobRecord>, Vec<JobId>)> {
    let (mut kept, mut interrupted) = (Vec::new(), Vec::new());
    let mut succeeded: Vec<JobKind> = Vec::new();
    for (place, mut job) in read_all(state)?.into_iter().enumerate() {
        let is_last_success = job.state.is_success() && !succeeded.contains(&job.kind);
        if is_last_success {
            succeeded.push(job.kind);
        }
        if place >= MAX_KEPT_RECORDS && !is_last_success && !job.waits() {
            remove_if_there(&state.job(job.job))?;
            continue;
        }
        if job.runs() {
            job.interrupted();
            job.save(state)?;
            interrupted.push(job.job);
        }
        job.report = Map::new();
        kept.push(job);
    }
    Ok((kept, interrupted))
}

/// The job with this id, or the only one whose id begins with these digits.
pub(crate) fn find(state: &StateFolder, id: &str) -> Result<JobRecord, Failure> {
    let wanted = id.to_ascii_lowercase();
    let mut found = all(state)?.into_iter().filter(|job| job.job.hex().starts_with(&wanted));
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
            "`lockstone jobs list` shows the jobs",
        )),
    }
}

/// What a job's record says it was asked, with the paths that a person named.
pub(crate) fn request_for(sources: &[PathBuf]) -> Map<String, Value> {
    let text = |path: &PathBuf| Value::String(path.to_string_lossy().into_owned());
    let bytes = exact_of(sources.iter().map(|source| source.as_os_str().as_bytes()));
    let mut request = Map::from_iter([("sources".to_owned(), sources.iter().map(text).collect())]);
    if !bytes.is_empty() {
        request.insert("sources_bytes".to_owned(), bytes.into());
    }
    request
}
