//! The job that runs, read with every scrape: counters of its [`Progress`], of its index and of its stages, of which each
//! scrape adds what came since the one before, and gauges, which are set as they stand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lockstone_vault::index::Index;

use super::catalogue::{self, Metric};
use super::{Metrics, float};
use crate::flow::{Budget, StageFigures};
use crate::progress::{Progress, add, get};

/// A counter of the job's progress, and where it goes.
type Followed = (&'static Metric, &'static str, fn(&Progress) -> &AtomicU64);

const OF_BACKUP: &[Followed] = &[
    (&catalogue::FILES, "new", |p| &p.counters.files_new),
    (&catalogue::FILES, "changed", |p| &p.counters.files_changed),
    (&catalogue::FILES, "unchanged", |p| &p.counters.files_unchanged),
    (&catalogue::BYTES, "scanned", |p| &p.counters.bytes_seen),
    (&catalogue::BYTES, "read", |p| &p.totals.bytes_read),
    (&catalogue::BYTES, "new", |p| &p.totals.bytes_new),
    (&catalogue::BYTES, "stored", |p| &p.totals.bytes_stored),
    (&catalogue::CHUNKS, "new", |p| &p.totals.chunks_new),
    (&catalogue::CHUNKS, "known", |p| &p.totals.chunks_known),
];

const OF_RESTORE: &[Followed] = &[
    (&catalogue::FILES, "restored", |p| &p.counters.files_done),
    (&catalogue::FILES, "skipped", |p| &p.counters.skipped),
    (&catalogue::FILES, "copied", |p| &p.counters.copies),
    (&catalogue::BYTES, "fetched", |p| &p.totals.bytes_fetched),
    (&catalogue::BYTES, "written", |p| &p.counters.bytes_written),
];

/// The job that runs.
pub(super) struct Job {
    pub(super) kind: &'static str,
    progress: Arc<Progress>,
    followed: &'static [Followed],
    seen: Vec<u64>,
    /// Weak: the index is closed when the job lets it go.
    index: Weak<Index>,
    looked_up: (u64, u64),
    pub(super) generation: Option<Generation>,
}

impl Job {
    /// A request of the job waited so long for the throttle.
    pub(super) fn throttled(&self, waited: Duration) {
        let nanoseconds = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        add(&self.progress.totals.throttled_ns, nanoseconds);
    }

    pub(super) fn new(kind: &'static str, progress: &Arc<Progress>, index: &Arc<Index>) -> Self {
        let followed = match kind {
            "backup" => OF_BACKUP,
            "restore" => OF_RESTORE,
            _ => &[],
        };
        Self {
            kind,
            progress: Arc::clone(progress),
            followed,
            seen: vec![0; followed.len()],
            index: Arc::downgrade(index),
            looked_up: index.lookups(),
            generation: None,
        }
    }

    /// Brings the metrics up to date.
    pub(super) fn sample(&mut self, metrics: &Metrics) {
        for ((metric, label, read), seen) in self.followed.iter().zip(&mut self.seen) {
            let now = get(read(&self.progress));
            metrics.add(metric, &[label], since(seen, now));
        }
        if let Some(index) = self.index.upgrade() {
            let (hits, misses) = index.lookups();
            metrics.add(&catalogue::LOOKUPS, &["hit"], since(&mut self.looked_up.0, hits));
            metrics.add(&catalogue::LOOKUPS, &["miss"], since(&mut self.looked_up.1, misses));
            let (chunks, bytes) = index.size();
            metrics.index_size(chunks, bytes);
        }
        if let Some(generation) = &mut self.generation {
            generation.sample(metrics);
        }
    }
}

/// What came since the last time. A counter that is lower than before began again from 0.
fn since(seen: &mut u64, now: u64) -> f64 {
    let more = if now < *seen { now } else { now - *seen };
    *seen = now;
    float(more)
}

/// What was read of a stage last: items, bytes, nanoseconds awaited; seconds busy, starved, blocked.
#[derive(Default)]
struct Seen {
    counts: [u64; 3],
    seconds: [f64; 3],
}

/// The attempt that runs: its stages and budgets.
#[derive(Default)]
pub(super) struct Generation {
    stages: Vec<(StageFigures, Seen)>,
    pub(super) budgets: Vec<(&'static str, Budget)>,
}

impl Generation {
    pub(super) fn new(stages: Vec<StageFigures>, budgets: Vec<(&'static str, Budget)>) -> Self {
        Self {
            stages: stages.into_iter().map(|stage| (stage, Seen::default())).collect(),
            budgets,
        }
    }

    fn sample(&mut self, metrics: &Metrics) {
        for (figures, seen) in &mut self.stages {
            sample_stage(metrics, figures, seen);
        }
        for (lane, budget) in &self.budgets {
            metrics.set(&catalogue::BUDGET_USED, &[lane], float(budget.used()));
            metrics.set(&catalogue::BUDGET_LIMIT, &[lane], float(budget.total()));
        }
    }

    /// Nothing runs any more, waits, or is in memory.
    pub(super) fn left(self, metrics: &Metrics) {
        for (figures, _) in &self.stages {
            metrics.set(&catalogue::THREADS, &[figures.stage], 0.0);
            if figures.inbox.is_some() {
                metrics.set(&catalogue::QUEUE, &[figures.stage], 0.0);
            }
        }
        for (lane, _) in &self.budgets {
            metrics.set(&catalogue::BUDGET_USED, &[lane], 0.0);
            metrics.set(&catalogue::BUDGET_LIMIT, &[lane], 0.0);
        }
    }
}

fn sample_stage(metrics: &Metrics, figures: &StageFigures, seen: &mut Seen) {
    let stage = [figures.stage];
    let (threads, spent) = figures.clocks.read();
    metrics.set(&catalogue::THREADS, &stage, float(threads as u64));
    let seconds = [spent.busy, spent.starved, spent.blocked].map(|time| time.as_secs_f64());
    for (place, family) in [&catalogue::BUSY, &catalogue::STARVED, &catalogue::BLOCKED]
        .into_iter()
        .enumerate()
    {
        metrics.add(family, &stage, seconds[place] - seen.seconds[place]);
    }
    seen.seconds = seconds;
    let Some(inbox) = &figures.inbox else { return };
    metrics.set(&catalogue::QUEUE, &stage, float(inbox.depth() as u64));
    metrics.set(&catalogue::CAPACITY, &stage, float(inbox.capacity as u64));
    let [items, bytes, awaited] = [&inbox.items, &inbox.bytes, &inbox.blocked_ns].map(|n| n.load(Ordering::Relaxed));
    let [seen_items, seen_bytes, seen_awaited] = &mut seen.counts;
    metrics.add(&catalogue::ITEMS, &stage, since(seen_items, items));
    metrics.add(&catalogue::STAGE_BYTES, &stage, since(seen_bytes, bytes));
    metrics.add(&catalogue::AWAITED, &stage, since(seen_awaited, awaited) / 1e9);
}
