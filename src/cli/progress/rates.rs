//! How fast a job goes, and how long it still takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lockstone_actors::ProgressView;
use lockstone_proto::job::JobKind;

/// The time over which is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// What one look found.
#[derive(Debug)]
struct Look {
    at: Instant,
    bytes: u64,
}

/// Bytes a second over the last ten seconds or so, and the time that is left at this rate.
#[derive(Debug)]
pub(super) struct Rates {
    looks: VecDeque<Look>,
}

impl Rates {
    pub(super) fn new() -> Rates {
        Rates { looks: VecDeque::new() }
    }

    pub(super) fn add(&mut self, now: Instant, kind: JobKind, view: &ProgressView) {
        let look = Look {
            at: now,
            bytes: done_bytes(kind, view),
        };
        // A new generation counts from the start again.
        if self.looks.back().is_some_and(|last| last.bytes > look.bytes) {
            self.looks.clear();
        }
        self.looks.push_back(look);
        let is_old = |look: &Look| now.duration_since(look.at) > WINDOW;
        while self.looks.len() > 2 && self.looks.front().is_some_and(is_old) {
            self.looks.pop_front();
        }
    }

    pub(super) fn per_second(&self) -> u64 {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else {
            return 0;
        };
        let time = last.at.duration_since(first.at).as_millis();
        let bytes = u128::from(last.bytes - first.bytes) * 1000;
        bytes
            .checked_div(time)
            .map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// How long it takes at this rate. `None` if that is not known, or if nothing is left to read.
    pub(super) fn remaining(&self, kind: JobKind, view: &ProgressView) -> Option<Duration> {
        let left = view.bytes_seen.saturating_sub(done_bytes(kind, view));
        if !view.seen_all || left == 0 {
            return None;
        }
        left.checked_div(self.per_second()).map(Duration::from_secs)
    }
}

/// How many bytes are done. A restore counts what it wrote of files that are not finished yet.
pub(super) fn done_bytes(kind: JobKind, view: &ProgressView) -> u64 {
    match kind {
        JobKind::Restore => view.bytes_done.max(view.bytes_written).min(view.bytes_seen),
        _ => view.bytes_done,
    }
}
