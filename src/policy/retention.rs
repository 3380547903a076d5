//! For how long recovery points are kept.
//!
//! A *slot* of a tier is a run that the tier names. The recovery point of a scheduled run carries the tag of each tier
//! whose slot the run is. Where the newest slot of a weekly, monthly or yearly tier has no successful backup, the next
//! successful one takes the tag: late binding. Of several missed slots of one tier, one tag comes of it.
//!
//! A tag ends at the point's time plus the tier's span, by the calendar, in the policy's zone. A point lives until the
//! longest of its tags has ended. The policy in force now counts, also for old points. The last restorable point never
//! goes by itself.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::calendar::{DayRule, Weekdays};
use super::schedule::{Run, Runs, Schedule, Slot};
use super::tag::{Tag, Tags, Tier};

/// The days of a tier's slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Days {
    /// Every day.
    Every,
    /// These days of the week.
    Week(Weekdays),
    /// The days that one of the rules names, in these months. January is 1; no months: all.
    Month { rules: Vec<DayRule>, months: Vec<i8> },
}

/// What the policy says about one tier.
#[derive(Debug, Clone)]
pub(crate) struct TierRule {
    /// Which tier it is.
    pub(crate) tier: Tier,
    /// For how long its points are kept: days, weeks, months or years, as the tier counts.
    pub(crate) span: Span,
    /// The days of its slots.
    pub(crate) days: Days,
    /// The local times of its slots. Empty: the first run of the day, or for the daily tier each run.
    pub(crate) at: Vec<Time>,
}

/// The retention of a policy: at least one tier, the shortest first.
#[derive(Debug, Clone)]
pub(crate) struct Retention {
    pub(crate) tiers: Vec<TierRule>,
}

impl Retention {
    /// What is said about a tier. `None` if the policy does not have it.
    pub(crate) fn rule(&self, tier: Tier) -> Option<&TierRule> {
        self.tiers.iter().find(|rule| rule.tier == tier)
    }

    /// When a tag ends, for a point of this time. `None` if the policy does not have the tier.
    pub(crate) fn end(&self, tag: Tag, made: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match tag {
            Tag::Tier(tier) => Some(after(made, &self.rule(tier)?.span, zone)),
            Tag::OnDemand => self.tiers.iter().map(|rule| after(made, &rule.span, zone)).min(),
        }
    }
}

/// An instant plus a span of the calendar. The end of time, if it lies beyond.
fn after(made: Timestamp, span: &Span, zone: &TimeZone) -> Timestamp {
    let end = made.to_zoned(zone.clone()).checked_add(*span);
    end.map_or(Timestamp::MAX, |end| end.timestamp())
}

impl TierRule {
    /// The span is at most so long, in seconds: with all days that a year can have, and two for changes of the clock.
    fn most_seconds(&self) -> i64 {
        let span = &self.span;
        let days = i64::from(span.get_days())
            + i64::from(span.get_weeks()) * 7
            + i64::from(span.get_months()) * 31
            + i64::from(span.get_years()) * 366;
        (days + 2) * 24 * 60 * 60
    }

    /// Whether a local date and time is a slot of this tier.
    pub(crate) fn names(&self, slot: Slot, schedule: &Schedule) -> bool {
        let right_time = if !self.at.is_empty() {
            self.at.contains(&slot.time)
        } else {
            matches!(self.days, Days::Every) || schedule.times.first() == Some(&slot.time)
        };
        // The day costs more.
        right_time
            && match &self.days {
                Days::Every => true,
                Days::Week(days) => days.contains(slot.date.weekday()),
                Days::Month { rules, months } => {
                    (months.is_empty() || months.contains(&slot.date.month()))
                        && rules.iter().any(|rule| rule.matches(slot.date))
                }
            }
    }

    /// Whether a run is a slot of this tier.
    fn names_run(&self, run: &Run, schedule: &Schedule) -> bool {
        run.slots().any(|slot| self.names(slot, schedule))
    }
}

/// A successful backup: what the retention has to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// When it was made.
    pub(crate) at: Timestamp,
    /// Its tags.
    pub(crate) tags: Tags,
}

/// Which tags the next successful backup gets. It goes forward in time: it sees each run of the schedule once.
pub(crate) struct Ledger<'p> {
    schedule: &'p Schedule,
    retention: &'p Retention,
    /// The runs that were not yet seen.
    ahead: std::iter::Peekable<Runs<'p>>,
    /// Of each tier of the policy: its newest slot, and its newest backup.
    seen: Vec<(Option<Timestamp>, Option<Timestamp>)>,
    /// The last run that was passed.
    passed: Option<Timestamp>,
}

impl<'p> Ledger<'p> {
    /// `since`: from when on the policy's slots count; slots before it have not been missed. `history`: the successful
    /// backups so far, in any order.
    pub(crate) fn new(schedule: &'p Schedule, retention: &'p Retention, history: &[Made], since: Timestamp) -> Self {
        let newest_of = |rule: &TierRule| {
            let made = history.iter().filter(|made| made.tags.contains(Tag::Tier(rule.tier)));
            (None, made.map(|made| made.at).max())
        };
        Self {
            schedule,
            retention,
            ahead: schedule.runs(since, Timestamp::MAX).peekable(),
            seen: retention.tiers.iter().map(newest_of).collect(),
            passed: None,
        }
    }

    /// Passes the next run of the schedule, if it is due at this time.
    pub(crate) fn pass(&mut self, at: Timestamp) -> Option<Run> {
        let run = self.ahead.next_if(|run| run.at <= at)?;
        for (rule, (slot, _)) in self.retention.tiers.iter().zip(&mut self.seen) {
            if rule.names_run(&run, self.schedule) {
                *slot = Some(run.at);
            }
        }
        self.passed = Some(run.at);
        Some(run)
    }

    /// The tags of a backup that has just succeeded at `at`, which is not before the last one. `run`: the scheduled run
    /// that it did, `None` on demand. An on-demand backup with a date of its own (`keeps_itself`) gets no tag for being
    /// on demand.
    pub(crate) fn succeed(&mut self, at: Timestamp, run: Option<&Run>, keeps_itself: bool) -> Tags {
        let (schedule, rules) = (self.schedule, &self.retention.tiers);
        while self.pass(at).is_some() {}
        let mut tags = Tags::default();
        for (rule, (slot, made)) in rules.iter().zip(&mut self.seen) {
            let is_slot = run.is_some_and(|run| match self.passed {
                Some(passed) if passed == run.at => *slot == Some(passed),
                _ => rule.names_run(run, schedule),
            });
            let is_owed = rule.tier != Tier::Daily && slot.is_some() && *slot > *made;
            if is_slot || is_owed {
                tags.insert(Tag::Tier(rule.tier));
                *made = Some(at);
            }
        }
        if run.is_none() && !keeps_itself {
            tags.insert(Tag::OnDemand);
        }
        tags
    }
}

/// A recovery point, as the retention sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// When it was made.
    pub(crate) at: Timestamp,
    /// Its tags.
    pub(crate) tags: Tags,
    /// It was made on demand, to be kept until then.
    pub(crate) retain_until: Option<Timestamp>,
    /// Somebody holds it: it does not go.
    pub(crate) held: bool,
}

/// Until when a point lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expiry {
    /// Until a newer point is there: it has no tag that the policy knows.
    Newer,
    /// Until then.
    At(Timestamp),
    /// Until it is released.
    Held,
}

impl Kept {
    /// Whether the point's time is over by so much that the calendar need not be asked. Most points of a long history
    /// are, and the calendar is slow.
    fn is_long_over(&self, retention: &Retention, now: Timestamp) -> bool {
        let most = |tag| match tag {
            Tag::Tier(tier) => retention.rule(tier).map_or(i64::MAX, TierRule::most_seconds),
            Tag::OnDemand => retention.tiers.first().map_or(i64::MAX, TierRule::most_seconds),
        };
        let end = self.tags.iter().map(most).max().unwrap_or(i64::MAX);
        !self.held && self.retain_until.is_none() && end < now.as_second().saturating_sub(self.at.as_second())
    }

    /// Until when the policy lets the point live.
    #[must_use]
    pub(crate) fn expiry(&self, retention: &Retention, zone: &TimeZone) -> Expiry {
        if self.held {
            return Expiry::Held;
        }
        let ends = self.tags.iter().filter_map(|tag| retention.end(tag, self.at, zone));
        ends.chain(self.retain_until).max().map_or(Expiry::Newer, Expiry::At)
    }
}

/// What the retention says about a server's points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whether each point, in their order, is to be forgotten now.
    pub(crate) forget: Vec<bool>,
    /// The expired point that stays because nothing fresher is there.
    pub(crate) stays: Option<usize>,
}

/// Which of a server's points have had their time. `points`: all that can be restored, in any order.
#[must_use]
pub(crate) fn plan(retention: &Retention, zone: &TimeZone, points: &[Kept], now: Timestamp) -> Plan {
    let newest = points.iter().map(|point| point.at).max();
    let is_over = |point: &Kept| {
        if point.is_long_over(retention, now) {
            return true;
        }
        match point.expiry(retention, zone) {
            Expiry::Held => false,
            Expiry::At(end) => end <= now,
            Expiry::Newer => Some(point.at) < newest,
        }
    };
    let mut forget: Vec<bool> = points.iter().map(is_over).collect();
    let mut stays = None;
    if forget.iter().all(|over| *over) {
        // The one that would have lived longest; of several, the newest.
        stays = (0..points.len()).max_by_key(|&at| (points[at].expiry(retention, zone), points[at].at));
        if let Some(at) = stays {
            forget[at] = false;
        }
    }
    Plan { forget, stays }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
