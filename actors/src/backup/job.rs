//! One backup: what it was asked for, what it knows over all of its generations, and what one generation knows.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstone_host::metadata::OwnerNames;
use lockstone_host::settle::Moment;
use lockstone_host::snapshot::{Frozen, SnapshotMode};
use lockstone_host::walk::Rules;
use lockstone_proto::ids::{ChunkId, JobId, PointId};
use lockstone_proto::vault::{Consistency, Entry};
use lockstone_vault::buffers::Pool;
use lockstone_vault::domain::Domain;
use parking_lot::Mutex;

use super::claims::Claims;
use super::hasher::hard_links::HardLinks;
use super::lane::PerLane;
use super::suffixes::Suffixes;
use super::window::Window;
use crate::engine::Engine;
use crate::flow::{Budget, CancelToken, Fault, Stop};
use crate::job::{JobContext, Warning, Warnings};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::tuning::Tuning;

/// What to back up, and how to describe the recovery point.
pub struct BackupRequest {
    /// The job's id.
    pub job: JobId,
    /// Absolute paths without symlinks in them. None lies within another.
    pub sources: Vec<PathBuf>,
    /// What is left out.
    pub rules: Rules,
    /// Whether the source is frozen before it is read.
    pub snapshot: SnapshotMode,
    /// The agent's state folder. Records of snapshots are kept there.
    pub state_dir: PathBuf,
    /// Read every file, even if it looks unchanged.
    pub full: bool,
    /// The recovery point's label; may be empty.
    pub label: String,
    /// The recovery point's retention tags.
    pub tags: Vec<String>,
    /// When the recovery point expires, seconds since the epoch. 0: never.
    pub expires_s: i64,
    /// What is wrong with the sources although they can be backed up. The recovery point has these warnings, too.
    pub warnings: Vec<Warning>,
}

/// One backup, over all of its generations.
pub(super) struct BackupJob {
    pub(super) domain: Arc<Domain>,
    pub(super) request: BackupRequest,
    pub(super) tuning: Tuning,
    pub(super) engine: Engine,
    pub(super) metrics: Arc<Metrics>,
    pub(super) progress: Arc<Progress>,
    pub(super) warnings: Warnings,
    /// Chosen once: whichever generation commits, it commits the same recovery point.
    pub(super) point: PointId,
    /// When the job began, since the epoch.
    pub(super) started: Duration,
    pub(super) committed: AtomicBool,
    /// How the weakest of the sources was read.
    pub(super) consistency: Mutex<Consistency>,
    pub(super) owner_names: OwnerNames,
    pub(super) hard_links: HardLinks,
    /// How the names of new and changed files end. Empty where there is no last recovery point.
    pub(super) suffixes: Suffixes,
    pub(super) pool: Pool,
}

impl BackupJob {
    pub(super) fn new(context: &JobContext, request: BackupRequest) -> Result<Self, Fault> {
        let tuning = context.tuning.clone();
        let engine = Engine::new(&tuning, &context.cancel)?;
        let pool = Pool::new(tuning.buffers());
        let mut point = [0; PointId::LEN];
        getrandom::fill(&mut point)
            .map_err(|error| Fault::permanent(format!("the system gives no random bytes: {error}")))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            domain: Arc::clone(&context.domain),
            request,
            tuning,
            engine,
            metrics: Arc::clone(&context.metrics),
            progress: Arc::clone(&context.progress),
            warnings: Warnings::default(),
            point: PointId(point),
            started,
            committed: AtomicBool::new(false),
            consistency: Mutex::new(Consistency::Live),
            owner_names: OwnerNames::default(),
            hard_links: HardLinks::default(),
            suffixes: Suffixes::default(),
            pool,
        })
    }

    /// An entry could not be read. That is a warning, or the end of the job if no other entry could be read, either.
    pub(super) fn not_read(&self, path: Vec<u8>, error: &io::Error) -> Result<(), Stop> {
        if let Some(fault) = Fault::if_out_of_handles(&path, error) {
            return Err(fault.into());
        }
        self.warnings.add(path, format!("could not be read: {error}"));
        Ok(())
    }

    /// When the job began, by this server's clock.
    pub(super) fn started_at(&self) -> Moment {
        (self.started.as_secs().cast_signed(), self.started.subsec_nanos())
    }
}

/// What a generation found when it began. The commit states it, so that it can be validated against the log
/// (`lockstone_vault::domain`).
pub(super) struct Base {
    /// The number of the log entry up to which the index and the parents were read (n₀).
    pub(super) index_position: u64,
    /// The recovery points from which unchanged files are taken over.
    pub(super) parents: Vec<PointId>,
    /// The paths of the sources, as requested.
    pub(super) sources: Vec<Vec<u8>>,
    /// How the weakest of the sources was read.
    pub(super) consistency: Consistency,
    /// The attributes of `/`.
    pub(super) root_folder: Entry,
}

/// What is in the recovery point's tree.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) files: AtomicU64,
    pub(super) folders: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// One attempt at the backup.
pub(super) struct Generation {
    pub(super) cancel: CancelToken,
    pub(super) claims: Claims,
    pub(super) budgets: PerLane<Budget>,
    /// The size at which a pack is closed, bytes.
    pub(super) pack_targets: PerLane<usize>,
    pub(super) window: Window,
    /// Packs that are sealed and not acknowledged by the store.
    pub(super) uploading: AtomicUsize,
    /// Set once, by the Enumerator.
    base: OnceLock<Base>,
    /// Set once, by the Cataloguer.
    root: OnceLock<Option<ChunkId>>,
    pub(super) tally: Tally,
    /// Snapshots, which live as long as the generation reads from them.
    pub(super) frozen: Mutex<Vec<Frozen>>,
}

impl Generation {
    pub(super) fn new(tuning: &Tuning, cancel: &CancelToken) -> Self {
        Self {
            cancel: cancel.clone(),
            claims: Claims::default(),
            budgets: PerLane {
                data: Budget::new(tuning.data_budget()),
                tree: Budget::new(tuning.tree_budget()),
            },
            pack_targets: PerLane {
                data: tuning.data_pack_target(),
                tree: tuning.tree_pack_target(),
            },
            window: Window::new(cancel),
            uploading: AtomicUsize::new(0),
            base: OnceLock::new(),
            root: OnceLock::new(),
            tally: Tally::default(),
            frozen: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn set_base(&self, base: Base) {
        let _ = self.base.set(base);
    }

    pub(super) fn base(&self) -> Result<&Base, Stop> {
        self.base
            .get()
            .ok_or_else(|| Fault::integrity("the backup ended before it began").into())
    }

    pub(super) fn set_root(&self, root: Option<ChunkId>) {
        let _ = self.root.set(root);
    }

    pub(super) fn root(&self) -> Result<Option<ChunkId>, Stop> {
        self.root
            .get()
            .copied()
            .ok_or_else(|| Fault::integrity("the tree has no root").into())
    }
}

/// What every stage of a generation has at hand.
#[derive(Clone)]
pub(super) struct BackupContext {
    pub(super) job: Arc<BackupJob>,
    pub(super) generation: Arc<Generation>,
}
