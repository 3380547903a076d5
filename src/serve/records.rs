//! What the records of this server's jobs say in metrics. The agent reads them with every scrape, but each record only when
//! its file has changed; each job that has ended is counted once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lockstone_actors::Metrics;
use lockstone_proto::ids::JobId;
use serde_json::{Map, Value, json};

use crate::agent::jobs::metrics::{ended, show_seen};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::JobRecord;
use crate::agent::state::lock;

/// So many jobs are shown.
const SHOWN: usize = 100;

/// The records as they were read last.
#[derive(Debug)]
pub struct Records {
    state: StateFolder,
    /// By file; the time is the file's.
    known: BTreeMap<PathBuf, (SystemTime, JobRecord)>,
    counted: BTreeSet<JobId>,
}

impl Records {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(state: &StateFolder) -> Records {
        Records {
            state: state.clone(),
            known: BTreeMap::new(),
            counted: BTreeSet::new(),
        }
    }

    /// Reads what is new, and tells the metrics.
    pub fn read(&mut self, metrics: &Metrics) {
        if let Err(error) = self.refresh() {
            tracing::warn!(folder = %self.state.jobs().display(), %error, "the records of jobs cannot be read");
        }
        let holder = match lock::holder(&self.state) {
            Ok(holder) => holder.map(|holder| holder.job),
            Err(error) => {
                tracing::warn!("{error:#}");
                return;
            }
        };
        for (path, (time, job)) in &mut self.known {
            if job.runs() && holder != Some(job.job) {
                // It may have ended between the two looks. Who still says that it runs, without the lock, was interrupted.
                match read(path) {
                    Ok((now, again)) => (*time, *job) = (now, again),
                    Err(_) => continue,
                }
                if job.runs() {
                    job.interrupted();
                }
            }
            if !job.runs() && self.counted.insert(job.job) {
                metrics.recorded(&ended(job, *time));
            }
        }
        let running: Vec<&str> = self
            .jobs()
            .filter(|job| job.runs())
            .map(|job| job.kind.word())
            .collect();
        metrics.running(&running);
        let newest = self
            .jobs()
            .filter(|job| job.seen.is_some())
            .max_by_key(|job| &job.started);
        if let Some(seen) = newest.and_then(|job| job.seen.as_ref()) {
            show_seen(metrics, seen);
        }
    }

    fn jobs(&self) -> impl Iterator<Item = &JobRecord> {
        self.known.values().map(|(_, job)| job)
    }

    fn refresh(&mut self) -> std::io::Result<()> {
        let entries = match std::fs::read_dir(self.state.jobs()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut there = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let time = std::fs::metadata(&path).and_then(|found| found.modified());
            if self.known.get(&path).map(|(known, _)| *known) != time.ok() {
                match read(&path) {
                    Ok(record) => {
                        self.known.insert(path.clone(), record);
                    }
                    Err(error) => tracing::debug!(path = %path.display(), %error, "not a job record"),
                }
            }
            there.insert(path);
        }
        self.known.retain(|path, _| there.contains(path));
        Ok(())
    }

    /// The newest jobs, without what names anything.
    #[must_use]
    pub fn shown(&self) -> Vec<Value> {
        let mut jobs: Vec<&JobRecord> = self.jobs().collect();
        jobs.sort_by(|a, b| b.started.cmp(&a.started));
        jobs.into_iter().take(SHOWN).map(shown).collect()
    }
}

/// The record, without its warnings, and the file's time.
fn read(path: &Path) -> anyhow::Result<(SystemTime, JobRecord)> {
    let time = std::fs::metadata(path)?.modified()?;
    let mut job: JobRecord = serde_json::from_slice(&std::fs::read(path)?)?;
    job.report.remove("warnings");
    Ok((time, job))
}

fn shown(job: &JobRecord) -> Value {
    let figures: Map<String, Value> = job
        .report
        .iter()
        .filter(|(_, value)| value.is_number())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    json!({
        "job": job.job,
        "kind": job.kind,
        "status": job.state,
        "started": job.started,
        "ended": job.ended,
        "point": job.point,
        "error": job.error.as_ref().map(|error| &error["code"]),
        "figures": figures,
    })
}
