//! The backup pipeline, wired in the order in which a file's bytes pass through it:
//!
//! ```text
//! Snapshotter → Enumerator → Hasher → Dedup → Sealer → Uploader → Bookkeeper
//!  freezes       walks,       reads,    RocksDB  frames,   paced,    index, log entry,
//!  the source    compares     chunks,   lookup,  zstd,     retried,  recovery point
//!                with the     BLAKE3    claims   AES-GCM,  parallel
//!                last point   (rayon)            packs     puts
//!                                └─ Cataloguer: fills slots, writes tree pages, which re-enter at Dedup
//! ```
//!
//! `Backup::wire` is the picture in code. The graph has no cycle: content and tree pages have lanes of their own
//! from Dedup to the Sealer, and from the Uploader on everything only drains.

mod ahead;
mod bookkeeper;
mod cataloguer;
mod dedup;
mod enumerator;
mod hasher;
mod journal;
mod links;
mod messages;
mod previous;
mod report;
mod sealer;
mod snapshotter;
mod uploader;
mod weights;
mod window;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstone_host::metadata::OwnerNames;
use lockstone_host::snapshot::{Frozen, SnapshotMode};
use lockstone_host::walk::Rules;
use lockstone_proto::ids::{ChunkId, JobId, PointId};
use lockstone_proto::vault::{ChunkKind, Consistency};
use lockstone_vault::buffers::Pool;
use lockstone_vault::domain::Domain;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::flow::{Body, Budget, CancelToken, Fault, StageSpec, Stop, body, channel, stage};
use crate::job::Warnings;
use crate::metrics::Metrics;
use crate::progress::{Progress, get};
use crate::supervisor::machine::RestartPolicy;
use crate::supervisor::{self, Pipeline};
use crate::tuning::Tuning;

pub use report::BackupReport;

/// What to back up, and how to call it.
pub struct BackupRequest {
    /// The job's id.
    pub job: JobId,
    /// Absolute paths without links in them; none lies within another.
    pub sources: Vec<PathBuf>,
    /// What is left out.
    pub rules: Rules,
    /// Whether the source is frozen first.
    pub snapshot: SnapshotMode,
    /// The agent's state folder: records of snapshots are kept there.
    pub state_dir: PathBuf,
    /// Read every file, also those that look unchanged.
    pub full: bool,
    /// A name for the point; may be empty.
    pub label: String,
    /// Retention tags.
    pub tags: Vec<String>,
    /// When the point expires, seconds since the epoch; 0: never.
    pub expires_s: i64,
}

/// Runs a backup to its end. Blocks; call it from a plain thread.
#[must_use]
pub fn backup(
    domain: Arc<Domain>,
    request: BackupRequest,
    tuning: Tuning,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    cancel: &CancelToken,
) -> BackupReport {
    let begun = Instant::now();
    let tuning = tuning.clamped();
    let id = request.job;
    let job = match Job::new(domain, request, tuning, metrics, progress) {
        Ok(job) => Arc::new(job),
        Err(fault) => return BackupReport::not_started(id, fault),
    };
    job.metrics.job_began("backup", &job.progress, job.domain.index());
    let policy = RestartPolicy {
        max_fruitless: job.tuning.max_generations,
        first_pause: job.tuning.backoff,
        longest_pause: Duration::from_secs(60),
    };
    let pipeline = Box::new(Backup {
        job: Arc::clone(&job),
        generation: None,
    });
    let end = supervisor::run(job.request.job, pipeline, policy, cancel, &job.metrics, &job.progress);
    BackupReport::of(&job, end, begun.elapsed())
}

/// One backup, over all of its generations.
pub(crate) struct Job {
    domain: Arc<Domain>,
    request: BackupRequest,
    tuning: Tuning,
    engine: Engine,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    warnings: Warnings,
    /// The point's id is chosen once: whichever generation commits, it is the same point.
    point: PointId,
    /// Time since the epoch at the start.
    started: Duration,
    committed: AtomicBool,
    consistency: Mutex<Consistency>,
    owner_names: OwnerNames,
    links: links::Links,
    pool: Pool,
}

impl Job {
    fn new(
        domain: Arc<Domain>,
        request: BackupRequest,
        tuning: Tuning,
        metrics: Arc<Metrics>,
        progress: Arc<Progress>,
    ) -> Result<Self, Fault> {
        let engine = Engine::new(&tuning)?;
        let pool = Pool::new(tuning.buffers());
        let mut point = [0; PointId::LEN];
        getrandom::fill(&mut point)
            .map_err(|error| Fault::permanent(format!("the system gives no random bytes: {error}")))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            domain,
            request,
            tuning,
            engine,
            metrics,
            progress,
            warnings: Warnings::default(),
            point: PointId(point),
            started,
            committed: AtomicBool::new(false),
            consistency: Mutex::new(Consistency::Live),
            owner_names: OwnerNames::default(),
            links: links::Links::default(),
            pool,
        })
    }

    /// Whether a file with this ctime had settled when the job began.
    fn is_settled(&self, ctime_s: i64, ctime_ns: u32) -> bool {
        settled_before(
            (ctime_s, ctime_ns),
            (self.started.as_secs().cast_signed(), self.started.subsec_nanos()),
        )
    }
}

/// What a generation found when it began: see "Validating a Commit" in the design.
pub(crate) struct Base {
    /// n₀: the log entry up to which the index and the parents were read.
    pub(crate) index_position: u64,
    /// Points that unchanged files are taken over from.
    pub(crate) parents: Vec<PointId>,
    /// The sources, as asked for.
    pub(crate) sources: Vec<Vec<u8>>,
    /// How the weakest of the sources was read.
    pub(crate) consistency: Consistency,
}

/// What is in the point's tree.
#[derive(Default)]
pub(crate) struct Tally {
    files: AtomicU64,
    folders: AtomicU64,
    bytes: AtomicU64,
}

/// One attempt.
pub(crate) struct Generation {
    cancel: CancelToken,
    claims: dedup::Claims,
    data_budget: Budget,
    tree_budget: Budget,
    window: window::Window,
    /// Packs sealed and not yet acknowledged.
    uploading: AtomicUsize,
    base: OnceLock<Base>,
    root: OnceLock<Option<ChunkId>>,
    tally: Tally,
    /// Snapshots that live as long as the generation reads from them.
    frozen: Mutex<Vec<Frozen>>,
}

impl Generation {
    fn budget(&self, kind: ChunkKind) -> &Budget {
        if kind == ChunkKind::Data {
            &self.data_budget
        } else {
            &self.tree_budget
        }
    }

    fn base(&self) -> Result<&Base, Stop> {
        self.base
            .get()
            .ok_or_else(|| Fault::integrity("the backup ended before it began").into())
    }

    fn set_root(&self, root: Option<ChunkId>) {
        // Set once, by the one Cataloguer.
        let _ = self.root.set(root);
    }

    fn root(&self) -> Result<Option<ChunkId>, Stop> {
        self.root
            .get()
            .copied()
            .ok_or_else(|| Fault::integrity("the tree has no root").into())
    }
}

/// What every stage has at hand.
#[derive(Clone)]
pub(crate) struct Context {
    job: Arc<Job>,
    generation: Arc<Generation>,
}

impl Context {
    fn pack_target(&self, kind: ChunkKind) -> usize {
        if kind == ChunkKind::Data {
            self.job.tuning.data_pack_target()
        } else {
            self.job.tuning.tree_pack_target()
        }
    }
}

struct Backup {
    job: Arc<Job>,
    generation: Option<Arc<Generation>>,
}

impl Pipeline for Backup {
    fn wire(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec> {
        let job = &self.job;
        let tuning = &job.tuning;
        job.progress.begin_generation(number);
        job.warnings.clear();
        let generation = Arc::new(Generation {
            cancel: cancel.clone(),
            claims: dedup::Claims::default(),
            data_budget: Budget::new(tuning.data_budget()),
            tree_budget: Budget::new(tuning.tree_budget()),
            window: window::Window::new(cancel),
            uploading: AtomicUsize::new(0),
            base: OnceLock::new(),
            root: OnceLock::new(),
            tally: Tally::default(),
            frozen: Mutex::new(Vec::new()),
        });
        job.metrics.watch_budget("data", &generation.data_budget);
        job.metrics.watch_budget("tree", &generation.tree_budget);
        self.generation = Some(Arc::clone(&generation));
        let context = Context {
            job: Arc::clone(job),
            generation,
        };

        // Capacities. Batches are about 1 MiB of content, and the budget bounds the bytes: a channel only has to keep its
        // receiver busy over a hiccup of its sender. The sources are one message; packs are 32 MiB each.
        let some = tuning.capacity;
        let (to_enumerator, sources) = channel("sources", 1, cancel);
        let (to_hasher, files) = channel("files", some, cancel);
        let (to_cataloguer, steps) = channel("steps", some * 2, cancel);
        let (to_dedup, chunks) = channel("chunks", some, cancel);
        let (pages_to_dedup, pages) = channel("pages", some, cancel);
        let (to_sealer, new_chunks) = channel("new chunks", some, cancel);
        let (pages_to_sealer, new_pages) = channel("new pages", some, cancel);
        let (to_workers, frames) = channel("frames", tuning.threads, cancel);
        let (to_uploader, packs) = channel("packs", 1, cancel);
        let (to_bookkeeper, uploaded) = channel("uploaded", some, cancel);
        // One more than the pool has threads, so that the next frame is at hand when a thread is free.
        let sealers = tuning.threads + 1;
        let open_packs = Arc::new(sealer::Packs::new(sealers));

        let gauges = [
            files.gauge(),
            steps.gauge(),
            chunks.gauge(),
            frames.gauge(),
            packs.gauge(),
            uploaded.gauge(),
        ];
        let [
            files_gauge,
            steps_gauge,
            chunks_gauge,
            frames_gauge,
            packs_gauge,
            uploaded_gauge,
        ] = gauges;

        let snapshotter = snapshotter::Snapshotter {
            context: context.clone(),
            enumerator: to_enumerator,
        };
        let enumerator = enumerator::Enumerator {
            context: context.clone(),
            inbox: sources,
            hasher: to_hasher,
            cataloguer: to_cataloguer.clone(),
        };
        let hasher = (0..tuning.readers)
            .map(|_| hasher::Hasher {
                context: context.clone(),
                inbox: files.clone(),
                cataloguer: to_cataloguer.clone(),
                dedup: to_dedup.clone(),
            })
            .map(|reader| body(move || reader.run()))
            .collect();
        // The originals of what was cloned for each thread have nothing to send.
        to_cataloguer.finish();
        to_dedup.finish();
        let cataloguer = cataloguer::Cataloguer {
            context: context.clone(),
            inbox: steps,
            pages: pages_to_dedup,
        };
        let dedup = [
            (ChunkKind::Data, chunks, to_sealer),
            (ChunkKind::Tree, pages, pages_to_sealer),
        ]
        .map(|(kind, inbox, sealer)| dedup::Dedup {
            context: context.clone(),
            kind,
            inbox,
            sealer,
        })
        .map(|lane| body(move || lane.run()))
        .into();
        let mut sealer: Vec<Body> = [(ChunkKind::Data, new_chunks), (ChunkKind::Tree, new_pages)]
            .map(|(kind, inbox)| sealer::Assembler {
                context: context.clone(),
                kind,
                inbox,
                frames: to_workers.clone(),
            })
            .map(|lane| body(move || lane.run()))
            .into();
        to_workers.finish();
        sealer.extend((0..sealers).map(|_| {
            let worker = sealer::Worker {
                context: context.clone(),
                inbox: frames.clone(),
                packs: Arc::clone(&open_packs),
                uploader: to_uploader.clone(),
            };
            body(move || worker.run())
        }));
        to_uploader.finish();
        let uploader = (0..tuning.uploads)
            .map(|_| uploader::Uploader {
                context: context.clone(),
                inbox: packs.clone(),
                bookkeeper: to_bookkeeper.clone(),
            })
            .map(|uploader| body(move || uploader.run()))
            .collect();
        to_bookkeeper.finish();
        let bookkeeper = bookkeeper::Bookkeeper {
            context,
            inbox: uploaded,
        };

        vec![
            stage("snapshotter", vec![body(move || snapshotter.run())], None),
            stage("enumerator", vec![body(move || enumerator.run())], None),
            stage("hasher", hasher, Some(files_gauge)),
            stage("cataloguer", vec![body(move || cataloguer.run())], Some(steps_gauge)),
            stage("dedup", dedup, Some(chunks_gauge)),
            stage("sealer", sealer, Some(frames_gauge)),
            stage("uploader", uploader, Some(packs_gauge)),
            stage("bookkeeper", vec![body(move || bookkeeper.run())], Some(uploaded_gauge)),
        ]
    }

    fn settle(&mut self) {
        let Some(generation) = self.generation.take() else {
            return;
        };
        for mut frozen in generation.frozen.lock().drain(..) {
            if let Err(error) = frozen.release() {
                self.job.warnings.add(
                    "",
                    format!("a snapshot could not be removed: {error}; the next run tries again"),
                );
            }
        }
    }

    fn progress(&self) -> u64 {
        get(&self.job.progress.totals.durable)
    }
}

/// Whether a ctime lies before `started` by more than the clock's tick (4 ms at 250 Hz, 10 ms at 100 Hz): only then
/// would a later change have left another one.
fn settled_before(ctime: (i64, u32), started: (i64, u32)) -> bool {
    const TICK_NS: u32 = 10_000_000;
    let (mut s, mut ns) = (ctime.0, ctime.1 + TICK_NS);
    if ns >= 1_000_000_000 {
        (s, ns) = (s.saturating_add(1), ns - 1_000_000_000);
    }
    (s, ns) <= started
}
