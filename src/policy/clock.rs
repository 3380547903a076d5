//! Instants of local times of a zone, for many times that follow one another.
//!
//! To ask the zone is slow. Between two changes of a zone's clock, a local time has one instant, by the offset that
//! holds there. So the zone is asked around the changes only.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// Two offsets differ by less than 52 hours. So an instant that is farther from the changes of the clock than this is
/// the only one of its local time. Seconds.
const MARGIN: i64 = 3 * 24 * 60 * 60;

/// The clock of a zone.
pub(super) struct Clock<'z> {
    zone: &'z TimeZone,
    offset: Offset,
    /// From when (inclusive) to when (exclusive) the offset holds, seconds.
    holds: (i64, i64),
}

impl<'z> Clock<'z> {
    pub(super) fn new(zone: &'z TimeZone) -> Self {
        Self {
            zone,
            offset: Offset::UTC,
            holds: (0, 0),
        }
    }

    /// The instant of a local time: after the gap if the clock skips it, and the first of two. `None` outside of the
    /// years that a calendar has.
    pub(super) fn instant(&mut self, local: DateTime) -> Option<Timestamp> {
        let (since, until) = self.holds;
        if let Ok(at) = self.offset.to_timestamp(local)
            && at.as_second() >= since.saturating_add(MARGIN)
            && at.as_second() < until.saturating_sub(MARGIN)
        {
            return Some(at);
        }
        let at = instant(self.zone, local)?;
        if at.as_second() < since || at.as_second() >= until {
            self.look_at(at);
        }
        Some(at)
    }

    /// Finds out which offset holds at this instant, and for how long.
    fn look_at(&mut self, at: Timestamp) {
        self.offset = self.zone.to_offset(at);
        // A change at this very instant has happened.
        let behind = at.checked_add(Duration::from_nanos(1)).unwrap_or(at);
        let before = self.zone.preceding(behind).next();
        let next = self.zone.following(at).next();
        self.holds = (
            before.map_or(i64::MIN, |change| change.timestamp().as_second()),
            next.map_or(i64::MAX, |change| change.timestamp().as_second()),
        );
    }
}

fn instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        // Before the clock goes back, the earlier of the two offsets holds.
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // By the offset from before the gap, a time in the gap is an instant after the change.
            let within = before.to_timestamp(local).ok()?;
            let behind = within.checked_add(Duration::from_nanos(1)).ok()?;
            zone.preceding(behind).next().map(|change| change.timestamp())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;

    use super::*;
    use crate::policy::schedule::tests::ZONES;

    /// Every local half hour of sixty years, which have all kinds of changes.
    #[test]
    fn a_clock_tells_what_the_zone_tells() {
        for zone in ZONES
            .iter()
            .chain(&["Africa/Monrovia", "Antarctica/Troll", "America/Godthab"])
        {
            let zone = TimeZone::get(zone).unwrap();
            let mut clock = Clock::new(&zone);
            let mut local = date(1990, 1, 1).at(0, 0, 0, 0);
            while local.year() < 2050 {
                assert_eq!(clock.instant(local), instant(&zone, local), "{local} {zone:?}");
                local = local.checked_add(30.minutes()).unwrap();
            }
            // Backwards, and far away.
            for years in (0..4000).rev().step_by(7) {
                let local = date(years, 6, 15).at(12, 0, 0, 0);
                assert_eq!(clock.instant(local), instant(&zone, local), "{local} {zone:?}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_calendar_have_no_instant_beyond() {
        for zone in ["Pacific/Apia", "America/New_York", "UTC"] {
            let zone = TimeZone::get(zone).unwrap();
            for local in [DateTime::MIN, DateTime::MAX] {
                assert_eq!(Clock::new(&zone).instant(local), instant(&zone, local));
            }
        }
    }
}
