//! When backups run.
//!
//! A schedule is a list of local times on some days, in one time zone. A local time that a clock change skips runs at
//! the first instant after the gap; one that occurs twice runs at its first occurrence. Two local times that fall on
//! one instant make one run. Weeks are counted in ISO weeks from the one that begins on 1970-01-05.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time, date};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::calendar::Weekdays;

/// The Monday from which weeks are counted.
const FIRST_WEEK: Date = date(1970, 1, 5);

/// When backups run.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// The zone of all dates and times of the policy.
    pub(crate) zone: TimeZone,
    /// Local times, ascending, 1 to 3.
    pub(crate) times: Vec<Time>,
    /// The days with runs.
    pub(crate) days: Weekdays,
    /// A week in so many has runs: 1 to 4.
    pub(crate) every_weeks: i32,
    /// A run begins up to so much later than it is due, to spread a fleet.
    pub(crate) random_delay: Duration,
    /// Whether a run that was missed while the machine was off starts when it is back.
    pub(crate) catch_up: bool,
}

/// A local date and time of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    /// The local date.
    pub(crate) date: Date,
    /// The local time.
    pub(crate) time: Time,
}

/// A run: an instant, and the local times that fall on it. Only a clock change makes more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// When it is due.
    pub(crate) at: Timestamp,
    /// The first of its local times.
    pub(crate) first: Slot,
    /// The others, ascending.
    pub(crate) others: Vec<Slot>,
}

impl Run {
    /// All of its local times, ascending.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

impl Schedule {
    /// The runs from `from` (inclusive) to `to` (exclusive), ascending.
    pub(crate) fn runs(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Run> + '_ {
        // A clock change moves a run by a day at most.
        let first = self.date_of(from).saturating_sub(jiff::Span::new().days(2));
        let last = self.date_of(to).saturating_add(jiff::Span::new().days(1));
        let mut dates = first
            .series(jiff::Span::new().days(1))
            .take_while(move |date| *date <= last);
        let mut waiting: Vec<Run> = Vec::new();
        let runs = std::iter::from_fn(move || {
            loop {
                // The last run of those that wait may still get another slot, from the next day.
                if waiting.len() > 1 {
                    return Some(waiting.remove(0));
                }
                let Some(date) = dates.next() else { return waiting.pop() };
                for run in self.runs_of(date) {
                    match waiting.last_mut() {
                        Some(last) if last.at == run.at => last.others.push(run.first),
                        _ => waiting.push(run),
                    }
                }
            }
        });
        runs.skip_while(move |run| run.at < from)
            .take_while(move |run| run.at < to)
    }

    /// The first run after this instant. `None` if there is none within the years that a calendar has.
    #[must_use]
    pub(crate) fn next(&self, after: Timestamp) -> Option<Run> {
        let from = after.checked_add(Duration::from_nanos(1)).ok()?;
        self.runs(from, Timestamp::MAX).next()
    }

    /// The last run at or before `until`, and not before `since`.
    #[must_use]
    pub(crate) fn latest(&self, since: Timestamp, until: Timestamp) -> Option<Run> {
        // Every rhythm has a run within five weeks, but the days may be few: back in steps that grow.
        let mut to = until.checked_add(Duration::from_nanos(1)).ok()?;
        let mut days = 8;
        while to > since {
            let step = Duration::from_secs(days * 24 * 60 * 60);
            let from = to.checked_sub(step).unwrap_or(Timestamp::MIN).max(since);
            let found = self.runs(from, to).last();
            if found.is_some() || from == Timestamp::MIN {
                return found;
            }
            (to, days) = (from, days * 4);
        }
        None
    }

    /// Whether a local date has runs.
    #[must_use]
    pub(crate) fn has_runs_on(&self, date: Date) -> bool {
        self.days.contains(date.weekday()) && weeks_from_first(date).rem_euclid(self.every_weeks.max(1)) == 0
    }

    /// The local date of an instant.
    pub(super) fn date_of(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// The instant of a local date and time.
    pub(super) fn instant(&self, date: Date, time: Time) -> Option<Timestamp> {
        let local = date.to_datetime(time);
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            // Before the clock goes back, the earlier of the two offsets holds.
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                // By the offset from before the gap, a time in the gap is an instant after the change.
                let within = before.to_timestamp(local).ok()?;
                let behind = within.checked_add(Duration::from_nanos(1)).ok()?;
                self.zone.preceding(behind).next().map(|change| change.timestamp())
            }
        }
    }

    fn runs_of(&self, date: Date) -> impl Iterator<Item = Run> + '_ {
        let times = if self.has_runs_on(date) { &self.times[..] } else { &[] };
        times.iter().filter_map(move |&time| {
            Some(Run {
                at: self.instant(date, time)?,
                first: Slot { date, time },
                others: Vec::new(),
            })
        })
    }
}

/// How many weeks lie between the first one and that of a date. Negative before it.
fn weeks_from_first(date: Date) -> i32 {
    let days = date.duration_since(FIRST_WEEK).as_hours().div_euclid(24);
    i32::try_from(days.div_euclid(7)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests;
