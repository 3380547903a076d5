//! The time that an entry of the log is given. Pure functions.
//!
//! A clock may be wrong, and what it says stays in the log for ever. So the time of an entry is bounded twice: from
//! above by the store's clock, and from below by the entries before it. An entry from the future bounds nothing:
//! otherwise all later ones would be from the future as well.

use jiff::{SignedDuration, Timestamp};

use crate::log::Body;
use crate::vault::CLOCKS_DIFFER;

/// The time of a new entry. `now`: this server's clock. `store`: the store's, if it is known and not about the same.
/// `earlier`: the times of what was written before, in any order.
pub(super) fn bounded(
    now: Timestamp,
    store: Option<Timestamp>,
    earlier: impl IntoIterator<Item = Timestamp>,
) -> Timestamp {
    let latest = store.unwrap_or(now);
    let latest = latest.checked_add(CLOCKS_DIFFER).unwrap_or(latest);
    let before = earlier.into_iter().filter(|time| *time <= latest).max();
    let most = store.map_or(now, |store| store.min(now));
    before.map_or(most, |before| before.max(most))
}

/// Moves the start of a recovery point by as much as its commit was moved from `now` to `time`. A point that was moved
/// a little ahead, behind another server's, keeps its start.
pub(super) fn move_start(body: &mut Body, now: Timestamp, time: Timestamp) {
    let by = time.duration_since(now);
    if let Body::Commit(summary, _) = body
        && (by < SignedDuration::ZERO || by > CLOCKS_DIFFER)
    {
        let moved = summary.started_s.saturating_add(by.as_secs());
        if Timestamp::from_second(moved).is_ok() {
            summary.started_s = moved;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap_or_default()
    }

    const FUTURE: i64 = 90_000;

    #[test]
    fn an_entry_is_never_before_the_one_that_it_follows() {
        assert_eq!(bounded(at(10), None, []), at(10));
        assert_eq!(bounded(at(10), None, [at(8), at(9)]), at(10));
        let a_little_ahead = at(10) + SignedDuration::from_mins(30);
        assert_eq!(bounded(at(10), None, [at(8), a_little_ahead, at(9)]), a_little_ahead);
    }

    #[test]
    fn an_entry_from_the_future_drags_none_behind_it() {
        assert_eq!(bounded(at(10), None, [at(9), at(FUTURE)]), at(10));
        let between = at(10) + SignedDuration::from_mins(5);
        assert_eq!(
            bounded(at(10), None, [between, at(FUTURE), at(9)]),
            between,
            "and hides none before it"
        );
        assert_eq!(bounded(at(FUTURE), Some(at(10)), [at(9), at(FUTURE)]), at(10));
    }

    #[test]
    fn a_clock_that_is_ahead_is_bounded_by_the_stores() {
        assert_eq!(bounded(at(FUTURE), Some(at(10)), [at(9)]), at(10));
    }

    #[test]
    fn a_clock_that_is_behind_is_bounded_by_the_log() {
        assert_eq!(bounded(at(-FUTURE), Some(at(10)), [at(8), at(9)]), at(9));
        assert_eq!(
            bounded(at(10), Some(at(FUTURE)), [at(9)]),
            at(10),
            "a store from the future alone moves nothing"
        );
    }
}
