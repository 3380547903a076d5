//! What the records of this server's jobs say in metrics. The agent reads them with every scrape, but each record only when
//! its file has changed; each job that has ended is counted once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use lockstone_actors::Metrics;
use lockstone_actors::metrics::EndedJob;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use serde_json::{Map, Value, json};

use crate::agent::home::Home;
use crate::agent::jobs::Job;
use crate::agent::lock;

/// So many jobs are shown.
const SHOWN: usize = 100;

/// The records as they were read last.
#[derive(Debug)]
pub struct Records {
    home: Home,
    /// By file; the time is the file's.
    known: BTreeMap<PathBuf, (SystemTime, Job)>,
    counted: BTreeSet<JobId>,
}

impl Records {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(home: &Home) -> Records {
        Records {
            home: home.clone(),
            known: BTreeMap::new(),
            counted: BTreeSet::new(),
        }
    }

    /// Reads what is new, and tells the metrics.
    pub fn read(&mut self, metrics: &Metrics) {
        if let Err(error) = self.refresh() {
            tracing::warn!(folder = %self.home.jobs().display(), %error, "the records of jobs cannot be read");
        }
        let holder = match lock::holder(&self.home) {
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
        let running: Vec<JobKind> = self
            .jobs()
            .filter(|job| job.runs())
            .filter_map(|job| job.kind.parse().ok())
            .collect();
        metrics.running(&running);
        let newest = self
            .jobs()
            .filter(|job| job.seen.is_some())
            .max_by_key(|job| &job.started);
        if let Some(seen) = newest.and_then(|job| job.seen.as_ref()) {
            super::metrics::seen(metrics, seen);
        }
    }

    fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.known.values().map(|(_, job)| job)
    }

    fn refresh(&mut self) -> std::io::Result<()> {
        let entries = match std::fs::read_dir(self.home.jobs()) {
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
        let mut jobs: Vec<&Job> = self.jobs().collect();
        jobs.sort_by(|a, b| b.started.cmp(&a.started));
        jobs.into_iter().take(SHOWN).map(shown).collect()
    }
}

/// The record, without its warnings, and the file's time.
fn read(path: &Path) -> anyhow::Result<(SystemTime, Job)> {
    let time = std::fs::metadata(path)?.modified()?;
    let mut job: Job = serde_json::from_slice(&std::fs::read(path)?)?;
    job.report.remove("warnings");
    Ok((time, job))
}

fn shown(job: &Job) -> Value {
    let figures: Map<String, Value> = job
        .report
        .iter()
        .filter(|(_, value)| value.is_number())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    json!({
        "job": job.job,
        "kind": job.kind,
        "status": job.status,
        "started": job.started,
        "ended": job.ended,
        "point": job.point,
        "error": job.error.as_ref().map(|error| &error["code"]),
        "figures": figures,
    })
}

/// A kind of job, and the figures of its report: their names in metrics, and in the report.
type Figures = (&'static str, &'static [(&'static str, &'static str)]);

const BYTES: &[Figures] = &[
    (
        "backup",
        &[
            ("scanned", "bytes_scanned"),
            ("read", "bytes_read"),
            ("new", "bytes_new"),
            ("stored", "bytes_stored"),
        ],
    ),
    ("restore", &[("fetched", "bytes_fetched"), ("written", "bytes_written")]),
];
const FILES: &[Figures] = &[
    (
        "backup",
        &[
            ("new", "files_new"),
            ("changed", "files_changed"),
            ("unchanged", "files_unchanged"),
        ],
    ),
    (
        "restore",
        &[("restored", "files"), ("skipped", "skipped"), ("copied", "copies")],
    ),
];

/// A job that has ended, for the metrics. A run that was interrupted ended when its record was last written, at the
/// earliest.
#[must_use]
pub fn ended(job: &Job, written: SystemTime) -> EndedJob {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let number = |name: &str| job.report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let figures = |table: &[Figures]| {
        let fitting = table.iter().filter(|(kind, _)| *kind == job.kind);
        let named = fitting.flat_map(|(_, named)| named.iter());
        named.map(|(label, name)| (*label, number(name))).collect()
    };
    let (started, end) = (time(&job.started), job.ended.as_deref().and_then(time));
    let took = || Some(end?.duration_since(started?).as_secs_f64());
    let said = job.report.get("duration_seconds").and_then(Value::as_f64);
    let seconds = said
        .or_else(took)
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    let ended_s = end.map_or_else(
        || written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        |end| end.as_millisecond() as f64 / 1000.0,
    );
    EndedJob {
        kind: job.kind.parse().unwrap_or_default(),
        status: job.status.parse().unwrap_or_default(),
        ended_s,
        duration: Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default(),
        bytes: figures(BYTES),
        files: figures(FILES),
        warnings: number("warnings_total"),
        restarts: number("restarts"),
    }
}
