//! When backups run.
//!
//! A schedule is a list of local times on some days, in one time zone. A local time that a clock change skips runs at
//! the first instant after the gap; one that occurs twice runs at its first occurrence. Two local times that fall on
//! one instant make one run. Weeks are counted in ISO weeks from the one that begins on 1970-01-05.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time, date};
use jiff::tz::TimeZone;

use super::calendar::Weekdays;
use super::clock::Clock;

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
    pub(crate) fn runs(&self, from: Timestamp, to: Timestamp) -> Runs<'_> {
        // A clock change moves a run by a day at most.
        let first = self.date_of(from).saturating_sub(jiff::Span::new().days(2));
        let last = self.date_of(to).saturating_add(jiff::Span::new().days(1));
        Runs {
            schedule: self,
            clock: Clock::new(&self.zone),
            span: (from, to),
            today: first,
            times: [].iter(),
            tomorrow: Some(first),
            last,
            waiting: None,
        }
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
        self.days.contains(date.weekday())
            && (self.every_weeks <= 1 || weeks_from_first(date).rem_euclid(self.every_weeks) == 0)
    }

    /// The local date of an instant.
    pub(super) fn date_of(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }
}

/// Runs of a schedule over a span of time, ascending.
pub(crate) struct Runs<'s> {
    schedule: &'s Schedule,
    clock: Clock<'s>,
    /// From when (inclusive) to when (exclusive).
    span: (Timestamp, Timestamp),
    /// The day that `times` is of.
    today: Date,
    /// The times of the day that were not looked at yet.
    times: std::slice::Iter<'s, Time>,
    /// The next day to look at. `None` at the end.
    tomorrow: Option<Date>,
    /// The last day to look at.
    last: Date,
    /// The run that was found last. It may still get another slot, also from the next day.
    waiting: Option<Run>,
}

impl Runs<'_> {
    /// The next slot, and its instant.
    fn slot(&mut self) -> Option<(Timestamp, Slot)> {
        loop {
            for &time in self.times.by_ref() {
                let date = self.today;
                if let Some(at) = self.clock.instant(date.to_datetime(time)) {
                    return Some((at, Slot { date, time }));
                }
            }
            let date = self.tomorrow.filter(|date| *date <= self.last)?;
            self.tomorrow = date.tomorrow().ok();
            if self.schedule.has_runs_on(date) {
                self.today = date;
                self.times = self.schedule.times.iter();
            }
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let (from, to) = self.span;
        loop {
            let found = match self.slot() {
                Some((at, slot)) => match &mut self.waiting {
                    Some(run) if run.at == at => {
                        run.others.push(slot);
                        continue;
                    }
                    waiting => waiting.replace(Run {
                        at,
                        first: slot,
                        others: Vec::new(),
                    }),
                },
                None => Some(self.waiting.take()?),
            };
            match found {
                Some(run) if run.at >= to => {
                    (self.tomorrow, self.times, self.waiting) = (None, [].iter(), None);
                    return None;
                }
                Some(run) if run.at >= from => return Some(run),
                _ => {}
            }
        }
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
