//! The job that runs, as each scrape reads it: the counters of its [`Progress`], its index and its stages. A scrape
//! adds to the metrics what a counter has grown by since the last scrape, and sets the gauges.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lockstone_proto::job::JobKind;
use lockstone_vault::index::Index;

use super::families::{Families, float};
use super::list::{self, Metric};
use crate::flow::{Budget, StageFigures};
use crate::progress::{Progress, add, get};

/// A metric, the value of its label, and the counter of the job's progress that it follows.
type Followed = (&'static Metric, &'static str, fn(&Progress) -> &AtomicU64);

const OF_BACKUP: &[Followed] = &[
    (&list::FILES, "new", |p| &p.counters.files_new),
    (&list::FILES, "changed", |p| &p.counters.files_changed),
    (&list::FILES, "unchanged", |p| &p.counters.files_unchanged),
    (&list::BYTES, "scanned", |p| &p.counters.bytes_seen),
    (&list::BYTES, "read", |p| &p.totals.bytes_read),
    (&list::BYTES, "new", |p| &p.totals.bytes_new),
    (&list::BYTES, "stored", |p| &p.totals.bytes_stored),
    (&list::CHUNKS, "new", |p| &p.totals.chunks_new),
    (&list::CHUNKS, "known", |p| &p.totals.chunks_known),
];

const OF_RESTORE: &[Followed] = &[
    (&list::FILES, "restored", |p| &p.counters.files_done),
    (&list::FILES, "skipped", |p| &p.counters.skipped),
    (&list::FILES, "copied", |p| &p.counters.copies),
    (&list::BYTES, "fetched", |p| &p.totals.bytes_fetched),
    (&list::BYTES, "written", |p| &p.counters.bytes_written),
];

/// The series of the job that runs.
pub(super) struct JobSeries {
    pub(super) kind: JobKind,
    progress: Arc<Progress>,
    followed: &'static [Followed],
    seen: Vec<u64>,
    /// Weak, so that the index is closed when the job ends.
    index: Weak<Index>,
    looked_up: (u64, u64),
    pub(super) generation: Option<Generation>,
}

impl JobSeries {
    /// Adds the time that a request of the job waited for the throttle.
    pub(super) fn throttled(&self, waited: Duration) {
        let nanoseconds = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        add(&self.progress.totals.throttled_ns, nanoseconds);
    }

    pub(super) fn new(kind: JobKind, progress: &Arc<Progress>, index: &Arc<Index>) -> Self {
        let followed = match kind {
            JobKind::Backup => OF_BACKUP,
            JobKind::Restore => OF_RESTORE,
            JobKind::Check | JobKind::Collect | JobKind::Unspecified => &[],
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
    pub(super) fn sample(&mut self, metrics: &Families) {
        for ((metric, label, read), seen) in self.followed.iter().zip(&mut self.seen) {
            let now = get(read(&self.progress));
            metrics.add(metric, &[label], since(seen, now));
        }
        if let Some(index) = self.index.upgrade() {
            let (hits, misses) = index.lookups();
            metrics.add(&list::LOOKUPS, &["hit"], since(&mut self.looked_up.0, hits));
            metrics.add(&list::LOOKUPS, &["miss"], since(&mut self.looked_up.1, misses));
            let (chunks, bytes) = index.size();
            metrics.set(&list::INDEX_CHUNKS, &[], float(chunks));
            metrics.set(&list::INDEX_BYTES, &[], float(bytes));
        }
        if let Some(generation) = &mut self.generation {
            generation.sample(metrics);
        }
    }
}

/// What a counter has grown by since it was last seen. A counter that is lower than before began again from 0.
fn since(seen: &mut u64, now: u64) -> f64 {
    let more = if now < *seen { now } else { now - *seen };
    *seen = now;
    float(more)
}

/// A stage's counters as the last scrape saw them.
#[derive(Default)]
struct Seen {
    /// Items, bytes, nanoseconds awaited.
    counts: [u64; 3],
    /// Busy, starved, blocked.
    seconds: [f64; 3],
}

/// The stages and budgets of the generation that runs.
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

    fn sample(&mut self, metrics: &Families) {
        for (figures, seen) in &mut self.stages {
            sample_stage(metrics, figures, seen);
        }
        for (lane, budget) in &self.budgets {
            metrics.set(&list::BUDGET_USED, &[lane], float(budget.used()));
            metrics.set(&list::BUDGET_LIMIT, &[lane], float(budget.total()));
        }
    }

    /// The generation has ended: no thread runs, no message waits, and no byte is in memory any more.
    pub(super) fn left(self, metrics: &Families) {
        for (figures, _) in &self.stages {
            metrics.set(&list::THREADS, &[figures.stage.word()], 0.0);
            if figures.inbox.is_some() {
                metrics.set(&list::QUEUE, &[figures.stage.word()], 0.0);
            }
        }
        for (lane, _) in &self.budgets {
            metrics.set(&list::BUDGET_USED, &[lane], 0.0);
            metrics.set(&list::BUDGET_LIMIT, &[lane], 0.0);
        }
    }
}

fn sample_stage(metrics: &Families, figures: &StageFigures, seen: &mut Seen) {
    let stage = [figures.stage.word()];
    let (threads, spent) = figures.clocks.read();
    metrics.set(&list::THREADS, &stage, float(threads as u64));
    let seconds = [spent.busy, spent.starved, spent.blocked].map(|time| time.as_secs_f64());
    for (place, family) in [&list::BUSY, &list::STARVED, &list::BLOCKED].into_iter().enumerate() {
        metrics.add(family, &stage, seconds[place] - seen.seconds[place]);
    }
    seen.seconds = seconds;
    let Some(inbox) = &figures.inbox else { return };
    metrics.set(&list::QUEUE, &stage, float(inbox.depth() as u64));
    metrics.set(&list::CAPACITY, &stage, float(inbox.capacity as u64));
    let [items, bytes, awaited] = [&inbox.items, &inbox.bytes, &inbox.blocked_ns].map(|n| n.load(Ordering::Relaxed));
    let [seen_items, seen_bytes, seen_awaited] = &mut seen.counts;
    metrics.add(&list::ITEMS, &stage, since(seen_items, items));
    metrics.add(&list::STAGE_BYTES, &stage, since(seen_bytes, bytes));
    metrics.add(&list::AWAITED, &stage, since(seen_awaited, awaited) / 1e9);
}
