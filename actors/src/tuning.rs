//! The settings of a pipeline, with the reason for each default. They change how fast a job runs and how much memory it
//! takes, and never what is stored (except how well it is compressed).

use std::thread::available_parallelism;
use std::time::Duration;

use lockstone_proto::limits;

/// The settings of one job's pipeline.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Threads of the pool for hashing, compressing and sealing. Default: the processor's cores.
    pub threads: usize,
    /// Threads that read files. Default: two for each core, at least two and at most 16, as reading waits for the
    /// device while the pool computes.
    pub readers: usize,
    /// Packs that are uploaded (or ranges that are downloaded) at once. Default 4: enough to keep a fast link busy
    /// despite its latency.
    pub uploads: usize,
    /// Messages that a channel between stages holds. Default 4: batches are about 1 MiB, and bytes that wait long in a
    /// queue are no longer in the processor's cache when they are needed.
    pub capacity: usize,
    /// Bytes of file content in memory at once. Default 48 MiB: more does not make a job faster.
    pub budget_bytes: u64,
    /// zstd level of new frames. Default 3.
    pub zstd_level: i32,
    /// Stored bytes after which a checkpoint is written. Default 256 MiB, so that little has to be sent again after an
    /// interruption.
    pub checkpoint_bytes: u64,
    /// Time after which a checkpoint is written, if anything is new. Default 20 s.
    pub checkpoint_after: Duration,
    /// How long a partly filled frame or pack waits for more before it is passed on. Default 5 s.
    pub flush_after: Duration,
    /// How many generations in a row may end without progress before the job fails. Default 5.
    pub max_generations: u32,
    /// The first pause before a new generation; it doubles. Default 1 s.
    pub backoff: Duration,
}

/// The smallest budget with which a pipeline works: the largest chunk for one reader, a frame and a small pack.
pub(crate) const BUDGET_MIN: u64 = 24 * limits::MIB;

impl Default for Tuning {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            threads: cores,
            readers: (cores * 2).clamp(2, 16),
            uploads: 4,
            capacity: 4,
            budget_bytes: 48 * limits::MIB,
            zstd_level: 3,
            checkpoint_bytes: 256 * limits::MIB,
            checkpoint_after: Duration::from_secs(20),
            flush_after: Duration::from_secs(5),
            max_generations: 5,
            backoff: Duration::from_secs(1),
        }
    }
}

impl Tuning {
    /// Capacity 1, one thread of each, the least budget: the flow must work with it (flow rule 6).
    #[must_use]
    pub fn minimal() -> Self {
        Self {
            threads: 1,
            readers: 1,
            uploads: 1,
            capacity: 1,
            budget_bytes: BUDGET_MIN,
            ..Self::default()
        }
    }

    /// The same settings, with every number brought into the range that works.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        self.threads = self.threads.clamp(1, 256);
        self.readers = self.readers.clamp(1, 256);
        self.uploads = self.uploads.clamp(1, 64);
        self.capacity = self.capacity.clamp(1, 1024);
        self.budget_bytes = self.budget_bytes.max(BUDGET_MIN);
        self.zstd_level = self.zstd_level.clamp(1, 19);
        self
    }

    /// Bytes of the budget for file content. The rest is reserved for tree pages, so that they never wait for room that
    /// file content holds.
    #[must_use]
    pub fn data_budget(&self) -> u64 {
        self.budget_bytes - self.tree_budget()
    }

    /// Bytes of the budget that are reserved for tree pages.
    pub(crate) fn tree_budget(&self) -> u64 {
        (self.budget_bytes / 6).clamp(4 * limits::MIB, 16 * limits::MIB)
    }

    /// Idle buffers are kept as long as all buffers together have no more bytes than this. It is one and a half times
    /// the budget, as buffers are longer than what is in them.
    pub(crate) fn buffers(&self) -> usize {
        usize::try_from(self.budget_bytes + self.budget_bytes / 2).unwrap_or(usize::MAX)
    }

    /// The size at which a data pack is closed, bytes: the format's target, or a third of the data budget if that is
    /// less.
    #[must_use]
    pub fn data_pack_target(&self) -> usize {
        limits::PACK_TARGET.min(usize::try_from(self.data_budget() / 3).unwrap_or(usize::MAX))
    }

    /// The size at which a tree pack is closed, bytes.
    pub(crate) fn tree_pack_target(&self) -> usize {
        limits::PACK_TARGET.min(usize::try_from(self.tree_budget() / 2).unwrap_or(usize::MAX))
    }
}
