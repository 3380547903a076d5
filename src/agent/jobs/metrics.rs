//! What records of jobs say in metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use lockstone_actors::Metrics;
use lockstone_actors::metrics::EndedJob;
use lockstone_proto::job::JobKind;
use serde_json::Value;

use crate::agent::state::job_records::{JobRecord, Seen};

/// Figures of a report: the label in the metrics, and the member of the report's document.
type Figures = &'static [(&'static str, &'static str)];

fn byte_figures(kind: JobKind) -> Figures {
    match kind {
        JobKind::Backup => &[
            ("scanned", "bytes_scanned"),
            ("read", "bytes_read"),
            ("new", "bytes_new"),
            ("stored", "bytes_stored"),
        ],
        JobKind::Restore => &[("fetched", "bytes_fetched"), ("written", "bytes_written")],
        JobKind::Check | JobKind::Collect | JobKind::Unspecified => &[],
    }
}

fn file_figures(kind: JobKind) -> Figures {
    match kind {
        JobKind::Backup => &[
            ("new", "files_new"),
            ("changed", "files_changed"),
            ("unchanged", "files_unchanged"),
        ],
        JobKind::Restore => &[("restored", "files"), ("skipped", "skipped"), ("copied", "copies")],
        JobKind::Check | JobKind::Collect | JobKind::Unspecified => &[],
    }
}

/// A job that has ended, for the metrics. `written` is when its record was written: an interrupted run has no other
/// time of its end.
pub(crate) fn ended(record: &JobRecord, written: SystemTime) -> EndedJob {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let number = |name: &str| record.report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let figures = |figures: Figures| figures.iter().map(|(label, name)| (*label, number(name))).collect();
    let (started, end) = (time(&record.started), record.ended.as_deref().and_then(time));
    let took = || Some(end?.duration_since(started?).as_secs_f64());
    let reported = record.report.get("duration_seconds").and_then(Value::as_f64);
    let seconds = reported
        .or_else(took)
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    // The end of a job whose clock was ahead would hide for years that no newer job succeeds.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    let ended_s = match end {
        Some(end) if end > Timestamp::now() => 0.0,
        Some(end) => end.as_millisecond() as f64 / 1000.0,
        None => written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
    };
    EndedJob {
        kind: record.kind,
        status: record.state,
        ended_s,
        duration: Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default(),
        bytes: figures(byte_figures(record.kind)),
        files: figures(file_figures(record.kind)),
        warnings: number("warnings_total"),
        restarts: number("restarts"),
    }
}

/// Shows what a job knew of the vault.
pub(crate) fn show_seen(metrics: &Metrics, seen: &Seen) {
    metrics.points(&seen.points);
    #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    let by_tag = seen
        .newest_by_tag
        .iter()
        .map(|(tag, at)| (tag.clone(), at.as_second() as f64));
    metrics.newest_by_tag(&by_tag.collect());
    metrics.index_size(seen.index_chunks, seen.index_bytes);
    if let Some(objects) = seen.damaged_objects {
        metrics.damaged_objects(objects);
    }
    if let Some(reading) = seen.reading {
        #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
        metrics.unread(reading.unread_since.as_second() as f64, reading.bytes_never_read);
    }
    if let Some(packs) = seen.distrusted_packs {
        metrics.distrusted_packs(packs);
    }
    // A point whose clock was ahead would hide for years that no newer one is made.
    if let Some(newest) = seen.newest_point.filter(|newest| *newest <= Timestamp::now()) {
        #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
        metrics.newest_point(newest.as_second() as f64);
    }
}
