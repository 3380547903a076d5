//! Tells the metrics what the record of a job says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use lockstone_actors::Metrics;
use lockstone_actors::metrics::EndedJob;
use serde_json::Value;

use super::jobs::{Job, Seen};

/// The figures of one kind of job: the label in the metrics, and the name in the job's report.
struct Figures {
    kind: &'static str,
    names: &'static [(&'static str, &'static str)],
}

const BYTES: [Figures; 2] = [
    Figures {
        kind: "backup",
        names: &[
            ("scanned", "bytes_scanned"),
            ("read", "bytes_read"),
            ("new", "bytes_new"),
            ("stored", "bytes_stored"),
        ],
    },
    Figures {
        kind: "restore",
        names: &[("fetched", "bytes_fetched"), ("written", "bytes_written")],
    },
];
const FILES: [Figures; 2] = [
    Figures {
        kind: "backup",
        names: &[
            ("new", "files_new"),
            ("changed", "files_changed"),
            ("unchanged", "files_unchanged"),
        ],
    },
    Figures {
        kind: "restore",
        names: &[("restored", "files"), ("skipped", "skipped"), ("copied", "copies")],
    },
];

/// Sets the gauges of what a job saw of the vault.
pub fn show_seen(metrics: &Metrics, seen: &Seen) {
    metrics.points(&seen.points);
    metrics.index_size(seen.index_chunks, seen.index_bytes);
    if let Some(newest) = seen.newest_point_s {
        #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
        metrics.newest_point(newest as f64);
    }
}

/// A job that has ended, for the metrics. `written` is the time of the record's file: an interrupted job has no other
/// end.
#[must_use]
pub fn ended(job: &Job, written: SystemTime) -> EndedJob {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let number = |name: &str| job.report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let figures = |table: &[Figures]| {
        let of_this_kind = table.iter().filter(|figures| figures.kind == job.kind);
        let names = of_this_kind.flat_map(|figures| figures.names);
        names.map(|(label, name)| (*label, number(name))).collect()
    };
    let (started, end) = (time(&job.started), job.ended.as_deref().and_then(time));
    let by_the_clock = || Some(end?.duration_since(started?).as_secs_f64());
    let reported = job.report.get("duration_seconds").and_then(Value::as_f64);
    let seconds = reported
        .or_else(by_the_clock)
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    let ended_s = end.map_or_else(
        || written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        |end| end.as_millisecond() as f64 / 1000.0,
    );
    EndedJob {
        kind: job.kind.parse().unwrap_or_default(),
        status: job.status.parse().unwrap_or_default(),
        ended_s,
        duration: Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default(),
        bytes: figures(&BYTES),
        files: figures(&FILES),
        warnings: number("warnings_total"),
        restarts: number("restarts"),
    }
}
