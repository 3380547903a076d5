//! Tests of the report and of the plot, with runs whose arrivals are known.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};

use super::document::CSV_HEAD;
use super::*;
use crate::bench::throttle::load::Tally;
use crate::bench::throttle::plan::{Piece, Setting, limit};
use crate::bench::throttle::usage::Used;

fn run(limit_text: &str, then: Option<&str>, slots: Vec<u64>) -> Measured {
    Measured {
        changed_at: then.map(|_| slots.len() / 2),
        setting: Setting {
            limit: limit(limit_text).unwrap(),
            then: then.map(|text| limit(text).unwrap()),
            piece: Piece(None),
            parallel: 4,
            budget: 48 << 20,
            pack_len: 1 << 20,
            time: Duration::from_millis(slots.len() as u64 * 10),
        },
        piece_len: Some(4096),
        slots,
        tally: Tally {
            latencies: vec![0.5, 0.1],
            ..Tally::default()
        },
        used: Used {
            wall: Duration::from_secs(3),
            cpu: Duration::from_millis(250),
            peak: Some(1 << 24),
        },
    }
}

/// 80 kbps is 10,000 bytes per second: 100 in each slot.
fn report() -> Report {
    let mut changed = vec![100; 230];
    changed.extend(vec![20; 170]);
    let cost = |wall, cpu| Cost { wall, cpu };
    Report {
        counter: Counter::Sink,
        runs: vec![
            run("80kbps", None, vec![100; 300]),
            run("unlimited", None, vec![500; 300]),
            run("80kbps", Some("16kbps"), changed),
        ],
        cost: vec![
            (cost(1.0, 2.0), cost(1.0, 2.0)),
            (cost(1.0, 2.0), cost(1.2, 2.1)),
            (cost(1.0, 2.0), cost(1.0, 2.0)),
        ],
    }
}

#[test]
fn shares_of_known_arrivals() {
    let report = report();
    let shares: Vec<_> = report
        .runs
        .iter()
        .map(|run| (run.achieved(), run.worst_second()))
        .collect();
    assert_eq!(shares[0], (Some(1.0), Some(1.0)));
    assert_eq!(shares[1], (None, None));
    let acted = report.runs[2].acted().unwrap();
    assert!(
        acted > Duration::from_millis(200) && acted <= Duration::from_millis(300),
        "{acted:?}"
    );
    let overhead = report.overhead().unwrap();
    assert_eq!((overhead.wall.median, overhead.wall.quartiles), (1.0, (1.0, 1.2)));
    assert_eq!((overhead.cpu.median, overhead.cpu.quartiles), (1.0, (1.0, 1.05)));
}

#[test]
fn a_bar_is_held_by_all_or_missed() {
    let report = report();
    let bars = report.bars();
    let names: Vec<_> = bars.iter().map(|bar| (bar.name, bar.held)).collect();
    let all = ["achieved", "worst_second", "change_seconds", "unlimited_cost"].map(|name| (name, true));
    assert_eq!(names, all);
    let mut slow = self::report();
    slow.runs.push(run("80kbps", None, vec![96; 300]));
    slow.runs.push(run("80kbps", Some("16kbps"), vec![100; 400]));
    slow.cost.truncate(0);
    let bars = slow.bars();
    let names: Vec<_> = bars.iter().map(|bar| (bar.name, bar.held)).collect();
    assert_eq!(
        names,
        [("achieved", false), ("worst_second", false), ("change_seconds", false)]
    );
    assert_eq!(json!(slow.document())["bars"][2]["most"], Value::Null);
    assert!(slow.text().contains("never") && slow.text().contains("missed"));
}

#[test]
fn csv_has_the_same_columns_in_every_line() {
    let csv = report().csv();
    let mut lines = csv.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(head, CSV_HEAD);
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 3 + 2 * 3);
    assert!(rows.iter().all(|row| row.len() == head.len()), "{csv}");
    let kinds: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(kinds[..5], ["sweep", "sweep", "change", "unpaced", "unlimited"]);
    assert_eq!(rows[0][1..3], ["80kbps", "10000"]);
}

#[test]
fn json_and_text_say_the_same() {
    let report = report();
    let (json, text) = (json!(report.document()), report.text());
    assert_eq!(json["runs"][0]["achieved"], 1.0);
    assert_eq!(json["runs"][1]["achieved"], Value::Null);
    assert_eq!(json["runs"][0]["put_p50_seconds"], 0.1);
    assert_eq!(json["runs"][0]["put_p99_seconds"], 0.5);
    assert_eq!(json["runs"][0]["tenths_bytes"].as_array().unwrap().len(), 30);
    assert!(text.contains("80kbps → 16kbps") && text.contains("1.0000"), "{text}");
    // A run without a limit shows its rate.
    assert!(text.contains("KiB/s"), "{text}");
}

#[test]
fn the_plot_is_well_formed_and_shows_every_run() {
    let mut report = report();
    let svg = report.svg();
    assert_well_formed(&svg);
    assert_eq!(
        svg.matches("<circle").count(),
        1 + 1,
        "a legend, and the run that has a limit"
    );
    assert_eq!(svg.matches("class=\"flow\"").count(), 1);
    assert!(svg.contains("prefers-color-scheme:dark"));
    report.runs.clear();
    assert_well_formed(&report.svg());
}

/// Every element is closed, in order, and no coordinate is infinite or not a number.
fn assert_well_formed(svg: &str) {
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{svg}");
        } else if !tag.ends_with('/') {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
