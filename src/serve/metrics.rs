//! The metrics page and the jobs page of one process.
//!
//! There are two kinds of process. One runs a single job and knows its progress. The other is the agent, which knows
//! the server's jobs from their records. The pages are served (`http`) or written to a file for node_exporter's
//! textfile collector (`--metrics-textfile FILE`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context;
use lockstone_actors::metrics::now_s;
use lockstone_actors::{Metrics, Progress};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use serde::Serialize;

use super::outlook::Outlook;
use super::records::{RecordedJob, Records};
use crate::agent::jobs::live::Live;
use crate::agent::state::files::write_atomically;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;

/// Makes the pages of a process. Shared by the requests that are answered.
pub(crate) struct Page {
    metrics: Arc<Metrics>,
    scope: Scope,
}

/// Which jobs the pages of a process show.
enum Scope {
    /// The one job that this process runs.
    Job {
        kind: JobKind,
        id: JobId,
        /// Set when the vault is open.
        opened: OnceLock<Opened>,
    },
    /// All jobs of this server.
    Server {
        state: StateFolder,
        records: Mutex<Records>,
        outlook: Mutex<Outlook>,
        /// The job that this process runs.
        live: Live,
    },
}

/// What a job has once its vault is open.
struct Opened {
    cache_folder: PathBuf,
    progress: Arc<Progress>,
}

impl Page {
    /// The page of a process that runs this job.
    pub(crate) fn of_job(metrics: &Arc<Metrics>, kind: JobKind, id: JobId) -> Page {
        let opened = OnceLock::new();
        Page {
            metrics: Arc::clone(metrics),
            scope: Scope::Job { kind, id, opened },
        }
    }

    /// The page of the agent with this state folder.
    pub(crate) fn of_agent(metrics: &Arc<Metrics>, state: &StateFolder, live: &Live) -> Page {
        let records = Mutex::new(Records::new(state));
        let (state, live) = (state.clone(), live.clone());
        Page {
            metrics: Arc::clone(metrics),
            scope: Scope::Server {
                state,
                records,
                outlook: Mutex::default(),
                live,
            },
        }
    }

    /// From now on the page shows the job's progress and the space of its cache folder.
    pub(crate) fn runs(&self, cache_folder: &Path, progress: &Arc<Progress>) {
        if let Scope::Job { opened, .. } = &self.scope {
            // A process runs one job, so this is set once.
            let _ = opened.set(Opened {
                cache_folder: cache_folder.to_owned(),
                progress: Arc::clone(progress),
            });
        }
    }

    /// The metrics as they are now, in Prometheus text format.
    pub(crate) fn metrics(&self) -> String {
        self.update();
        self.metrics.age_newest_point(now_s());
        self.metrics.render()
    }

    /// The metrics for a file that is read later. Ages are left out, because they would be wrong by then.
    pub(crate) fn metrics_for_later(&self) -> String {
        self.update();
        self.metrics.render()
    }

    /// Brings the metrics that are not updated by a job itself up to date.
    fn update(&self) {
        match &self.scope {
            Scope::Job { opened, .. } => {
                if let Some(opened) = opened.get() {
                    set_cache_space(&self.metrics, &opened.cache_folder);
                }
            }
            Scope::Server {
                state,
                records,
                outlook,
                ..
            } => {
                lock(records).read(&self.metrics);
                match Registration::load(state) {
                    Ok(Some(registration)) => {
                        set_cache_space(&self.metrics, &registration.cache_folder(state));
                        lock(outlook).show(&self.metrics, state, &registration);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!("{error:#}"),
                }
            }
        }
    }

    /// The jobs, newest first. No path and no message is in it: nothing that names what is backed up.
    pub(crate) fn jobs(&self) -> JobsDocument {
        let jobs = match &self.scope {
            Scope::Job { kind, id, opened } => vec![JobEntry::OfThisProcess(JobOfThisProcess {
                job: *id,
                kind: *kind,
                status: JobState::Running,
                progress: opened.get().map(|opened| JobProgress::of(&opened.progress)),
            })],
            Scope::Server { records, live, .. } => {
                let mut records = lock(records);
                records.read(&self.metrics);
                let running = live.now();
                let progress = |job: JobId| {
                    let here = running.as_ref().filter(|running| running.job == job)?;
                    Some(JobProgress::of(&here.opened.as_ref()?.1))
                };
                let entry = |job: RecordedJob| {
                    JobEntry::Recorded(WithProgress {
                        progress: progress(job.job),
                        job,
                    })
                };
                records.newest().into_iter().map(entry).collect()
            }
        };
        JobsDocument { jobs }
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// The document that `/jobs` answers.
#[derive(Debug, Serialize)]
pub(crate) struct JobsDocument {
    jobs: Vec<JobEntry>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum JobEntry {
    OfThisProcess(JobOfThisProcess),
    Recorded(WithProgress),
}

#[derive(Debug, Serialize)]
struct WithProgress {
    #[serde(flatten)]
    job: RecordedJob,
    /// Of the job that the agent runs itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<JobProgress>,
}

#[derive(Debug, Serialize)]
struct JobOfThisProcess {
    job: JobId,
    kind: JobKind,
    status: JobState,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<JobProgress>,
}

#[derive(Debug, Serialize)]
struct JobProgress {
    phase: &'static str,
    files_done: u64,
    files_seen: u64,
    done_bytes: u64,
    seen_bytes: u64,
    stored_bytes: u64,
    restarts: u64,
    slowest_stage: &'static str,
}

impl JobProgress {
    fn of(progress: &Progress) -> JobProgress {
        let view = progress.view();
        JobProgress {
            phase: view.phase,
            files_done: view.files_done,
            files_seen: view.files_seen,
            done_bytes: view.bytes_done,
            seen_bytes: view.bytes_seen,
            stored_bytes: view.bytes_stored,
            restarts: view.restarts,
            slowest_stage: view.slowest_stage,
        }
    }
}

/// Locks what was read from the state folder. If a thread panicked while it held the lock, it is only read again.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the free and total space of the file system of the cache folder, which need not exist yet.
fn set_cache_space(metrics: &Metrics, cache_folder: &Path) {
    match cache_folder
        .ancestors()
        .find_map(|folder| rustix::fs::statvfs(folder).ok())
    {
        Some(found) => metrics.cache_space(
            found.f_bavail.saturating_mul(found.f_frsize),
            found.f_blocks.saturating_mul(found.f_frsize),
        ),
        None => tracing::debug!(folder = %cache_folder.display(), "cannot read the free space of the cache folder"),
    }
}

/// Writes the metrics to `path`. The file is replaced as a whole, and every user may read it: no name or path is in it.
pub(crate) fn write_textfile(page: &Page, path: &Path) -> anyhow::Result<()> {
    write_atomically(path, page.metrics_for_later().as_bytes(), 0o644)
        .with_context(|| format!("cannot write the metrics to {}", path.display()))
}
