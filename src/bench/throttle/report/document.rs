//! The report for scripts, as JSON and as CSV.

use serde::Serialize;

use super::{Measured, Ratio, Report, tenths};
use crate::bench::throttle::measure::Cost;
use crate::bench::throttle::plan::Piece;
use crate::bench::throttle::stats::{self, percentile};

/// The whole report.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    counted_by: &'static str,
    cores: usize,
    runs: Vec<RunDocument<'a>>,
    cost: CostDocument,
    bars: Vec<BarDocument>,
}

/// One run. Limits and pieces are as they were asked for, the rest is as it was measured.
#[derive(Debug, Serialize)]
struct RunDocument<'a> {
    limit: &'a str,
    limit_bytes_per_second: Option<u64>,
    then: Option<&'a str>,
    then_bytes_per_second: Option<u64>,
    piece: &'static str,
    piece_bytes: Option<usize>,
    parallel: usize,
    budget_bytes: u64,
    pack_bytes: usize,
    counted_seconds: f64,
    bytes: u64,
    bytes_per_second: f64,
    achieved: Option<f64>,
    worst_second: Option<f64>,
    acted_seconds: Option<f64>,
    puts: usize,
    failed: u64,
    put_p50_seconds: Option<f64>,
    put_p99_seconds: Option<f64>,
    cpu_seconds: f64,
    peak_bytes: Option<u64>,
    wall_seconds: f64,
    tenths_bytes: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct CostDocument {
    ratio: Option<OverheadDocument>,
    rounds: Vec<RoundDocument>,
}

#[derive(Debug, Serialize)]
struct OverheadDocument {
    wall: RatioDocument,
    cpu: RatioDocument,
}

#[derive(Debug, Serialize)]
struct RatioDocument {
    median: f64,
    quartiles: (f64, f64),
}

impl From<Ratio> for RatioDocument {
    fn from(ratio: Ratio) -> RatioDocument {
        RatioDocument {
            median: ratio.median,
            quartiles: ratio.quartiles,
        }
    }
}

#[derive(Debug, Serialize)]
struct RoundDocument {
    unpaced_wall_seconds: f64,
    unpaced_cpu_seconds: f64,
    unlimited_wall_seconds: f64,
    unlimited_cpu_seconds: f64,
}

/// A bar. A change that never acted has no number, because JSON has no infinity.
#[derive(Debug, Serialize)]
struct BarDocument {
    name: &'static str,
    bar: &'static str,
    least: Option<f64>,
    most: Option<f64>,
    held: bool,
}

impl Report {
    /// The report as one JSON document.
    pub(crate) fn document(&self) -> Document<'_> {
        let finite = |number: f64| number.is_finite().then_some(number);
        let ratio = self.overhead().map(|cost| OverheadDocument {
            wall: cost.wall.into(),
            cpu: cost.cpu.into(),
        });
        let round = |(without, with): &(Cost, Cost)| RoundDocument {
            unpaced_wall_seconds: without.wall,
            unpaced_cpu_seconds: without.cpu,
            unlimited_wall_seconds: with.wall,
            unlimited_cpu_seconds: with.cpu,
        };
        let bars = self.bars().into_iter().map(|bar| BarDocument {
            name: bar.name,
            bar: bar.wanted,
            least: finite(bar.measured.0),
            most: finite(bar.measured.1),
            held: bar.held,
        });
        Document {
            counted_by: self.counter.name(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            runs: self.runs.iter().map(run).collect(),
            cost: CostDocument {
                ratio,
                rounds: self.cost.iter().map(round).collect(),
            },
            bars: bars.collect(),
        }
    }

    /// The report as CSV: one line for each run and two for each round of cost, after one head.
    pub(crate) fn csv(&self) -> String {
        let mut text = format!("{}\n", CSV_HEAD.join(","));
        for measured in &self.runs {
            let kind = if measured.changed_at.is_some() {
                "change"
            } else {
                "sweep"
            };
            push_line(&mut text, run_cells(kind, &run(measured)));
        }
        for (without, with) in &self.cost {
            push_line(&mut text, cost_cells("unpaced", without));
            push_line(&mut text, cost_cells("unlimited", with));
        }
        text
    }
}

fn run(run: &Measured) -> RunDocument<'_> {
    let setting = &run.setting;
    let then = setting.then.as_ref();
    RunDocument {
        limit: &setting.limit.text,
        limit_bytes_per_second: setting.limit.rate,
        then: then.map(|limit| limit.text.as_str()),
        then_bytes_per_second: then.and_then(|limit| limit.rate),
        piece: match setting.piece {
            Piece(None) => "auto",
            Piece(Some(_)) => "set",
        },
        piece_bytes: run.piece_len,
        parallel: setting.parallel,
        budget_bytes: setting.budget,
        pack_bytes: setting.pack_len,
        counted_seconds: setting.time.as_secs_f64(),
        bytes: stats::total(&run.slots),
        bytes_per_second: run.rate(),
        achieved: run.achieved(),
        worst_second: run.worst_second(),
        acted_seconds: run.acted().map(|acted| acted.as_secs_f64()),
        puts: run.tally.latencies.len(),
        failed: run.tally.failed,
        put_p50_seconds: percentile(&run.tally.latencies, 50),
        put_p99_seconds: percentile(&run.tally.latencies, 99),
        cpu_seconds: run.used.cpu.as_secs_f64(),
        peak_bytes: run.used.peak,
        wall_seconds: run.used.wall.as_secs_f64(),
        tenths_bytes: tenths(&run.slots),
    }
}

/// The columns of the CSV. [`run_cells`] and [`cost_cells`] give the cells in this order.
pub(super) const CSV_HEAD: [&str; 18] = [
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

fn run_cells(kind: &str, run: &RunDocument<'_>) -> [String; 18] {
    [
        kind.to_owned(),
        run.limit.to_owned(),
        cell(run.limit_bytes_per_second),
        cell(run.then),
        cell(run.then_bytes_per_second),
        cell(run.piece_bytes),
        run.parallel.to_string(),
        run.budget_bytes.to_string(),
        run.pack_bytes.to_string(),
        decimal(Some(run.counted_seconds)),
        decimal(run.achieved),
        decimal(run.worst_second),
        decimal(run.acted_seconds),
        decimal(run.put_p50_seconds),
        decimal(run.put_p99_seconds),
        decimal(Some(run.cpu_seconds)),
        cell(run.peak_bytes),
        decimal(Some(run.wall_seconds)),
    ]
}

/// A line of a cost round: only the kind and the two times have values.
fn cost_cells(kind: &str, cost: &Cost) -> [String; 18] {
    CSV_HEAD.map(|name| match name {
        "kind" => kind.to_owned(),
        "wall_seconds" => decimal(Some(cost.wall)),
        "cpu_seconds" => decimal(Some(cost.cpu)),
        _ => String::new(),
    })
}

/// A value, or an empty cell. No value needs quotes: the values are numbers, and limits that were parsed.
fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A number with a decimal point, as JSON writes it.
fn decimal(number: Option<f64>) -> String {
    cell(number.map(|number| format!("{number:?}")))
}

fn push_line(text: &mut String, cells: [String; 18]) {
    text.push_str(&cells.join(","));
    text.push('\n');
}
