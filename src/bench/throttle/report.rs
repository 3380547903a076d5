//! What was measured, as a table, as JSON and as CSV, and what it says about the bars the throttle has to keep.

use serde_json::{Value, json};

use super::measure::{Cost, Measured};
use super::plan::Piece;
use super::stats::{self, percentile};
use super::target::Counter;
use crate::text::render;

/// Everything that was measured.
#[derive(Debug)]
pub struct Report {
    /// Who counted.
    pub counter: Counter,
    /// The runs, in order.
    pub runs: Vec<Measured>,
    /// Rounds of no throttle and of one that does not limit, in turns.
    pub cost: Vec<(Cost, Cost)>,
}

/// A number the throttle has to keep, and what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is about.
    pub name: &'static str,
    /// What it has to be.
    pub bar: &'static str,
    /// The least and the most that was measured.
    pub measured: (f64, f64),
    /// Whether all that was measured is as it has to be.
    pub held: bool,
}

/// What the work took with a throttle that does not limit, as a share of what it took without one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overhead {
    /// Time on the wall.
    pub wall: Ratio,
    /// Processor time.
    pub cpu: Ratio,
}

/// What the rounds say: their median, and between which two the middle half of them lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The lower and the upper quartile.
    pub quartiles: (f64, f64),
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

    fn json(&self) -> Value {
        json!({ "median": self.median, "quartiles": [self.quartiles.0, self.quartiles.1] })
    }
}

impl Report {
    /// What the rounds of cost say; `None` without any.
    #[must_use]
    pub fn overhead(&self) -> Option<Overhead> {
        Some(Overhead {
            wall: Ratio::of(&self.cost, |cost| cost.wall)?,
            cpu: Ratio::of(&self.cost, |cost| cost.cpu)?,
        })
    }

    /// The bars about which something was measured.
    #[must_use]
    pub fn bars(&self) -> Vec<Bar> {
        let sweep = || self.runs.iter().filter(|run| run.edge.is_none());
        let changes = || self.runs.iter().filter(|run| run.edge.is_some());
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

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let rows: Vec<Vec<String>> = self.runs.iter().filter(|run| run.edge.is_none()).map(row).collect();
        if !rows.is_empty() {
            text.push_str(&render::table(&HEAD, &rows, &RIGHT));
        }
        let rows: Vec<Vec<String>> = self
            .runs
            .iter()
            .filter(|run| run.edge.is_some())
            .map(change_row)
            .collect();
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&render::table(&CHANGE_HEAD, &rows, &[1, 2, 3, 4]));
        }
        if let Some(Overhead { wall, cpu }) = self.overhead() {
            text.push_str(&format!(
                "\nA throttle that does not limit, of none at all, median and quartiles of {} rounds: wall {}, processor {}\n",
                self.cost.len(),
                wall.text(),
                cpu.text()
            ));
        }
        let verdicts: Vec<Vec<String>> = self.bars().iter().map(verdict).collect();
        if !verdicts.is_empty() {
            text.push('\n');
            text.push_str(&render::table(&["BAR", "WANTED", "MEASURED", ""], &verdicts, &[]));
        }
        text.push_str(&format!("\nBytes were counted by the {}.\n", self.counter.name()));
        text
    }

    /// For scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        let bar = |bar: &Bar| {
            json!({
                "name": bar.name, "bar": bar.bar, "least": finite(bar.measured.0), "most": finite(bar.measured.1),
                "held": bar.held,
            })
        };
        let cost = |(without, with): &(Cost, Cost)| {
            json!({
                "unpaced_wall_seconds": without.wall, "unpaced_cpu_seconds": without.cpu,
                "unlimited_wall_seconds": with.wall, "unlimited_cpu_seconds": with.cpu,
            })
        };
        let overhead = self
            .overhead()
            .map(|cost| json!({ "wall": cost.wall.json(), "cpu": cost.cpu.json() }));
        json!({
            "counted_by": self.counter.name(),
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "runs": self.runs.iter().map(run_json).collect::<Vec<_>>(),
            "cost": { "ratio": overhead, "rounds": self.cost.iter().map(cost).collect::<Vec<_>>() },
            "bars": self.bars().iter().map(bar).collect::<Vec<_>>(),
        })
    }

    /// A line for each run, and for each round of cost, under one head.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = format!("{}\n", CSV_HEAD.join(","));
        for run in &self.runs {
            let value = run_json(run);
            line(&mut text, |name| match name {
                "kind" => json!(if run.edge.is_some() { "change" } else { "sweep" }),
                name => value[name].clone(),
            });
        }
        for (without, with) in &self.cost {
            for (kind, cost) in [("unpaced", without), ("unlimited", with)] {
                line(&mut text, |name| match name {
                    "kind" => json!(kind),
                    "wall_seconds" => json!(cost.wall),
                    "cpu_seconds" => json!(cost.cpu),
                    _ => Value::Null,
                });
            }
        }
        text
    }
}

const CSV_HEAD: [&str; 18] = [
    "kind",
    "limit",
    "limit_bytes_per_second",
    "then",
    "then_bytes_per_second",
    "piece_bytes",
    "parallel",
    "budget_bytes",
    "pack_bytes",
    "counted_seconds",
    "achieved",
    "worst_second",
    "acted_seconds",
    "put_p50_seconds",
    "put_p99_seconds",
    "cpu_seconds",
    "peak_bytes",
    "wall_seconds",
];

/// Values are numbers, and limits that were parsed: nothing in them needs quotes.
fn line(text: &mut String, value: impl Fn(&str) -> Value) {
    let cells = CSV_HEAD.map(|name| match value(name) {
        Value::Null => String::new(),
        Value::String(word) => word,
        other => other.to_string(),
    });
    text.push_str(&cells.join(","));
    text.push('\n');
}

fn run_json(run: &Measured) -> Value {
    let setting = &run.setting;
    let then = setting.then.as_ref();
    json!({
        "limit": setting.limit.text,
        "limit_bytes_per_second": setting.limit.rate,
        "then": then.map(|limit| &limit.text),
        "then_bytes_per_second": then.and_then(|limit| limit.rate),
        "piece": match setting.piece { Piece(None) => "auto", Piece(Some(_)) => "set" },
        "piece_bytes": run.piece_len,
        "parallel": setting.parallel,
        "budget_bytes": setting.budget,
        "pack_bytes": setting.pack_len,
        "counted_seconds": setting.time.as_secs_f64(),
        "bytes": stats::carried(&run.slots),
        "bytes_per_second": run.rate(),
        "achieved": run.achieved(),
        "worst_second": run.worst_second(),
        "acted_seconds": run.acted().map(|acted| acted.as_secs_f64()),
        "puts": run.tally.latencies.len(),
        "failed": run.tally.failed,
        "put_p50_seconds": percentile(&run.tally.latencies, 50),
        "put_p99_seconds": percentile(&run.tally.latencies, 99),
        "cpu_seconds": run.used.cpu.as_secs_f64(),
        "peak_bytes": run.used.peak,
        "wall_seconds": run.used.wall.as_secs_f64(),
        "tenths_bytes": tenths(&run.slots),
    })
}

/// Bytes of each tenth of a second: enough to draw from.
#[must_use]
pub fn tenths(slots: &[u64]) -> Vec<u64> {
    slots.chunks(stats::SECOND / 10).map(stats::carried).collect()
}

/// JSON has no infinity.
fn finite(number: f64) -> Value {
    json!(number.is_finite().then_some(number))
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

fn verdict(bar: &Bar) -> Vec<String> {
    let (least, most) = bar.measured;
    vec![
        bar.name.to_owned(),
        bar.bar.to_owned(),
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
        reason = "a rate for people; bytes a second are positive and far below 2^63"
    )]
    let whole = number as u64;
    whole
}

/// The bar over all the values; `None` of none. What is measured is judged as it is shown: in hundredths.
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
        bar: wanted,
        measured: (least, most),
        held: values.iter().all(|value| holds((value * 100.0).round() / 100.0)),
    })
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
