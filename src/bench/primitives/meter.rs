//! How something is measured: again and again for a while, by one thread and by all.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use lockstone_actors::CancelToken;
use serde_json::{Value, json};

use crate::text::render;

/// So much longer than the time for a figure nothing at all may come of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes a second.
    Bytes,
    /// Things a second.
    Count,
    /// How long one takes.
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

    /// A value, for people.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "for people; no rate is negative or beyond 2^64"
    )]
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => render::rate(value as u64, Duration::from_secs(1)),
            Self::Count => format!("{}/s", render::count(value as u64)),
            Self::Seconds => format!("{:.3} ms", value * 1000.0),
        }
    }
}

/// Something measured.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// Its name for scripts.
    pub(super) name: &'static str,
    /// Its name for people.
    pub(super) what: &'static str,
    pub(super) unit: Unit,
    /// By one thread.
    pub(super) one: f64,
    /// By all of them together; none where that says nothing.
    pub(super) all: Option<f64>,
}

impl Figure {
    pub(super) fn json(&self) -> Value {
        json!({ "name": self.name, "unit": self.unit.name(), "one": self.one, "all": self.all })
    }
}

/// A piece of work: so many units in that time. What only prepares is not in it.
pub(super) struct Step {
    pub(super) units: u64,
    pub(super) time: Duration,
}

impl Step {
    /// Does work that gives so many units.
    pub(super) fn of(units: u64, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let begun = Instant::now();
        work()?;
        Ok(Self {
            units,
            time: begun.elapsed(),
        })
    }
}

/// Measures, and keeps what it measured.
pub(super) struct Meter {
    /// How long each figure is measured.
    pub(super) time: Duration,
    /// Threads for "all".
    pub(super) threads: usize,
    pub(super) cancel: CancelToken,
    pub(super) figures: Vec<Figure>,
}

impl Meter {
    /// Measures a rate: `make` gives each thread, by its number, work of its own.
    pub(super) fn rate<W>(
        &mut self,
        name: &'static str,
        what: &'static str,
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
            what,
            unit,
            one,
            all: Some(all),
        });
        Ok(())
    }

    /// Keeps how long one thing takes: the median of many.
    pub(super) fn latency(
        &mut self,
        name: &'static str,
        what: &'static str,
        mut work: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut times = Vec::new();
        let begun = Instant::now();
        while times.len() < 3 || begun.elapsed() < self.time {
            self.check()?;
            times.push(Step::of(1, &mut work)?.time);
        }
        times.sort_unstable();
        self.figures.push(Figure {
            name,
            what,
            unit: Unit::Seconds,
            one: times[times.len() / 2].as_secs_f64(),
            all: None,
        });
        Ok(())
    }

    /// Units a second of so many threads together.
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
                        // Everybody comes to the barrier, also who has nothing to do there.
                        let work = make(number).and_then(|mut work| work().map(|_| work));
                        barrier.wait();
                        self.for_a_while(work?)
                    })
                })
                .collect();
            let rates = running.into_iter().map(|thread| match thread.join() {
                Ok(rate) => rate,
                Err(_) => Err(anyhow!("a measuring thread stopped at a defect of its own")),
            });
            rates.sum()
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    fn for_a_while(&self, mut work: impl FnMut() -> Result<Step>) -> Result<f64> {
        let begun = Instant::now();
        let (mut units, mut time) = (0, Duration::ZERO);
        while units == 0 || begun.elapsed() < self.time {
            self.check()?;
            if units == 0 && begun.elapsed() > self.time * 10 + PATIENCE {
                bail!("there is nothing left to measure with: did the files go away?");
            }
            let step = work()?;
            units += step.units;
            time += step.time;
        }
        Ok(units as f64 / time.as_secs_f64().max(1e-9))
    }

    fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            bail!("cancelled");
        }
        Ok(())
    }
}
