//! One run: it opens the target, starts the load, counts arrivals for the time of the run, and ends the load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstone_actors::CancelToken;
use lockstone_vault::store::Store;
use lockstone_vault::store::pace::{Direction, LinePace, Unpaced};
use tokio::task::JoinSet;

use super::limits::Limits;
use super::load::{Load, Tally};
use super::plan::Setting;
use super::sink::{Arrivals, Sink};
use super::source::Source;
use super::stats;
use super::target::{Counter, FixedPiecePace, Target};
use super::usage::{Usage, Used};
use crate::failure::Failure;

/// A run fails if no byte arrives within this time.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(30);
/// How long the receiving side gets to read the bytes that were sent within the time of a run.
const LAST_BYTES_WITHIN: Duration = Duration::from_millis(20);
/// How long puts that were begun within the time of a run may take to end.
const LAST_PUTS_WITHIN: Duration = Duration::from_secs(10);

/// What all runs share.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) target: Target,
    pub(super) source: Source,
    /// The objects are put below this, in a folder for each run.
    pub(super) prefix: String,
    pub(super) cancel: CancelToken,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) setting: Setting,
    /// The length of pieces at the beginning, in bytes. `None` if bodies were not cut.
    pub(super) piece_len: Option<usize>,
    /// The bytes that arrived in each slot.
    pub(super) slots: Vec<u64>,
    /// The slot in which the limit changed, in a run with a change.
    pub(super) changed_at: Option<usize>,
    pub(super) tally: Tally,
    /// Without the sink's processor time.
    pub(super) used: Used,
}

impl Measured {
    /// Bytes per second over the whole run, or over the time after the change acted.
    pub(super) fn rate(&self) -> f64 {
        stats::mean_rate(self.steady())
    }

    /// The limit in that time.
    pub(super) fn limit(&self) -> Option<u64> {
        match &self.setting.then {
            Some(then) => then.rate,
            None => self.setting.limit.rate,
        }
    }

    /// The share of the limit that was used; `None` without a limit.
    pub(super) fn achieved(&self) -> Option<f64> {
        self.share(self.rate())
    }

    /// The worst second as a share of the limit.
    pub(super) fn worst_second(&self) -> Option<f64> {
        self.share(stats::number(stats::worst_second(self.steady())))
    }

    /// How long the change took to act.
    pub(super) fn acted(&self) -> Option<Duration> {
        stats::acted(&self.slots, self.changed_at?, self.setting.change()?)
    }

    fn share(&self, rate: f64) -> Option<f64> {
        let limit = self.limit().filter(|limit| *limit > 0)?;
        Some(rate / stats::number(limit))
    }

    /// The slots in which one limit was in force.
    fn steady(&self) -> &[u64] {
        let Some(changed_at) = self.changed_at else {
            return &self.slots;
        };
        let from = changed_at + self.acted().map_or(0, stats::slot_of);
        self.slots.get(from..).unwrap_or_default()
    }
}

/// What it took to put a fixed number of packs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Elapsed seconds.
    pub(super) wall: f64,
    /// Processor seconds without those of the sink.
    pub(super) cpu: f64,
}

/// A target that is open for one run.
struct Run {
    load: Arc<Load>,
    arrivals: Arc<Arrivals>,
    sink: Option<Sink>,
}

impl Bench {
    /// Puts a small object, so that a vault that cannot be written is found at once.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let Target::Vault { .. } = &self.target else {
            return Ok(());
        };
        let opened = self.target.open(Arc::new(Unpaced), &Arc::default())?;
        opened.store.create(&format!("{}/probe", self.prefix), "probe").await?;
        Ok(())
    }

    /// One run of the sweep.
    pub(super) async fn run(&self, number: usize, setting: &Setting) -> Result<Measured, Failure> {
        let limits = Limits::new(setting.limit.rate);
        let pace: Arc<dyn LinePace> = match setting.piece.0 {
            Some(piece) => Arc::new(FixedPiecePace {
                inner: limits.pace(),
                piece,
            }),
            None => limits.pace(),
        };
        let piece_len = pace.piece(Direction::Up);
        let run = self.open(number, setting, pace)?;
        let usage = Usage::begin();
        let mut workers = run.load.start(setting.parallel);
        let watched = self.watch(setting, &run, &limits, &mut workers).await;
        let mut used = usage.end();
        let tally = run.load.tally();
        // A put into a folder cannot be interrupted. It must end before the object can be removed.
        limits.set(None);
        run.load.stop();
        if let Target::Vault { .. } = self.target {
            let all_done = async { while workers.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(LAST_PUTS_WITHIN, all_done).await;
        }
        workers.shutdown().await;
        let changed_at = watched?;
        used.cpu = used.cpu.saturating_sub(run.sink.map(Sink::stop).unwrap_or_default());
        Ok(Measured {
            setting: setting.clone(),
            piece_len,
            slots: run.arrivals.slots(setting.time),
            changed_at,
            tally,
            used,
        })
    }

    /// Waits for the time of a run, and changes the limit in the middle of a run with a change. Returns the slot of the
    /// change.
    async fn watch(
        &self,
        setting: &Setting,
        run: &Run,
        limits: &Limits,
        workers: &mut JoinSet<Result<(), Failure>>,
    ) -> Result<Option<usize>, Failure> {
        let begun = Instant::now();
        let first = loop {
            if let Some(first) = run.arrivals.first() {
                break first;
            }
            if begun.elapsed() > FIRST_BYTE_WITHIN {
                return Err(run.load.tally().last.unwrap_or_else(no_bytes));
            }
            self.busy_until(workers, Instant::now() + Duration::from_millis(2))
                .await?;
        };
        let mut changed_at = None;
        if let Some(then) = &setting.then {
            self.busy_until(workers, first + setting.time / 2).await?;
            limits.set(then.rate);
            changed_at = Some(stats::slot_of(first.elapsed()));
        }
        self.busy_until(workers, first + setting.time + LAST_BYTES_WITHIN)
            .await?;
        Ok(changed_at)
    }

    /// Waits while the workers work. If a worker ends, this ends with the worker's result.
    async fn busy_until(&self, workers: &mut JoinSet<Result<(), Failure>>, until: Instant) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Failure::cancelled()),
            Some(ended) = workers.join_next() => ended.map_err(|error| worker_died(&error))?,
            () = tokio::time::sleep_until(until.into()) => Ok(()),
        }
    }

    /// Puts so many packs to a sink at a pace, as fast as possible.
    pub(super) async fn cost(
        &self,
        pace: Arc<dyn LinePace>,
        packs: usize,
        pack_len: usize,
        parallel: usize,
    ) -> Result<Cost, Failure> {
        let arrivals = Arc::default();
        let opened = Target::Sink.open(pace, &arrivals)?;
        let budget = (pack_len * parallel) as u64;
        let load = Load::new(opened.store, Source::generated(), "cost".to_owned(), pack_len, budget);
        let load = Arc::new(load.with_max_packs(packs));
        let usage = Usage::begin();
        let mut workers = load.start(parallel);
        while !workers.is_empty() {
            self.busy_until(&mut workers, Instant::now() + Duration::from_secs(60))
                .await?;
        }
        let used = usage.end();
        let sink = opened.sink.map(Sink::stop).unwrap_or_default();
        if let Some(failure) = load.tally().last {
            return Err(failure);
        }
        Ok(Cost {
            wall: used.wall.as_secs_f64(),
            cpu: used.cpu.saturating_sub(sink).as_secs_f64(),
        })
    }

    /// Removes the objects that were put. The sink keeps none.
    pub(super) async fn clean(&self) -> Result<(), Failure> {
        let Target::Vault { .. } = &self.target else {
            return Ok(());
        };
        // The relay to the store ends when `opened` is dropped.
        let opened = self.target.open(Arc::new(Unpaced), &Arc::default())?;
        let store = &opened.store;
        for object in store.list_all(&self.prefix).await? {
            store.delete(&object.path).await?;
        }
        remove_folders(store, &self.prefix);
        Ok(())
    }

    fn open(&self, number: usize, setting: &Setting, pace: Arc<dyn LinePace>) -> Result<Run, Failure> {
        let arrivals: Arc<Arrivals> = Arc::default();
        let opened = self.target.open(pace, &arrivals)?;
        let prefix = format!("{}/{number}", self.prefix);
        let mut load = Load::new(
            opened.store,
            self.source.clone(),
            prefix,
            setting.pack_len,
            setting.data_budget(),
        );
        if self.target.counter() == Counter::Sender && setting.limit.rate.is_none() {
            load = load.counting_packs(Arc::clone(&arrivals));
        }
        Ok(Run {
            load: Arc::new(load),
            arrivals,
            sink: opened.sink,
        })
    }
}

fn no_bytes() -> Failure {
    let message = format!("nothing arrived within {} s", FIRST_BYTE_WITHIN.as_secs());
    Failure::failed(
        "no-bytes",
        message,
        "`lockstone vault servers URL` shows whether the store answers",
    )
}

fn worker_died(error: &tokio::task::JoinError) -> Failure {
    Failure::failed("internal", format!("a worker stopped at a defect: {error}"), "")
}

/// Removes the folders of a local vault that held the objects. A folder that is not empty stays.
fn remove_folders(store: &Store, prefix: &str) {
    let Some(root) = store.local_root() else { return };
    let own = root.join(prefix);
    let runs = std::fs::read_dir(&own).into_iter().flatten().flatten();
    for folder in runs.map(|entry| entry.path()).collect::<Vec<_>>() {
        let _ = std::fs::remove_dir(folder);
    }
    let _ = std::fs::remove_dir(&own);
    let _ = own.parent().map(std::fs::remove_dir);
}
