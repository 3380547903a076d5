//! Reads the records of this server's jobs for the agent's pages.
//!
//! The agent reads them for every request, but a record's file only if it has changed. Each job that has ended is
//! counted once in the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lockstone_actors::Metrics;
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use serde::Serialize;
use serde_json::{Number, Value};

use crate::agent::jobs::metrics as job_metrics;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::{JobRecord, newest_first};
use crate::agent::state::lock;

/// At most this many jobs are shown.
const MAX_SHOWN_JOBS: usize = 100;

/// The records as they were last read.
#[derive(Debug)]
pub(super) struct Records {
    state: StateFolder,
    known: BTreeMap<PathBuf, Record>,
    counted: BTreeSet<JobId>,
}

/// One record, and when its file was last written.
#[derive(Debug)]
struct Record {
    written: SystemTime,
    job: JobRecord,
}

impl Records {
    /// Reads nothing yet.
    pub(super) fn new(state: &StateFolder) -> Records {
        Records {
            state: state.clone(),
            known: BTreeMap::new(),
            counted: BTreeSet::new(),
        }
    }

    /// Reads the records that have changed, and updates the metrics.
    pub(super) fn read(&mut self, metrics: &Metrics) {
        if let Err(error) = self.refresh() {
            tracing::warn!(folder = %self.state.jobs().display(), %error, "the records of jobs cannot be read");
        }
        let running_job = match lock::holder(&self.state) {
            Ok(holder) => holder.map(|holder| holder.job),
            Err(error) => {
                tracing::warn!("{error:#}");
                return;
            }
        };
        for (path, record) in &mut self.known {
            if record.job.runs() && running_job != Some(record.job.job) {
                // The job may have ended after its record was read. A record that still says "running" although the job
                // does not hold the lock is one of an interrupted job.
                match read(path) {
                    Ok(again) => *record = again,
                    Err(_) => continue,
                }
                if record.job.runs() {
                    record.job.interrupted();
                }
            }
            if !record.job.runs() && self.counted.insert(record.job.job) {
                metrics.recorded(&job_metrics::ended(&record.job, record.written));
            }
        }
        let running: Vec<JobKind> = self.jobs().filter(|job| job.runs()).map(|job| job.kind).collect();
        metrics.running(&running);
        let mut seen_by: Vec<&JobRecord> = self.jobs().filter(|job| job.seen.is_some()).collect();
        newest_first(&mut seen_by);
        if let Some(seen) = seen_by.first().and_then(|job| job.seen.as_ref()) {
            job_metrics::show_seen(metrics, seen);
        }
    }

    fn jobs(&self) -> impl Iterator<Item = &JobRecord> {
        self.known.values().map(|record| &record.job)
    }

    /// Reads the files that are new or have changed, and forgets those that are gone.
    fn refresh(&mut self) -> std::io::Result<()> {
        let entries = match std::fs::read_dir(self.state.jobs()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut existing = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let written = std::fs::metadata(&path).and_then(|found| found.modified());
            if self.known.get(&path).map(|record| record.written) != written.ok() {
                match read(&path) {
                    Ok(record) => {
                        self.known.insert(path.clone(), record);
                    }
                    Err(error) => tracing::debug!(path = %path.display(), %error, "not a job record"),
                }
            }
            existing.insert(path);
        }
        self.known.retain(|path, _| existing.contains(path));
        Ok(())
    }

    /// The newest jobs, newest first.
    pub(super) fn newest(&self) -> Vec<RecordedJob> {
        let mut jobs: Vec<&JobRecord> = self.jobs().collect();
        newest_first(&mut jobs);
        jobs.into_iter().take(MAX_SHOWN_JOBS).map(RecordedJob::of).collect()
    }
}

/// Reads a record without its warnings, which may be many.
fn read(path: &Path) -> anyhow::Result<Record> {
    let written = std::fs::metadata(path)?.modified()?;
    let mut job: JobRecord = serde_json::from_slice(&std::fs::read(path)?)?;
    job.report.remove("warnings");
    Ok(Record { written, job })
}

/// What the jobs page shows of a record: no path and no message.
#[derive(Debug, Serialize)]
pub(super) struct RecordedJob {
    pub(super) job: JobId,
    kind: JobKind,
    status: JobState,
    started: String,
    ended: Option<String>,
    point: Option<PointId>,
    /// The code of the failure.
    error: Option<String>,
    /// The numbers of the job's report, by their names there.
    figures: BTreeMap<String, Number>,
}

impl RecordedJob {
    fn of(job: &JobRecord) -> RecordedJob {
        let number = |(name, value): (&String, &Value)| match value {
            Value::Number(number) => Some((name.clone(), number.clone())),
            _ => None,
        };
        RecordedJob {
            job: job.job,
            kind: job.kind,
            status: job.state,
            started: job.started.clone(),
            ended: job.ended.clone(),
            point: job.point,
            error: job.error.as_ref().map(|error| error.code.clone()),
            figures: job.report.iter().filter_map(number).collect(),
        }
    }
}
