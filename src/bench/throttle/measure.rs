//! A run: the target opened, the load started, arrivals counted for the time, and all of it ended again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstone_actors::CancelToken;
use lockstone_vault::store::Store;
use lockstone_vault::store::pace::{Unpaced, Way, WirePace};
use tokio::task::JoinSet;

use super::limits::Limits;
use super::load::{Load, Tally};
use super::plan::Setting;
use super::sink::{Arrivals, Sink};
use super::source::Source;
use super::stats;
use super::target::{Counter, Cut, Target};
use super::usage::{Usage, Used};
use crate::failure::Failure;

/// The first byte comes in this time, or none will.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(30);
/// After the time is up, what was sent still has to be read.
const LAST_BYTES: Duration = Duration::from_millis(20);

/// What was begun when the time is up may take so long to end.
const LAST_PUTS: Duration = Duration::from_secs(10);

/// What all the runs share.
#[derive(Debug)]
pub struct Bench {
    /// Where the bytes go.
    pub target: Target,
    /// What they are.
    pub source: Source,
    /// Below this the objects stand, a folder for each run.
    pub prefix: String,
    /// Ends a run.
    pub cancel: CancelToken,
}

/// What a run showed.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What was run.
    pub setting: Setting,
    /// The length of pieces at the beginning, bytes; `None`: bodies went as they were.
    pub piece_len: Option<usize>,
    /// Bytes in each slot.
    pub slots: Vec<u64>,
    /// The slot in which the limit changed.
    pub edge: Option<usize>,
    /// What became of the puts.
    pub tally: Tally,
    /// What it took, without the sink's processor time.
    pub used: Used,
}

impl Measured {
    /// Bytes a second over the whole time; of a change, over the time after it acted.
    #[must_use]
    pub fn rate(&self) -> f64 {
        stats::mean_rate(self.steady())
    }

    /// The limit that held in that time.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        match &self.setting.then {
            Some(then) => then.rate,
            None => self.setting.limit.rate,
        }
    }

    /// Share of the limit that was used; `None` where there was none.
    #[must_use]
    pub fn achieved(&self) -> Option<f64> {
        self.share(self.rate())
    }

    /// The worst second as a share of the limit.
    #[must_use]
    pub fn worst_second(&self) -> Option<f64> {
        self.share(stats::number(stats::worst_second(self.steady())))
    }

    /// How long the change took.
    #[must_use]
    pub fn acted(&self) -> Option<Duration> {
        stats::acted(&self.slots, self.edge?, self.setting.change()?)
    }

    fn share(&self, rate: f64) -> Option<f64> {
        let limit = self.limit().filter(|limit| *limit > 0)?;
        Some(rate / stats::number(limit))
    }

    /// The slots in which one limit holds.
    fn steady(&self) -> &[u64] {
        let Some(edge) = self.edge else { return &self.slots };
        let from = edge + self.acted().map_or(0, stats::slot_of);
        self.slots.get(from..).unwrap_or_default()
    }
}

/// What a fixed amount took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Seconds on the wall.
    pub wall: f64,
    /// Seconds of the processor, the sink's not counted.
    pub cpu: f64,
}

/// A target that is open for one run.
struct Run {
    load: Arc<Load>,
    arrivals: Arc<Arrivals>,
    sink: Option<Sink>,
}

impl Bench {
    /// Puts something small, so that a vault that cannot be written is found out at once.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn probe(&self) -> Result<(), Failure> {
        let Target::Vault { .. } = &self.target else {
            return Ok(());
        };
        let opened = self.target.open(Arc::new(Unpaced), &Arc::default())?;
        opened.store.create(&format!("{}/probe", self.prefix), "probe").await?;
        Ok(())
    }

    /// One run of the sweep.
    ///
    /// # Errors
    /// Where the target cannot be used, or nothing arrives.
    pub async fn run(&self, number: usize, setting: &Setting) -> Result<Measured, Failure> {
        let limits = Limits::new(setting.limit.rate);
        let pace: Arc<dyn WirePace> = match setting.piece.0 {
            Some(piece) => Arc::new(Cut {
                inner: limits.pace(),
                piece,
            }),
            None => limits.pace(),
        };
        let piece_len = pace.piece(Way::Up);
        let run = self.open(number, setting, pace)?;
        let usage = Usage::begin();
        let mut workers = run.load.start(setting.parallel);
        let watched = self.watch(setting, &run, &limits, &mut workers).await;
        let mut used = usage.end();
        let tally = run.load.tally();
        // What is under way in a folder goes on whether or not anybody waits for it, and has to be there to be removed.
        limits.set(None);
        run.load.stop();
        if let Target::Vault { .. } = self.target {
            let all_done = async { while workers.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(LAST_PUTS, all_done).await;
        }
        workers.shutdown().await;
        let edge = watched?;
        used.cpu = used.cpu.saturating_sub(run.sink.map(Sink::stop).unwrap_or_default());
        Ok(Measured {
            setting: setting.clone(),
            piece_len,
            slots: run.arrivals.slots(setting.time),
            edge,
            tally,
            used,
        })
    }

    /// Waits for the time of a run, and changes the limit in the middle of it if that is asked for; in which slot.
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
        let mut edge = None;
        if let Some(then) = &setting.then {
            self.busy_until(workers, first + setting.time / 2).await?;
            limits.set(then.rate);
            edge = Some(stats::slot_of(first.elapsed()));
        }
        self.busy_until(workers, first + setting.time + LAST_BYTES).await?;
        Ok(edge)
    }

    /// Waits, while the workers work on; a worker that ends says why.
    async fn busy_until(&self, workers: &mut JoinSet<Result<(), Failure>>, until: Instant) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Failure::cancelled()),
            Some(ended) = workers.join_next() => ended.map_err(|error| died(&error))?,
            () = tokio::time::sleep_until(until.into()) => Ok(()),
        }
    }

    /// Puts so many packs to a sink at a pace, as fast as they go.
    ///
    /// # Errors
    /// Where one cannot be put.
    pub async fn cost(
        &self,
        pace: Arc<dyn WirePace>,
        packs: usize,
        pack_len: usize,
        parallel: usize,
    ) -> Result<Cost, Failure> {
        let arrivals = Arc::default();
        let opened = Target::Sink.open(pace, &arrivals)?;
        let budget = (pack_len * parallel) as u64;
        let load = Load::new(opened.store, Source::generated(), "cost".to_owned(), pack_len, budget);
        let load = Arc::new(load.of(packs));
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

    /// Removes what was put. Nothing of the sink's.
    ///
    /// # Errors
    /// Where it cannot be.
    pub async fn clean(&self) -> Result<(), Failure> {
        let Target::Vault { .. } = &self.target else {
            return Ok(());
        };
        // The relay to the store goes with what was opened.
        let opened = self.target.open(Arc::new(Unpaced), &Arc::default())?;
        let store = &opened.store;
        for object in store.list_all(&self.prefix).await? {
            store.delete(&object.path).await?;
        }
        remove_folders(store, &self.prefix);
        Ok(())
    }

    fn open(&self, number: usize, setting: &Setting, pace: Arc<dyn WirePace>) -> Result<Run, Failure> {
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
            load = load.counted(Arc::clone(&arrivals));
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
        "see whether the store answers: lockstone vault servers URL",
    )
}

fn died(error: &tokio::task::JoinError) -> Failure {
    Failure::failed("internal", format!("a worker died: {error}"), "")
}

/// The folders of a local vault that held what was put. What is not empty stays.
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
