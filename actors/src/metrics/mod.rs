//! What Prometheus sees of the jobs of this process or, in the agent, of the records of this server's jobs. The
//! [`list`] has all metrics.
//!
//! The stages count in plain atomics. A scrape reads them (`live`) and adds what is new. So metrics cost the pipeline
//! nothing except those atomics, however often they are scraped.

mod families;
pub mod list;
mod live;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstone_proto::job::{JobKind, JobState};
use lockstone_vault::index::Index;
use lockstone_vault::store::observe::{Outcome, StoreObserver, Verb};
use lockstone_vault::store::pace::Direction;
use parking_lot::Mutex;

use crate::flow::{Budget, StageFigures, StageName};
use crate::progress::Progress;
use families::{Families, bounded, float};
use live::{Generation, JobSeries};

/// The metrics of this process.
pub struct Metrics {
    families: Families,
    /// The job that runs. The lock on the state folder allows one at a time.
    job: Mutex<Option<JobSeries>>,
    /// When the last job of each kind ended, for each status and for all of them. Records come in any order, and one of
    /// an older job does not change what is said of the last one.
    last: Mutex<HashMap<(JobKind, &'static str), f64>>,
    newest_point_s: Mutex<Option<f64>>,
    /// Since when some byte of the vault was not read.
    unread_since_s: Mutex<Option<f64>>,
    store_used: Once,
    store_waits: Mutex<StoreWaits>,
}

/// Operations that failed and wait for the store.
#[derive(Debug, Default)]
struct StoreWaits {
    operations: u32,
    /// When the first of them is given up.
    until: Option<Instant>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What the metrics say about a job that has ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndedJob {
    /// The kind of job. An unknown one is counted as `other`.
    pub kind: JobKind,
    /// The state in which it ended.
    pub status: JobState,
    /// When it ended, seconds since the epoch.
    pub ended_s: f64,
    /// How long it took.
    pub duration: Duration,
    /// Bytes, by what was done with them: values of the label `what`.
    pub bytes: Vec<(&'static str, u64)>,
    /// Files, by outcome: values of the label `outcome`.
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
    /// A registry with no value set except the version.
    ///
    /// # Panics
    /// Never: the names and labels are constants, and a test makes every one of them.
    #[must_use]
    pub fn new() -> Self {
        let families = Families::new();
        families.set(&list::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
        Self {
            families,
            job: Mutex::new(None),
            last: Mutex::default(),
            newest_point_s: Mutex::default(),
            unread_since_s: Mutex::default(),
            store_used: Once::new(),
            store_waits: Mutex::default(),
        }
    }

    /// The text that Prometheus scrapes, with the figures of this moment.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(job) = self.job.lock().as_mut() {
            job.sample(&self.families);
        }
        self.families.render()
    }

    /// A job of this process begins. From now on, every scrape reads its figures.
    pub(crate) fn job_began(&self, kind: JobKind, progress: &Arc<Progress>, index: &Arc<Index>) {
        self.set_running(kind, JobState::Running);
        self.families.add(&list::RESTARTS, &[], 0.0);
        for direction in ["up", "down"] {
            self.families.add(&list::THROTTLE_WAITED, &[direction], 0.0);
        }
        *self.job.lock() = Some(JobSeries::new(kind, progress, index));
    }

    /// The job that runs is being cancelled.
    pub(crate) fn cancelling(&self) {
        if let Some(job) = &*self.job.lock() {
            self.set_running(job.kind, JobState::Cancelling);
        }
    }

    /// Says that one job of the kind is in this state, and none in another.
    fn set_running(&self, kind: JobKind, state: JobState) {
        self.families.zero(&list::JOBS_RUNNING, &[kind.word()]);
        self.families
            .set(&list::JOBS_RUNNING, &[kind.word(), state.word()], 1.0);
    }

    /// The job that runs has ended; its last figures are kept. The caller says how it ended
    /// ([`recorded`](Self::recorded)), because only the caller knows of jobs that failed before their first stage.
    pub(crate) fn job_ended(&self) {
        if let Some(mut job) = self.job.lock().take() {
            job.sample(&self.families);
            self.families.zero(&list::JOBS_RUNNING, &[job.kind.word()]);
        }
    }

    /// Counts a job that has ended. Call it once for each job; the order does not matter.
    pub fn recorded(&self, ended: &EndedJob) {
        let (kind, status) = (ended.kind.word(), ended.status.word());
        self.families.add(&list::JOBS, &[kind, status], 1.0);
        // If the clock was ahead when this job ended, it must not hide the jobs that came after it.
        let is_real = ended.ended_s <= now_s() + CLOCK_TOLERANCE_S;
        let place = if is_real { ended.ended_s } else { 0.0 };
        if self.is_newest(ended.kind, status, place) && is_real {
            self.families.set(&list::LAST_END, &[kind, status], ended.ended_s);
        }
        if ended.status.is_success() && self.is_newest(ended.kind, SUCCESS, place) && is_real {
            self.families.set(&list::LAST_SUCCESS, &[kind], ended.ended_s);
        }
        if !self.is_newest(ended.kind, ANY, place) {
            return;
        }
        self.families
            .set(&list::JOB_DURATION, &[kind], ended.duration.as_secs_f64());
        self.families.set(&list::JOB_WARNINGS, &[kind], float(ended.warnings));
        self.families.set(&list::JOB_RESTARTS, &[kind], float(ended.restarts));
        for (what, n) in &ended.bytes {
            self.families.set(&list::JOB_BYTES, &[kind, what], float(*n));
        }
        for (outcome, n) in &ended.files {
            self.families.set(&list::JOB_FILES, &[kind, outcome], float(*n));
        }
        let (scanned, new, stored) = (ended.bytes("scanned"), ended.bytes("new"), ended.bytes("stored"));
        if let (Some(scanned @ 1..), Some(new)) = (scanned, new) {
            let known = scanned.saturating_sub(new);
            self.families.set(&list::JOB_DEDUP, &[], float(known) / float(scanned));
        }
        if let (Some(new @ 1..), Some(stored)) = (new, stored) {
            self.families
                .set(&list::JOB_COMPRESSION, &[], float(stored) / float(new));
        }
    }

    /// Whether no later job of the kind is known. Then it becomes the latest.
    fn is_newest(&self, kind: JobKind, of: &'static str, place: f64) -> bool {
        let mut last = self.last.lock();
        if last.get(&(kind, of)).is_some_and(|last| *last > place) {
            return false;
        }
        last.insert((kind, of), place);
        true
    }

    /// Sets the number of jobs that run in other processes of this server: `kinds` has the kind of each.
    pub fn running(&self, kinds: &[JobKind]) {
        for kind in JobKind::ALL {
            let n = kinds.iter().filter(|known| **known == kind).count();
            let labels = [kind.word(), JobState::Running.word()];
            self.families.set(&list::JOBS_RUNNING, &labels, float(n as u64));
        }
    }

    /// A generation begins: these are its stages, before they start.
    pub(crate) fn generation_began(&self, stages: Vec<StageFigures>) {
        for figures in &stages {
            for family in [&list::FAULTS, &list::PANICS] {
                self.families.add(family, &[figures.stage.word()], 0.0);
            }
        }
        if let Some(job) = self.job.lock().as_mut() {
            let budgets = std::mem::take(&mut job.generation).map(|wired| wired.budgets);
            job.generation = Some(Generation::new(stages, budgets.unwrap_or_default()));
        }
    }

    /// Shows a budget of the generation that is being assembled.
    pub(crate) fn watch_budget(&self, lane: &'static str, budget: &Budget) {
        if let Some(job) = self.job.lock().as_mut() {
            let generation = job.generation.get_or_insert_default();
            generation.budgets.push((lane, budget.clone()));
        }
    }

    /// All stages of the generation have exited.
    pub(crate) fn generation_ended(&self) {
        if let Some(job) = self.job.lock().as_mut() {
            job.sample(&self.families);
            if let Some(generation) = job.generation.take() {
                generation.left(&self.families);
            }
        }
    }

    pub(crate) fn restarted(&self) {
        self.families.add(&list::RESTARTS, &[], 1.0);
    }

    pub(crate) fn faulted(&self, stage: StageName, panicked: bool) {
        let stage = stage.word();
        self.families.add(&list::FAULTS, &[stage], 1.0);
        if panicked {
            self.families.add(&list::PANICS, &[stage], 1.0);
        }
    }

    /// Sets the limit that is in force from now on, in bytes a second. `None` is no limit, 0 a pause.
    pub fn throttle_limit(&self, direction: Direction, bytes_per_second: Option<u64>) {
        let limit = bytes_per_second.map_or(f64::INFINITY, float);
        self.families
            .set(&list::THROTTLE_LIMIT, &[direction_label(direction)], limit);
    }

    /// Adds time that a request waited for the throttle.
    pub fn throttle_waited(&self, direction: Direction, waited: Duration) {
        self.families.add(
            &list::THROTTLE_WAITED,
            &[direction_label(direction)],
            waited.as_secs_f64(),
        );
        if let Some(job) = &*self.job.lock() {
            job.throttled(waited);
        }
    }

    /// Sets the bytes of the cache folder's file system: those that are free, and all.
    pub fn cache_space(&self, free: u64, size: u64) {
        self.families.set(&list::CACHE_FREE, &[], float(free));
        self.families.set(&list::CACHE_SIZE, &[], float(size));
    }

    /// Sets the size of the local index: its chunks, and its bytes on disk.
    pub fn index_size(&self, chunks: u64, bytes: u64) {
        self.families.set(&list::INDEX_CHUNKS, &[], float(chunks));
        self.families.set(&list::INDEX_BYTES, &[], float(bytes));
    }

    /// Sets the number of packs that this server found damaged or missing.
    pub fn distrusted_packs(&self, packs: u64) {
        self.families.set(&list::DISTRUSTED, &[], float(packs));
    }

    /// Sets the number of objects that the last check found damaged.
    pub fn damaged_objects(&self, objects: u64) {
        self.families.set(&list::DAMAGED, &[], float(objects));
    }

    /// Sets since when a check has not read some byte of the vault, seconds since the epoch, and how many bytes none
    /// has ever read.
    pub fn unread(&self, since_s: f64, never_read: u64) {
        *self.unread_since_s.lock() = Some(since_s);
        self.families.set(&list::UNREAD_SINCE, &[], since_s);
        self.families.set(&list::UNREAD_BYTES, &[], float(never_read));
    }

    /// Sets the number of recovery points of this server that are not deleted, by tag.
    pub fn points(&self, by_tag: &BTreeMap<String, u64>) {
        self.families.zero(&list::POINTS, &[]);
        let mut sums = BTreeMap::<&str, u64>::new();
        for (tag, n) in by_tag {
            *sums.entry(bounded(&list::POINTS, &[tag])[0]).or_default() += n;
        }
        for (tag, n) in sums {
            self.families.set(&list::POINTS, &[tag], float(n));
        }
    }

    /// Sets when the newest recovery point with each tag was begun, seconds since the epoch.
    pub fn newest_by_tag(&self, by_tag: &BTreeMap<String, f64>) {
        for (tag, began) in by_tag {
            self.families.set(&list::NEWEST_OF_TAG, &[tag], *began);
        }
    }

    /// Sets when the next backup of the schedule is due, seconds since the epoch.
    pub fn next_run(&self, at: Option<f64>) {
        self.families.set(&list::NEXT_RUN, &[], at.unwrap_or(0.0));
    }

    /// Sets what is known of the alerts of a kind: how many there were in the last day, and when the last one was,
    /// seconds since the epoch.
    pub fn alerts(&self, kind: &str, lately: u64, last: f64) {
        self.families.set(&list::ALERTS, &[kind], float(lately));
        self.families.set(&list::LAST_ALERT, &[kind], last);
    }

    /// If operations wait for a store that failed: how long until the first of them is given up.
    #[must_use]
    pub fn store_waits(&self) -> Option<Duration> {
        let until = self.store_waits.lock().until;
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Sets when the newest recovery point of this server was begun, seconds since the epoch.
    pub fn newest_point(&self, time_s: f64) {
        *self.newest_point_s.lock() = Some(time_s);
        self.families.set(&list::NEWEST_POINT, &[], time_s);
    }

    /// Sets the age of that point, and of what was not read, at `now_s`. Call it before rendering a page that is read
    /// at once.
    pub fn age_newest_point(&self, now_s: f64) {
        if let Some(since) = *self.unread_since_s.lock() {
            self.families.set(&list::UNREAD_AGE, &[], (now_s - since).max(0.0));
        }
        if let Some(newest) = *self.newest_point_s.lock() {
            self.families
                .set(&list::NEWEST_POINT_AGE, &[], (now_s - newest).max(0.0));
        }
    }
}

/// A job may have ended this far in the future by this machine's clock, seconds: the clock is set a little now and
/// then.
const CLOCK_TOLERANCE_S: f64 = 300.0;

/// The keys of the last job with any status, and of the last one that succeeded.
const ANY: &str = "any";
const SUCCESS: &str = "success";

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

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl StoreObserver for Metrics {
    fn finished(&self, verb: Verb, outcome: Outcome, seconds: f64, bytes: u64) {
        // From the first request on, all series are there: a counter that only appears with its first failure has no
        // rate.
        self.store_used.call_once(|| {
            for verb in list::REQUESTS.labels[0].values {
                self.families.add(&list::RETRIES, &[verb], 0.0);
                for outcome in list::REQUESTS.labels[1].values {
                    self.families.add(&list::REQUESTS, &[verb, outcome], 0.0);
                }
            }
            for direction in list::STORE_BYTES.labels[0].values {
                self.families.add(&list::STORE_BYTES, &[direction], 0.0);
            }
        });
        self.families.add(&list::REQUESTS, &[verb.name(), outcome.name()], 1.0);
        self.families.observe(&list::REQUEST_DURATION, &[verb.name()], seconds);
        let way = if verb == Verb::Put { "up" } else { "down" };
        self.families.add(&list::STORE_BYTES, &[way], float(bytes));
    }

    fn retrying(&self, verb: Verb) {
        self.families.add(&list::RETRIES, &[verb.name()], 1.0);
    }

    fn waits(&self, left: Duration) {
        let mut waits = self.store_waits.lock();
        waits.operations += 1;
        if waits.until.is_none() {
            waits.until = Instant::now().checked_add(left);
        }
    }

    fn waits_no_longer(&self) {
        let mut waits = self.store_waits.lock();
        waits.operations = waits.operations.saturating_sub(1);
        if waits.operations == 0 {
            waits.until = None;
        }
    }
}

#[cfg(test)]
mod tests;
