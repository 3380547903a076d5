//! A job's running figures: plain counters that the stages add to and a display or a report reads at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Declares the counters once: the struct of atomics, and reading and resetting.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of a job; each only grows within a generation.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }
        impl Counters {
            fn reset(&self) {
                $(self.$name.store(0, Ordering::Relaxed);)*
            }
        }
    };
}

counters! {
    /// Files seen by the walk (or planned for restore).
    files_seen,
    /// Bytes of those files.
    bytes_seen,
    /// Files that are finished.
    files_done,
    /// Bytes of those.
    bytes_done,
    /// Files that the last point does not have.
    files_new,
    /// Files that differ from the last point.
    files_changed,
    /// Files taken over from the last point.
    files_unchanged,
    /// Files taken over from an interrupted run.
    files_resumed,
    /// Folders.
    folders,
    /// Sockets, which are skipped.
    sockets,
    /// Entries of existing targets left alone by a restore.
    skipped,
    /// Files restored beside existing ones.
    copies,
    /// Files that a restore found as they should be.
    unchanged,
    /// Bytes a restore wrote.
    bytes_written,
}

/// What outlives a generation: work that was done is done, however often the walk begins again.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_new: AtomicU64,
    pub(crate) bytes_known: AtomicU64,
    pub(crate) chunks_new: AtomicU64,
    pub(crate) chunks_known: AtomicU64,
    pub(crate) bytes_stored: AtomicU64,
    pub(crate) bytes_fetched: AtomicU64,
    pub(crate) throttled_ns: AtomicU64,
    /// Checkpoints: what they cover is never sent again. The supervisor's measure of real progress.
    pub(crate) durable: AtomicU64,
}

/// Shared by a job's stages and whoever watches it.
#[derive(Debug, Default)]
pub struct Progress {
    pub(crate) counters: Counters,
    pub(crate) totals: Totals,
    pub(crate) restarts: AtomicU64,
    seen_all: AtomicBool,
    current: Mutex<Vec<u8>>,
    phase: Mutex<&'static str>,
    slowest: Mutex<&'static str>,
}

/// The figures at one moment.
#[derive(Debug, Clone, Default)]
pub struct ProgressView {
    /// What the job is doing, in a word or two.
    pub phase: &'static str,
    /// Files finished.
    pub files_done: u64,
    /// Files seen so far.
    pub files_seen: u64,
    /// Bytes of finished files.
    pub bytes_done: u64,
    /// Bytes of the files seen so far.
    pub bytes_seen: u64,
    /// The walk has ended: what was seen is all there is.
    pub seen_all: bool,
    /// Bytes that the vault did not have.
    pub bytes_new: u64,
    /// Bytes that were read and that the vault had.
    pub bytes_known: u64,
    /// Bytes added to the vault.
    pub bytes_stored: u64,
    /// Generations after the first.
    pub restarts: u64,
    /// The path being worked on; any bytes.
    pub current: Vec<u8>,
    /// The stage that the others wait for.
    pub slowest_stage: &'static str,
    /// Time spent waiting for the throttle so far, seconds.
    pub throttled_seconds: f64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Sets a counter.
pub(crate) fn set(counter: &AtomicU64, n: u64) {
    counter.store(n, Ordering::Relaxed);
}

/// Reads a counter.
pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Progress {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The figures now.
    #[must_use]
    pub fn view(&self) -> ProgressView {
        let (counters, totals) = (&self.counters, &self.totals);
        ProgressView {
            phase: *self.phase.lock(),
            files_done: get(&counters.files_done),
            files_seen: get(&counters.files_seen),
            bytes_done: get(&counters.bytes_done),
            bytes_seen: get(&counters.bytes_seen),
            seen_all: self.seen_all.load(Ordering::Relaxed),
            bytes_new: get(&totals.bytes_new),
            bytes_known: get(&totals.bytes_known),
            bytes_stored: get(&totals.bytes_stored),
            restarts: get(&self.restarts),
            current: self.current.lock().clone(),
            slowest_stage: *self.slowest.lock(),
            throttled_seconds: std::time::Duration::from_nanos(get(&totals.throttled_ns)).as_secs_f64(),
        }
    }

    pub(crate) fn begin_generation(&self, number: u32) {
        self.counters.reset();
        self.seen_all.store(false, Ordering::Relaxed);
        self.restarts
            .store(u64::from(number.saturating_sub(1)), Ordering::Relaxed);
    }

    pub(crate) fn seen_all(&self) {
        self.seen_all.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_phase(&self, phase: &'static str) {
        *self.phase.lock() = phase;
    }

    pub(crate) fn set_slowest(&self, stage: &'static str) {
        *self.slowest.lock() = stage;
    }

    /// Shows the path being worked on; skipped when somebody is just looking, as nobody may wait for a display.
    pub(crate) fn set_current(&self, folder: &[u8], name: &[u8]) {
        if let Some(mut current) = self.current.try_lock() {
            current.clear();
            current.extend_from_slice(folder);
            if !name.is_empty() {
                if !folder.ends_with(b"/") {
                    current.push(b'/');
                }
                current.extend_from_slice(name);
            }
        }
    }
}
