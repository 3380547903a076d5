//! The restore pipeline: the backup's, backwards, under the same supervisor.
//!
//! ```text
//! Planner → Fetcher → Opener → Writer
//!  walks the  ranges of  frames,    files, attributes,
//!  point's    packs,     ids        folders, links
//!  tree       once each  checked
//!     └─ files that need no content, folders ─┘
//! ```
//!
//! What is damaged in the vault costs the files that need it, and each is named; the others are restored. A restore is
//! never rolled back: what was restored when it is cancelled stays, and a generation that begins again finds it there.

mod decide;
mod fetcher;
mod files;
mod messages;
mod opener;
mod planner;
mod report;
mod selection;
mod weights;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lockstone_proto::ids::JobId;
use lockstone_vault::buffers::Pool;
use lockstone_vault::domain::Domain;
use lockstone_vault::error::Kind;
use lockstone_vault::log::Point;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::flow::{Budget, CancelToken, Fault, StageSpec, Stop, body, channel, stage};
use crate::job::Warnings;
use crate::metrics::Metrics;
use crate::progress::{Progress, add, get};
use crate::supervisor::machine::RestartPolicy;
use crate::supervisor::{self, Pipeline};
use crate::tuning::Tuning;
use messages::Wanted;

pub use report::RestoreReport;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreTo {
    /// Beneath a folder, which is made where it is missing: `/a/b` comes to `FOLDER/a/b`.
    Folder(PathBuf),
    /// To where it was.
    Original,
}

/// What to do where something stands already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Leave it, and restore beside it under another name.
    Copy,
    /// Replace it.
    Overwrite,
    /// Leave it.
    Skip,
}

/// What to restore, where to, and how.
pub struct RestoreRequest {
    /// The job's id.
    pub job: JobId,
    /// From which recovery point.
    pub point: Point,
    /// Absolute paths in it; none: everything.
    pub paths: Vec<Vec<u8>>,
    /// Where to.
    pub to: RestoreTo,
    /// What to do where something stands already.
    pub conflict: Conflict,
    /// Leave POSIX ACLs as they come.
    pub skip_acls: bool,
    /// Read back what was written and compare it.
    pub verify: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// The point's time as it stands in the names of copies, e.g. `2026-11-22 03-00`.
    pub copy_stamp: String,
}

/// Runs a restore to its end. Blocks; call it from a plain thread.
#[must_use]
pub fn restore(
    domain: Arc<Domain>,
    request: RestoreRequest,
    tuning: Tuning,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    cancel: &CancelToken,
) -> RestoreReport {
    let begun = Instant::now();
    let tuning = tuning.clamped();
    let id = request.job;
    let engine = match Engine::new(&tuning) {
        Ok(engine) => engine,
        Err(fault) => return RestoreReport::not_started(id, fault),
    };
    let policy = RestartPolicy {
        max_fruitless: tuning.max_generations,
        first_pause: tuning.backoff,
        longest_pause: Duration::from_secs(60),
    };
    // Only raw bytes use it, which have half of the budget; a store has buffers of its own.
    let pool = Pool::new(tuning.buffers() * 2 / 3);
    let job = Arc::new(Job {
        domain,
        request,
        tuning,
        engine,
        metrics,
        progress,
        warnings: Warnings::default(),
        pool,
        damaged: AtomicU64::new(0),
        furthest: AtomicU64::new(0),
        would: Mutex::default(),
    });
    job.metrics.job_began("restore", &job.progress, job.domain.index());
    let end = supervisor::run(
        id,
        Box::new(Restore { job: Arc::clone(&job) }),
        policy,
        cancel,
        &job.metrics,
        &job.progress,
    );
    RestoreReport::of(&job, end, begun.elapsed())
}

/// One restore, over all of its generations.
pub(crate) struct Job {
    domain: Arc<Domain>,
    request: RestoreRequest,
    tuning: Tuning,
    engine: Engine,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    warnings: Warnings,
    pool: Pool,
    /// Files and folders that damage in the vault cost.
    damaged: AtomicU64,
    /// Most files that a generation finished.
    furthest: AtomicU64,
    /// A dry run's findings.
    would: Mutex<Vec<Vec<u8>>>,
}

/// By device and inode.
type FirstNames = Mutex<HashMap<(u64, u64), Arc<files::FileOut>>>;

/// What every stage has at hand, for one generation.
#[derive(Clone)]
pub(crate) struct Context {
    job: Arc<Job>,
    cancel: CancelToken,
    /// For sealed bytes, from before they are asked for until their last frame is opened.
    sealed_budget: Budget,
    /// For what comes out of frames, until it is written. The Opener waits for it while it holds sealed bytes; the Writer,
    /// who gives it back, waits for neither.
    raw_budget: Budget,
    /// First names of files with several, by device and inode.
    first_names: Arc<FirstNames>,
}

impl Context {
    /// Damage in the vault cost something.
    fn damaged(&self, path: &[u8], message: &str) {
        add(&self.job.damaged, 1);
        self.job.warnings.add(path, message);
    }

    /// Chunks that can't come: their files fail for this reason, and wait for them no longer.
    fn fail_wanted(&self, wanted: Vec<Wanted>, reason: &str) -> Result<(), Stop> {
        for (file, _) in wanted.into_iter().flat_map(|wanted| wanted.to) {
            file.fail(reason.to_owned());
            writer::one_done(self, &file)?;
        }
        Ok(())
    }
}

struct Restore {
    job: Arc<Job>,
}

impl Pipeline for Restore {
    fn wire(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec> {
        let job = &self.job;
        let tuning = &job.tuning;
        job.progress.begin_generation(number);
        job.warnings.clear();
        job.damaged.store(0, Ordering::SeqCst);
        job.would.lock().clear();
        let context = Context {
            job: Arc::clone(job),
            cancel: cancel.clone(),
            sealed_budget: Budget::new(tuning.budget_bytes / 2),
            raw_budget: Budget::new(tuning.budget_bytes / 2),
            first_names: Arc::default(),
        };
        job.metrics.watch_budget("sealed", &context.sealed_budget);
        job.metrics.watch_budget("raw", &context.raw_budget);
        // Ranges and frames are paid for by the budget; the Writer's inbox also takes every file of a window, by the batch.
        let (to_fetcher, ranges) = channel("ranges", tuning.capacity, cancel);
        let (to_opener, fetched) = channel("fetched", tuning.uploads.min(tuning.capacity), cancel);
        let (to_writer, tasks) = channel("writes", tuning.capacity * 16, cancel);
        let gauges = [ranges.gauge(), fetched.gauge(), tasks.gauge()];
        let [ranges_gauge, fetched_gauge, tasks_gauge] = gauges;

        let planner = planner::Planner {
            context: context.clone(),
            fetcher: to_fetcher,
            writer: to_writer.clone(),
        };
        let fetcher = (0..tuning.uploads)
            .map(|_| fetcher::Fetcher {
                context: context.clone(),
                inbox: ranges.clone(),
                opener: to_opener.clone(),
            })
            .map(|fetcher| body(move || fetcher.run()))
            .collect();
        to_opener.finish();
        let opener = (0..tuning.threads)
            .map(|_| opener::Opener {
                context: context.clone(),
                inbox: fetched.clone(),
                writer: to_writer.clone(),
            })
            .map(|opener| body(move || opener.run()))
            .collect();
        to_writer.finish();
        let writer = (0..tuning.readers)
            .map(|_| writer::Writer {
                context: context.clone(),
                inbox: tasks.clone(),
            })
            .map(|writer| body(move || writer.run()))
            .collect();
        vec![
            stage("planner", vec![body(move || planner.run())], None),
            stage("fetcher", fetcher, Some(ranges_gauge)),
            stage("opener", opener, Some(fetched_gauge)),
            stage("writer", writer, Some(tasks_gauge)),
        ]
    }

    fn settle(&mut self) {}

    fn progress(&self) -> u64 {
        // Each generation meets all files again: only one that gets further than any before has made progress.
        let now = get(&self.job.progress.counters.files_done);
        self.job.furthest.fetch_max(now, Ordering::SeqCst).max(now)
    }
}

/// A fault of the target's file system, about a path.
fn target_fault(path: &[u8], error: &std::io::Error) -> Fault {
    let path = String::from_utf8_lossy(path);
    let message = format!("{path}: {error}");
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Fault::new(Kind::Shortage, message)
            .hint("free space on the target, then run the same restore again: what was restored stays"),
        std::io::ErrorKind::ReadOnlyFilesystem => Fault::permanent(message).hint("remount the target writable"),
        _ => Fault::permanent(message),
    }
}
