//! What Prometheus sees of the jobs of this process, or, in the agent, of the records of this server's jobs. What there
//! is stands in the [`catalogue`].
//!
//! The stages count for themselves, in plain atomics; a scrape reads them (`live`) and adds what is new. So metrics cost
//! the pipeline nothing but those atomics, however often they are scraped.

pub mod catalogue;
mod live;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstone_vault::index::Index;
use lockstone_vault::store::observe::{Outcome, StoreObserver, Verb};
use lockstone_vault::store::pace::Direction;
use parking_lot::Mutex;
use prometheus::{CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder};

use crate::flow::{Budget, StageFigures};
use crate::progress::Progress;
use catalogue::{Kind, Metric, OTHER};
use live::{Generation, Job};

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    counters: HashMap<&'static str, CounterVec>,
    gauges: HashMap<&'static str, GaugeVec>,
    histograms: HashMap<&'static str, HistogramVec>,
    /// The job that runs; the lock on the state folder lets one at a time.
    job: Mutex<Option<Job>>,
    /// When the last job of each kind ended: an older record changes nothing about it.
    last: Mutex<HashMap<String, f64>>,
    newest_point_s: Mutex<Option<f64>>,
    store_used: Once,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A job that has ended, as far as metrics go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndedJob {
    /// `backup`, `restore` or `check`.
    pub kind: String,
    /// The word of its status.
    pub status: String,
    /// When it ended, seconds since the epoch.
    pub ended_s: f64,
    /// How long it took.
    pub duration: Duration,
    /// Bytes, by what was done with them.
    pub bytes: Vec<(&'static str, u64)>,
    /// Files, by outcome.
    pub files: Vec<(&'static str, u64)>,
    /// How many warnings there were.
    pub warnings: u64,
    /// Generations after the first.
    pub restarts: u64,
}

impl EndedJob {
    fn bytes(&self, what: &str) -> Option<u64> {
        self.bytes.iter().find(|(known, _)| *known == what).map(|(_, n)| *n)
    }
}

impl Metrics {
    /// Nothing to say yet but the version.
    ///
    /// # Panics
    /// Never: the names and labels are constants, and a test makes every one of them.
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "the names are constants; the tests below register them all"
    )]
    pub fn new() -> Self {
        let registry = Registry::new();
        let (mut counters, mut gauges, mut histograms) = (HashMap::new(), HashMap::new(), HashMap::new());
        for metric in catalogue::ALL {
            let labels: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
            let opts = Opts::new(metric.name, metric.help);
            let registered = match metric.kind {
                Kind::Counter => {
                    let family = CounterVec::new(opts, &labels).expect("a constant name");
                    counters.insert(metric.name, family.clone());
                    registry.register(Box::new(family))
                }
                Kind::Gauge => {
                    let family = GaugeVec::new(opts, &labels).expect("a constant name");
                    gauges.insert(metric.name, family.clone());
                    registry.register(Box::new(family))
                }
                Kind::Histogram => {
                    // A local disk answers within a millisecond, a store that is tried again for a minute does not.
                    let buckets = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
                    let opts = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
                    let family = HistogramVec::new(opts, &labels).expect("a constant name");
                    histograms.insert(metric.name, family.clone());
                    registry.register(Box::new(family))
                }
            };
            registered.expect("a name used once");
        }
        let metrics = Self {
            registry,
            counters,
            gauges,
            histograms,
            job: Mutex::new(None),
            last: Mutex::default(),
            newest_point_s: Mutex::default(),
            store_used: Once::new(),
        };
        metrics.set(&catalogue::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
        metrics
    }

    /// The text that Prometheus scrapes, as things are now.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(job) = self.job.lock().as_mut() {
            job.sample(self);
        }
        let mut text = Vec::new();
        // Writing to memory does not fail, and the encoder writes UTF-8 only.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        // As the text format spells it; the encoder does not.
        String::from_utf8(text).unwrap_or_default().replace(" inf\n", " +Inf\n")
    }

    /// Adds to a counter.
    fn add(&self, metric: &Metric, labels: &[&str], n: f64) {
        if let Some(family) = self.counters.get(metric.name) {
            family.with_label_values(&bounded(metric, labels)).inc_by(n.max(0.0));
        }
    }

    /// Sets a gauge.
    fn set(&self, metric: &Metric, labels: &[&str], value: f64) {
        if let Some(family) = self.gauges.get(metric.name) {
            family.with_label_values(&bounded(metric, labels)).set(value);
        }
    }

    /// Sets a gauge to 0 for all values of its last label, behind these.
    fn zero(&self, metric: &Metric, labels: &[&str]) {
        for value in metric.labels.last().map_or(&[][..], |label| label.values) {
            self.set(metric, &[labels, &[value]].concat(), 0.0);
        }
    }

    /// A job of this process begins: its figures are read with every scrape from here on.
    pub(crate) fn job_began(&self, kind: &'static str, progress: &Arc<Progress>, index: &Arc<Index>) {
        self.set(&catalogue::JOBS_RUNNING, &[kind, "Running"], 1.0);
        self.set(&catalogue::JOBS_RUNNING, &[kind, "Cancelling"], 0.0);
        self.add(&catalogue::RESTARTS, &[], 0.0);
        for direction in ["up", "down"] {
            self.add(&catalogue::THROTTLE_WAITED, &[direction], 0.0);
        }
        *self.job.lock() = Some(Job::new(kind, progress, index));
    }

    /// The job that runs is being cancelled.
    pub(crate) fn cancelling(&self) {
        if let Some(job) = &*self.job.lock() {
            self.set(&catalogue::JOBS_RUNNING, &[job.kind, "Running"], 0.0);
            self.set(&catalogue::JOBS_RUNNING, &[job.kind, "Cancelling"], 1.0);
        }
    }

    /// The job that runs has ended: its last figures are kept. How it ended is for the caller to say ([`recorded`](Self::recorded)),
    /// who also knows of jobs that failed before they came here.
    pub(crate) fn job_ended(&self) {
        if let Some(mut job) = self.job.lock().take() {
            job.sample(self);
            self.zero(&catalogue::JOBS_RUNNING, &[job.kind]);
        }
    }

    /// Counts a job that has ended. Called once for each, in any order.
    pub fn recorded(&self, ended: &EndedJob) {
        let (kind, status) = (ended.kind.as_str(), ended.status.as_str());
        self.add(&catalogue::JOBS, &[kind, status], 1.0);
        {
            let mut last = self.last.lock();
            if last.get(kind).is_some_and(|last| *last > ended.ended_s) {
                return;
            }
            last.insert(kind.to_owned(), ended.ended_s);
        }
        self.set(&catalogue::LAST_END, &[kind, status], ended.ended_s);
        if matches!(status, "Completed" | "CompletedWithWarnings") {
            self.set(&catalogue::LAST_SUCCESS, &[kind], ended.ended_s);
        }
        self.set(&catalogue::JOB_DURATION, &[kind], ended.duration.as_secs_f64());
        self.set(&catalogue::JOB_WARNINGS, &[kind], float(ended.warnings));
        self.set(&catalogue::JOB_RESTARTS, &[kind], float(ended.restarts));
        for (what, n) in &ended.bytes {
            self.set(&catalogue::JOB_BYTES, &[kind, what], float(*n));
        }
        for (outcome, n) in &ended.files {
            self.set(&catalogue::JOB_FILES, &[kind, outcome], float(*n));
        }
        let (scanned, new, stored) = (ended.bytes("scanned"), ended.bytes("new"), ended.bytes("stored"));
        if let (Some(scanned @ 1..), Some(new)) = (scanned, new) {
            let known = scanned.saturating_sub(new);
            self.set(&catalogue::JOB_DEDUP, &[], float(known) / float(scanned));
        }
        if let (Some(new @ 1..), Some(stored)) = (new, stored) {
            self.set(&catalogue::JOB_COMPRESSION, &[], float(stored) / float(new));
        }
    }

    /// Jobs that run elsewhere, by kind: what the agent knows from its records.
    pub fn running(&self, kinds: &[&str]) {
        for kind in catalogue::JOBS_RUNNING.labels[0].values {
            let n = kinds.iter().filter(|known| *known == kind).count();
            self.set(&catalogue::JOBS_RUNNING, &[kind, "Running"], float(n as u64));
        }
    }

    /// The stages of a generation, before they start.
    pub(crate) fn generation_began(&self, stages: Vec<StageFigures>) {
        for figures in &stages {
            for family in [&catalogue::FAULTS, &catalogue::PANICS] {
                self.add(family, &[figures.stage], 0.0);
            }
        }
        if let Some(job) = self.job.lock().as_mut() {
            let budgets = std::mem::take(&mut job.generation).map(|wired| wired.budgets);
            job.generation = Some(Generation::new(stages, budgets.unwrap_or_default()));
        }
    }

    /// A generation that is being wired has this budget.
    pub(crate) fn watch_budget(&self, lane: &'static str, budget: &Budget) {
        if let Some(job) = self.job.lock().as_mut() {
            let generation = job.generation.get_or_insert_default();
            generation.budgets.push((lane, budget.clone()));
        }
    }

    /// All stages of the generation have exited.
    pub(crate) fn generation_ended(&self) {
        if let Some(job) = self.job.lock().as_mut() {
            job.sample(self);
            if let Some(generation) = job.generation.take() {
                generation.left(self);
            }
        }
    }

    pub(crate) fn restarted(&self) {
        self.add(&catalogue::RESTARTS, &[], 1.0);
    }

    pub(crate) fn faulted(&self, stage: &str, panicked: bool) {
        self.add(&catalogue::FAULTS, &[stage], 1.0);
        if panicked {
            self.add(&catalogue::PANICS, &[stage], 1.0);
        }
    }

    /// The limit that is in force from now on, bytes a second; `None`: unlimited. 0 is a pause.
    pub fn throttle_limit(&self, direction: Direction, bytes_per_second: Option<u64>) {
        let limit = bytes_per_second.map_or(f64::INFINITY, float);
        self.set(&catalogue::THROTTLE_LIMIT, &[direction_label(direction)], limit);
    }

    /// Somebody waited so long for the throttle.
    pub fn throttle_waited(&self, direction: Direction, waited: Duration) {
        self.add(
            &catalogue::THROTTLE_WAITED,
            &[direction_label(direction)],
            waited.as_secs_f64(),
        );
        if let Some(job) = &*self.job.lock() {
            job.throttled(waited);
        }
    }

    /// The cache folder's file system: bytes free, and in all.
    pub fn cache_space(&self, free: u64, size: u64) {
        self.set(&catalogue::CACHE_FREE, &[], float(free));
        self.set(&catalogue::CACHE_SIZE, &[], float(size));
    }

    /// The size of the local index: chunks, and bytes on disk.
    pub fn index_size(&self, chunks: u64, bytes: u64) {
        self.set(&catalogue::INDEX_CHUNKS, &[], float(chunks));
        self.set(&catalogue::INDEX_BYTES, &[], float(bytes));
    }

    /// The recovery points of this server that are not deleted, by tag.
    pub fn points(&self, by_tag: &BTreeMap<String, u64>) {
        self.zero(&catalogue::POINTS, &[]);
        let mut sums = BTreeMap::<&str, u64>::new();
        for (tag, n) in by_tag {
            *sums.entry(bounded(&catalogue::POINTS, &[tag])[0]).or_default() += n;
        }
        for (tag, n) in sums {
            self.set(&catalogue::POINTS, &[tag], float(n));
        }
    }

    /// When the newest recovery point of this server was begun, seconds since the epoch.
    pub fn newest_point(&self, time_s: f64) {
        *self.newest_point_s.lock() = Some(time_s);
        self.set(&catalogue::NEWEST_POINT, &[], time_s);
    }

    /// How old that point is at this moment; called before a page is rendered that is read at once.
    pub fn age_newest_point(&self, now_s: f64) {
        if let Some(newest) = *self.newest_point_s.lock() {
            self.set(&catalogue::NEWEST_POINT_AGE, &[], (now_s - newest).max(0.0));
        }
    }
}

/// The labels as their sets have them; what is in no set is `other`, so that no page grows without bound.
fn bounded<'l>(metric: &Metric, values: &[&'l str]) -> Vec<&'l str> {
    let known = |(label, value): (&catalogue::Label, &&'l str)| {
        if label.values.contains(value) { *value } else { OTHER }
    };
    metric.labels.iter().zip(values).map(known).collect()
}

/// The time now, seconds since the epoch.
#[must_use]
pub fn now_s() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

fn direction_label(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn float(n: u64) -> f64 {
    n as f64
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl StoreObserver for Metrics {
    fn finished(&self, verb: Verb, outcome: Outcome, seconds: f64, bytes: u64) {
        // All there can be, from the first request on: the rate of a counter that appears with its first failure is 0.
        self.store_used.call_once(|| {
            for verb in catalogue::REQUESTS.labels[0].values {
                self.add(&catalogue::RETRIES, &[verb], 0.0);
                for outcome in catalogue::REQUESTS.labels[1].values {
                    self.add(&catalogue::REQUESTS, &[verb, outcome], 0.0);
                }
            }
            for direction in catalogue::STORE_BYTES.labels[0].values {
                self.add(&catalogue::STORE_BYTES, &[direction], 0.0);
            }
        });
        self.add(&catalogue::REQUESTS, &[verb.name(), outcome.name()], 1.0);
        if let Some(family) = self.histograms.get(catalogue::REQUEST_DURATION.name) {
            family.with_label_values(&[verb.name()]).observe(seconds);
        }
        let way = if verb == Verb::Put { "up" } else { "down" };
        self.add(&catalogue::STORE_BYTES, &[way], float(bytes));
    }

    fn retrying(&self, verb: Verb) {
        self.add(&catalogue::RETRIES, &[verb.name()], 1.0);
    }
}

#[cfg(test)]
mod metrics_tests;
