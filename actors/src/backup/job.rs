//! One backup: what it was asked for, what it knows over all of its generations, and what one generation knows.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstone_host::metadata::OwnerNames;
use lockstone_host::settle::Moment;
use lockstone_host::snapshot::Frozen;
use lockstone_host::walk::Rules;
use lockstone_proto::ids::{ChunkId, JobId, PackId, PointId};
use lockstone_proto::vault::{Consistency, Entry, PackEntry};
use lockstone_vault::buffers::Pool;
use lockstone_vault::domain::{Domain, Relied};
use lockstone_vault::index::ChunkPlace;
use parking_lot::Mutex;

use super::claims::Claims;
use super::hasher::hard_links::HardLinks;
use super::lane::PerLane;
use super::messages::FileTask;
use super::source::BackupSource;
use super::suffixes::Suffixes;
use super::window::Window;
use crate::engine::Engine;
use crate::flow::{Budget, CancelToken, Fault, Stop};
use crate::job::{JobContext, Warning, Warnings};
use crate::metrics::Metrics;
use crate::progress::{Progress, add};
use crate::tuning::Tuning;

/// How a file differs from the last recovery point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// The last recovery point does not have it.
    New,
    /// The last recovery point has another one of this path.
    Changed,
}

/// Hears of a file: how it differs, and its path.
pub type OnFile = Arc<dyn Fn(FileChange, &[u8]) + Send + Sync>;

/// What to back up, and how to describe the recovery point.
pub struct BackupRequest {
    /// The job's id.
    pub job: JobId,
    /// The id of the recovery point that the job makes. Chosen by the caller, who can tell after a crash whether the
    /// point was committed. Whichever generation commits, it commits this point.
    pub point: PointId,
    /// None lies within another.
    pub sources: Vec<BackupSource>,
    /// The rules whose patterns are counted. The rules of the sources share their patterns with these.
    pub rules: Rules,
    /// Nothing is read, stored or committed: the files are only compared with the last recovery point, and counted.
    pub dry_run: bool,
    /// Hears of each new or changed file, on the thread that met it.
    pub on_file: Option<OnFile>,
    /// Mount points of volumes that are backed up although they are not eligible. The recovery point names them.
    pub allowed_volumes: Vec<PathBuf>,
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
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            domain: Arc::clone(&context.domain),
            request,
            tuning,
            engine,
            metrics: Arc::clone(&context.metrics),
            progress: Arc::clone(&context.progress),
            warnings: Warnings::default(),
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

    /// Counts a file that is read and is in the recovery point that is made.
    pub(super) fn count_read(&self, task: &FileTask) {
        self.count(task.known, || task.folder.join(&task.name));
    }

    /// Counts a file that is in the recovery point that is made: as changed if the last one knows its path, or as new.
    pub(super) fn count(&self, known: bool, path: impl FnOnce() -> Vec<u8>) {
        let counters = &self.progress.counters;
        let (counter, change) = if known {
            (&counters.files_changed, FileChange::Changed)
        } else {
            (&counters.files_new, FileChange::New)
        };
        add(counter, 1);
        if let Some(on_file) = &self.request.on_file {
            on_file(change, &path());
        }
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
    /// Those of them on temporary storage.
    pub(super) temporary: Vec<Vec<u8>>,
    /// Those of them whose content was made for the backup.
    pub(super) made: Vec<Vec<u8>>,
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
    /// What the commit relies on.
    relied: Mutex<Relied>,
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
            relied: Mutex::default(),
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

    /// Chunks were found at these places, and are not stored again.
    pub(super) fn rely_on_places<'p>(&self, places: impl Iterator<Item = &'p ChunkPlace>) {
        let mut relied = self.relied.lock();
        // Neighbouring chunks are usually in one pack.
        let mut last = None;
        for place in places {
            if last != Some(place.pack) {
                relied.known.insert(place.pack);
                last = Some(place.pack);
            }
        }
    }

    /// These packs were stored.
    pub(super) fn rely_on_own(&self, packs: &[PackEntry]) {
        let ids = packs
            .iter()
            .filter_map(|pack| PackId::try_from(pack.pack_id.as_ref()).ok());
        self.relied.lock().own.extend(ids);
    }

    /// What the commit relies on.
    pub(super) fn relied(&self) -> Relied {
        self.relied.lock().clone()
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
