//! The page that Prometheus reads: of a process that runs a job, or of the agent, which knows the jobs from their records.
//! It is served (`serve`), or written to a file for node_exporter's textfile collector (`--metrics-textfile FILE`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context;
use lockstone_actors::metrics::now_s;
use lockstone_actors::{Metrics, Progress};
use lockstone_proto::ids::JobId;
use serde_json::{Value, json};

use super::records::Records;
use crate::agent::state::files::write_atomically;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;

/// What the pages of a process are made from. Shared by those who ask.
pub struct Page {
    metrics: Arc<Metrics>,
    of: Of,
}

enum Of {
    /// A process that runs one job.
    Job {
        kind: &'static str,
        id: JobId,
        /// Set when the vault is open.
        running: OnceLock<(PathBuf, Arc<Progress>)>,
    },
    /// The agent.
    Agent { home: StateFolder, records: Mutex<Records> },
}

impl Page {
    /// Of a process that runs this job.
    #[must_use]
    pub fn of_job(metrics: &Arc<Metrics>, kind: &'static str, id: JobId) -> Page {
        let running = OnceLock::new();
        Page {
            metrics: Arc::clone(metrics),
            of: Of::Job { kind, id, running },
        }
    }

    /// Of the agent of this state folder.
    #[must_use]
    pub fn of_agent(metrics: &Arc<Metrics>, home: &StateFolder) -> Page {
        let records = Mutex::new(Records::new(home));
        let home = home.clone();
        Page {
            metrics: Arc::clone(metrics),
            of: Of::Agent { home, records },
        }
    }

    /// The job's vault is open: from here on there are a cache folder and figures.
    pub fn runs(&self, cache: &Path, progress: &Arc<Progress>) {
        if let Of::Job { running, .. } = &self.of {
            // Set once, by the one job.
            let _ = running.set((cache.to_owned(), Arc::clone(progress)));
        }
    }

    /// The metrics as they are now.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.bring_up_to_date();
        self.metrics.age_newest_point(now_s());
        self.metrics.render()
    }

    /// The metrics for a file that is read later: without what would be wrong by then.
    #[must_use]
    pub fn still(&self) -> String {
        self.bring_up_to_date();
        self.metrics.render()
    }

    fn bring_up_to_date(&self) {
        match &self.of {
            Of::Job { running, .. } => {
                if let Some((cache, _)) = running.get() {
                    cache_space(&self.metrics, cache);
                }
            }
            Of::Agent { home, records } => {
                locked(records).read(&self.metrics);
                match Registration::load(home) {
                    Ok(Some(agent)) => cache_space(&self.metrics, &agent.cache_folder(home)),
                    Ok(None) => {}
                    Err(error) => tracing::warn!("{error:#}"),
                }
            }
        }
    }

    /// The jobs, newest first: no paths, no messages, nothing that names what is backed up.
    #[must_use]
    pub fn jobs(&self) -> Value {
        match &self.of {
            Of::Job { kind, id, running } => {
                let mut job = json!({ "job": id, "kind": kind, "status": "Running" });
                if let Some((_, progress)) = running.get() {
                    let view = progress.view();
                    job["progress"] = json!({
                        "phase": view.phase,
                        "files_done": view.files_done,
                        "files_seen": view.files_seen,
                        "done_bytes": view.bytes_done,
                        "seen_bytes": view.bytes_seen,
                        "stored_bytes": view.bytes_stored,
                        "restarts": view.restarts,
                        "slowest_stage": view.slowest_stage,
                    });
                }
                json!({ "jobs": [job] })
            }
            Of::Agent { records, .. } => {
                let mut records = locked(records);
                records.read(&self.metrics);
                json!({ "jobs": records.shown() })
            }
        }
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// A panic under the lock leaves records that are read again.
fn locked(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The space where the cache folder is, or will be.
fn cache_space(metrics: &Metrics, cache: &Path) {
    match cache.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok()) {
        Some(found) => metrics.cache_space(
            found.f_bavail.saturating_mul(found.f_frsize),
            found.f_blocks.saturating_mul(found.f_frsize),
        ),
        None => tracing::debug!(cache = %cache.display(), "cannot ask for its free space"),
    }
}

/// Writes the page to `path`, whole or not at all, readable by everybody: no name or path is in it.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_textfile(page: &Page, path: &Path) -> anyhow::Result<()> {
    write_atomically(path, page.still().as_bytes(), 0o644)
        .with_context(|| format!("cannot write the metrics to {}", path.display()))
}
