//! The results: as tables for people, as JSON and CSV for scripts (`document`), and compared with the bars that the
//! throttle has to keep.

mod document;

use super::measure::{Cost, Measured};
use super::stats::{self, percentile};
use super::target::Counter;
use crate::text::render;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    /// Where the bytes were counted.
    pub(super) counter: Counter,
    /// The runs, in order.
    pub(super) runs: Vec<Measured>,
    /// The rounds of cost: without a throttle, and with one that does not limit.
    pub(super) cost: Vec<(Cost, Cost)>,
}

/// A bar that the throttle has to keep, and whether it kept it.
#[derive(Debug, Clone, PartialEq)]
struct Bar {
    name: &'static str,
    /// The bar in words.
    wanted: &'static str,
    /// The lowest and the highest value that was measured.
    measured: (f64, f64),
    /// Whether every value keeps the bar.
    held: bool,
}

/// The time with a throttle that does not limit, divided by the time without a throttle.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Overhead {
    wall: Ratio,
    cpu: Ratio,
}

/// The ratios of all rounds in three numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    median: f64,
    /// The lower and the upper quartile.
    quartiles: (f64, f64),
}

impl Ratio {
    fn of(cost: &[(Cost, Cost)], seconds: fn(&Cost) -> f64) -> Option<Ratio> {
        let rounds = cost.iter();
        let ratios: Vec<f64> = rounds.map(|(without, with)| seconds(with) / seconds(without)).collect();
        Some(Ratio {
            median: stats::median(&ratios)?,
            quartiles: (percentile(&ratios, 25)?, percentile(&ratios, 75)?),
        })
    }

    fn text(&self) -> String {
        let (low, high) = self.quartiles;
        format!("{:.3} ({low:.3} … {high:.3})", self.median)
    }
}

impl Report {
    /// The overhead of a throttle; `None` without rounds of cost.
    fn overhead(&self) -> Option<Overhead> {
        Some(Overhead {
            wall: Ratio::of(&self.cost, |cost| cost.wall)?,
            cpu: Ratio::of(&self.cost, |cost| cost.cpu)?,
        })
    }

    /// The bars for which something was measured.
    fn bars(&self) -> Vec<Bar> {
        let sweep = || self.runs.iter().filter(|run| run.changed_at.is_none());
        let changes = || self.runs.iter().filter(|run| run.changed_at.is_some());
        let acted = |run: &Measured| run.acted().map_or(f64::INFINITY, |acted| acted.as_secs_f64());
        let overhead: Vec<f64> = self
            .overhead()
            .map_or_else(Vec::new, |cost| vec![cost.wall.median, cost.cpu.median]);
        let bars = [
            bar(
                "achieved",
                "0.97 … 1.00",
                sweep().filter_map(Measured::achieved),
                |share| (0.97..=1.00).contains(&share),
            ),
            bar(
                "worst_second",
                "≤ 1.10",
                self.runs.iter().filter_map(Measured::worst_second),
                |share| share <= 1.10,
            ),
            bar("change_seconds", "≤ 1 s", changes().map(acted), |seconds| {
                seconds <= 1.0
            }),
            bar("unlimited_cost", "≤ 1.01", overhead.into_iter(), |ratio| {
                ratio <= 1.01
            }),
        ];
        bars.into_iter().flatten().collect()
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let rows: Vec<Vec<String>> = self
            .runs
            .iter()
            .filter(|run| run.changed_at.is_none())
            .map(row)
            .collect();
        if !rows.is_empty() {
            text.push_str(&render::table(&HEAD, &rows, &RIGHT));
        }
        let rows: Vec<Vec<String>> = self
            .runs
            .iter()
            .filter(|run| run.changed_at.is_some())
            .map(change_row)
            .collect();
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&render::table(&CHANGE_HEAD, &rows, &[1, 2, 3, 4]));
        }
        if let Some(Overhead { wall, cpu }) = self.overhead() {
            text.push_str(&format!(
                "\nA throttle that does not limit, compared with none, median and quartiles of {} rounds: wall {}, processor {}\n",
                self.cost.len(),
                wall.text(),
                cpu.text()
            ));
        }
        let rows: Vec<Vec<String>> = self.bars().iter().map(bar_row).collect();
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&render::table(&["BAR", "WANTED", "MEASURED", ""], &rows, &[]));
        }
        text.push_str(&format!("\nBytes were counted by the {}.\n", self.counter.name()));
        text
    }
}

/// The bytes of each tenth of a second, which is fine enough for a plot.
pub(super) fn tenths(slots: &[u64]) -> Vec<u64> {
    slots.chunks(stats::SECOND / 10).map(stats::total).collect()
}

const HEAD: [&str; 12] = [
    "LIMIT", "PIECE", "PARALLEL", "BUDGET", "PACK", "ACHIEVED", "WORST S", "P50", "P99", "CPU", "PEAK", "WALL",
];
const RIGHT: [usize; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const CHANGE_HEAD: [&str; 5] = ["CHANGE", "ACTED AFTER", "ACHIEVED", "WORST S", "CPU"];

fn row(run: &Measured) -> Vec<String> {
    let (setting, latencies) = (&run.setting, &run.tally.latencies);
    let rate = || format!("{}/s", render::bytes(whole(run.rate())));
    vec![
        setting.limit.text.clone(),
        run.piece_len
            .map_or_else(|| "-".to_owned(), |len| render::bytes(len as u64)),
        setting.parallel.to_string(),
        render::bytes(setting.budget),
        render::bytes(setting.pack_len as u64),
        run.achieved().map_or_else(rate, |share| format!("{share:.4}")),
        share(run.worst_second()),
        seconds(percentile(latencies, 50)),
        seconds(percentile(latencies, 99)),
        format!("{:.2} s", run.used.cpu.as_secs_f64()),
        run.used.peak.map_or_else(|| "-".to_owned(), render::bytes),
        format!("{:.2} s", run.used.wall.as_secs_f64()),
    ]
}

fn change_row(run: &Measured) -> Vec<String> {
    let then = run.setting.then.as_ref().map_or("", |limit| &limit.text);
    vec![
        format!("{} → {then}", run.setting.limit.text),
        run.acted()
            .map_or_else(|| "never".to_owned(), |acted| format!("{:.2} s", acted.as_secs_f64())),
        share(run.achieved()),
        share(run.worst_second()),
        format!("{:.2} s", run.used.cpu.as_secs_f64()),
    ]
}

fn bar_row(bar: &Bar) -> Vec<String> {
    let (least, most) = bar.measured;
    vec![
        bar.name.to_owned(),
        bar.wanted.to_owned(),
        format!("{least:.3} … {most:.3}"),
        if bar.held { "held" } else { "missed" }.to_owned(),
    ]
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.4}"))
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3} s"))
}

fn whole(number: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded for people; a rate is positive and far below 2^63"
    )]
    let whole = number as u64;
    whole
}

/// Compares all values with a bar; `None` without values. Each value is first rounded to hundredths.
fn bar(
    name: &'static str,
    wanted: &'static str,
    values: impl Iterator<Item = f64>,
    holds: impl Fn(f64) -> bool,
) -> Option<Bar> {
    let values: Vec<f64> = values.collect();
    let least = values.iter().copied().reduce(f64::min)?;
    let most = values.iter().copied().reduce(f64::max)?;
    Some(Bar {
        name,
        wanted,
        measured: (least, most),
        held: values.iter().all(|value| holds((value * 100.0).round() / 100.0)),
    })
}

#[cfg(test)]
mod tests;
