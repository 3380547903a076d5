//! Repeats a piece of work for a while, by one thread and by all of them, and keeps the figures.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use lockstone_actors::CancelToken;
use serde::Serialize;

use crate::text::render;

/// How much longer than planned a figure may take before a measurement without any result is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes per second.
    Bytes,
    /// Items per second.
    Count,
    /// Seconds for one item.
    Seconds,
}

impl Unit {
    /// Its name in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes_per_second",
            Self::Count => "per_second",
            Self::Seconds => "seconds",
        }
    }

    /// A value for people.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded for people; no rate is negative or above 2^64"
    )]
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => render::rate(value as u64, Duration::from_secs(1)),
            Self::Count => format!("{}/s", render::count(value as u64)),
            Self::Seconds => format!("{:.3} ms", value * 1000.0),
        }
    }
}

/// One measured figure.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// Its name for scripts.
    pub(super) name: &'static str,
    /// Its name for people.
    pub(super) title: &'static str,
    pub(super) unit: Unit,
    /// The figure of one thread.
    pub(super) one: f64,
    /// The figure of all threads together; `None` for a latency.
    pub(super) all: Option<f64>,
}

/// A figure for scripts.
#[derive(Debug, Serialize)]
pub(super) struct FigureDocument {
    name: &'static str,
    unit: &'static str,
    one: f64,
    all: Option<f64>,
}

impl Figure {
    pub(super) fn document(&self) -> FigureDocument {
        FigureDocument {
            name: self.name,
            unit: self.unit.name(),
            one: self.one,
            all: self.all,
        }
    }
}

/// What one repetition of the work did, and the time it took without preparations.
pub(super) struct Step {
    pub(super) units: u64,
    pub(super) time: Duration,
}

impl Step {
    /// Does and times work of so many units.
    pub(super) fn of(units: u64, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let begun = Instant::now();
        work()?;
        Ok(Self {
            units,
            time: begun.elapsed(),
        })
    }
}

/// Measures figures and keeps them.
pub(super) struct Meter {
    /// How long each figure is measured.
    pub(super) time: Duration,
    /// Threads for "all".
    pub(super) threads: usize,
    pub(super) cancel: CancelToken,
    pub(super) figures: Vec<Figure>,
}

impl Meter {
    /// Measures a rate. `make` gets the number of a thread and makes that thread's work.
    pub(super) fn rate<W>(
        &mut self,
        name: &'static str,
        title: &'static str,
        unit: Unit,
        make: impl Fn(usize) -> Result<W> + Sync,
    ) -> Result<()>
    where
        W: FnMut() -> Result<Step>,
    {
        let one = self.by_threads(1, &make)?;
        let all = self.by_threads(self.threads, &make)?;
        self.figures.push(Figure {
            name,
            title,
            unit,
            one,
            all: Some(all),
        });
        Ok(())
    }

    /// Measures how long one repetition takes: the median of at least three.
    pub(super) fn latency(
        &mut self,
        name: &'static str,
        title: &'static str,
        mut work: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut times = Vec::new();
        let begun = Instant::now();
        while times.len() < 3 || begun.elapsed() < self.time {
            self.check_cancelled()?;
            times.push(Step::of(1, &mut work)?.time);
        }
        times.sort_unstable();
        self.figures.push(Figure {
            name,
            title,
            unit: Unit::Seconds,
            one: times[times.len() / 2].as_secs_f64(),
            all: None,
        });
        Ok(())
    }

    /// Units per second of so many threads together.
    fn by_threads<W>(&self, threads: usize, make: &(impl Fn(usize) -> Result<W> + Sync)) -> Result<f64>
    where
        W: FnMut() -> Result<Step>,
    {
        let barrier = Barrier::new(threads);
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|number| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        // Every thread must reach the barrier, even if its work could not be made.
                        let work = make(number).and_then(|mut work| work().map(|_| work));
                        barrier.wait();
                        self.repeat(work?)
                    })
                })
                .collect();
            let rates = running.into_iter().map(|thread| match thread.join() {
                Ok(rate) => rate,
                Err(_) => Err(anyhow!("a measuring thread panicked; this is a defect")),
            });
            rates.sum()
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    fn repeat(&self, mut work: impl FnMut() -> Result<Step>) -> Result<f64> {
        let begun = Instant::now();
        let (mut units, mut time) = (0, Duration::ZERO);
        while units == 0 || begun.elapsed() < self.time {
            self.check_cancelled()?;
            if units == 0 && begun.elapsed() > self.time * 10 + PATIENCE {
                bail!("there is nothing left to measure: were the files removed?");
            }
            let step = work()?;
            units += step.units;
            time += step.time;
        }
        Ok(units as f64 / time.as_secs_f64().max(1e-9))
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            bail!("cancelled");
        }
        Ok(())
    }
}
