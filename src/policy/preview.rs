//! What a policy does: its runs over a span of time, and the recovery points that are left at the end, if every run
//! succeeds and the vault is empty at the beginning.

use std::time::Duration;

use jiff::Timestamp;

use super::retention::{Expiry, Kept, Ledger, Retention, plan};
use super::schedule::Schedule;
use super::tag::Tags;

/// A run of the span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreviewRun {
    /// When it is due.
    pub(crate) at: Timestamp,
    /// The tags of its recovery point.
    pub(crate) tags: Tags,
}

/// A point that is left at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreviewPoint {
    /// When it was made.
    pub(crate) at: Timestamp,
    /// Its tags.
    pub(crate) tags: Tags,
    /// Until when it lives.
    pub(crate) expiry: Expiry,
}

/// What a policy does over a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preview {
    /// The runs, ascending.
    pub(crate) runs: Vec<PreviewRun>,
    /// The points that live at the end, ascending.
    pub(crate) points: Vec<PreviewPoint>,
}

/// The runs from `from` (inclusive) to `to` (exclusive), and the points that live at `to`.
#[must_use]
pub(crate) fn preview(schedule: &Schedule, retention: &Retention, from: Timestamp, to: Timestamp) -> Preview {
    let mut runs = Vec::new();
    let mut points: Vec<Kept> = Vec::new();
    let mut ledger = Ledger::new(schedule, retention, &[], from);
    let last = to.checked_sub(Duration::from_nanos(1)).unwrap_or(to);
    while let Some(run) = ledger.pass(last) {
        let tags = ledger.succeed(run.at, Some(&run), false);
        runs.push(PreviewRun { at: run.at, tags });
        points.push(Kept {
            at: run.at,
            tags,
            retain_until: None,
            held: false,
        });
    }
    let forget = plan(retention, &schedule.zone, &points, to).forget;
    let left = points.into_iter().zip(forget).filter(|(_, forget)| !forget);
    let points = left
        .map(|(point, _)| PreviewPoint {
            at: point.at,
            expiry: point.expiry(retention, &schedule.zone),
            tags: point.tags,
        })
        .collect();
    Preview { runs, points }
}
