//! A job's figures while it runs: plain counters. The stages add to them; a display, a report or a scrape reads them at
//! any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Declares the counters once: the struct of atomics, and how to reset them.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of one generation. Each begins at 0 and only grows.
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
    /// Files that the walk has seen, or that a restore has planned.
    files_seen,
    /// Bytes of the files in `files_seen`.
    bytes_seen,
    /// Files that are finished.
    files_done,
    /// Bytes of the files in `files_done`.
    bytes_done,
    /// Files that the last recovery point does not have.
    files_new,
    /// Files that differ from the last recovery point.
    files_changed,
    /// Files taken over from the last recovery point.
    files_unchanged,
    /// Files taken over from an interrupted run.
    files_resumed,
    folders,
    /// Sockets, which are skipped.
    sockets,
    /// Folders marked as caches, of which only the tag is kept.
    caches,
    /// Bytes of the files that a dry run would read.
    bytes_to_read,
    /// Folders of which only a marker is kept.
    marked,
    /// Files that were left out for their size.
    too_large,
    /// Mount points that were not entered.
    other_file_systems,
    /// Views into the kernel, which are kept as empty folders.
    kernel_views,
    /// Entries that a restore left out because the target had them.
    skipped,
    /// Files that a restore wrote beside existing ones, under another name.
    copies,
    /// Files that were in the target already, just as in the recovery point.
    unchanged,
    /// Bytes a restore wrote.
    bytes_written,
    /// Packs that a check has read.
    packs_done,
    /// Packs that a check reads.
    packs_seen,
}

/// Counters of the whole job. Each counts work that stays done when a new generation begins.
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
    /// Checkpoints, whose content is never sent again. The supervisor measures progress by them.
    pub(crate) durable: AtomicU64,
}

/// The counters of one job, shared by its stages and its watchers.
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
    /// Whether the walk has ended, so that `files_seen` and `bytes_seen` are final.
    pub seen_all: bool,
    /// Bytes that the vault did not have.
    pub bytes_new: u64,
    /// Bytes that were read and that the vault had.
    pub bytes_known: u64,
    /// Bytes added to the vault.
    pub bytes_stored: u64,
    /// Bytes that a restore or a check fetched from the vault.
    pub bytes_fetched: u64,
    /// Bytes that a restore wrote.
    pub bytes_written: u64,
    /// Packs that a check has read.
    pub packs_done: u64,
    /// Packs that a check reads.
    pub packs_seen: u64,
    /// Generations after the first.
    pub restarts: u64,
    /// The path that is being worked on, in any bytes.
    pub current: Vec<u8>,
    /// The stage that the others wait for most.
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
            bytes_fetched: get(&totals.bytes_fetched),
            bytes_written: get(&counters.bytes_written),
            packs_done: get(&counters.packs_done),
            packs_seen: get(&counters.packs_seen),
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

    /// Shows the path that `show` writes. Does nothing while a display reads the last one.
    pub(crate) fn show_current(&self, show: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut current) = self.current.try_lock() {
            current.clear();
            show(&mut current);
        }
    }

    /// Shows the path that is being worked on. Does nothing while a display reads it, so that no stage waits for a
    /// display.
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
