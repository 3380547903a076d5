//! The part of the policy file that says for how long recovery points are kept.

use jiff::Span;
use jiff::civil::{Date, Time, Weekday, date};

use super::raw::{At, OneOrMany, RawRetention};
use super::{Check, NO_WEEKDAY, add_time};
use crate::policy::calendar;
use crate::policy::retention::{Days, Retention, TierRule};
use crate::policy::schedule::{Schedule, Slot};
use crate::policy::tag::{Tag, Tier};

const NO_MONTH: &str = "a month is one of jan, feb, mar, apr, may, jun, jul, aug, sep, oct, nov, dec";
const NO_DAY: &str =
    "a day of the month is 1 to 31, \"last day\", \"first sunday\" … \"fourth friday\" or \"last monday\"";

/// The most recovery points of a server.
const MOST_POINTS: u64 = 9_999;

/// The least and the most of a tier's span.
struct Limits {
    unit: &'static str,
    least: i64,
    most: i64,
}

const DAILY: Limits = Limits {
    unit: "days",
    least: 7,
    most: 9_999,
};
const WEEKLY: Limits = Limits {
    unit: "weeks",
    least: 4,
    most: 5_163,
};
const MONTHLY: Limits = Limits {
    unit: "months",
    least: 3,
    most: 1_188,
};
const YEARLY: Limits = Limits {
    unit: "years",
    least: 1,
    most: 99,
};

/// The years over which a tier's days are looked for, to say that there are none: all kinds of years are among them.
const LOOKED_AT: (Date, Date) = (date(2001, 1, 1), date(2029, 1, 1));

impl Check<'_> {
    pub(super) fn retention(
        &mut self,
        raw: &At<RawRetention>,
        short: bool,
        schedule: &Schedule,
        warnings: &mut Vec<String>,
    ) -> Retention {
        let mut tiers = Vec::new();
        let RawRetention {
            daily,
            weekly,
            monthly,
            yearly,
        } = raw.get_ref();
        if let Some(daily) = daily {
            let days = self.span(&daily.get_ref().days, &DAILY, short);
            tiers.push(TierRule {
                tier: Tier::Daily,
                span: Span::new().days(days),
                days: Days::Every,
                at: Vec::new(),
            });
        }
        if let Some(weekly) = weekly.as_ref().map(At::get_ref) {
            let weeks = self.span(&weekly.weeks, &WEEKLY, short);
            tiers.push(TierRule {
                tier: Tier::Weekly,
                span: Span::new().weeks(weeks),
                days: Days::Week(
                    self.each(&weekly.on, NO_WEEKDAY, calendar::weekday)
                        .into_iter()
                        .collect(),
                ),
                at: self.at(weekly.at.as_ref()),
            });
        }
        if let Some(monthly) = monthly.as_ref().map(At::get_ref) {
            let months = self.span(&monthly.months, &MONTHLY, short);
            tiers.push(TierRule {
                tier: Tier::Monthly,
                span: Span::new().months(months),
                days: Days::Month {
                    rules: self.each(&monthly.on, NO_DAY, |day| day.parse().ok()),
                    months: Vec::new(),
                },
                at: self.at(monthly.at.as_ref()),
            });
        }
        if let Some(yearly) = yearly.as_ref().map(At::get_ref) {
            let years = self.span(&yearly.years, &YEARLY, short);
            let months = self.each(&yearly.months, NO_MONTH, calendar::month);
            tiers.push(TierRule {
                tier: Tier::Yearly,
                span: Span::new().years(years),
                days: Days::Month {
                    rules: self.each(&yearly.on, NO_DAY, |day| day.parse().ok()),
                    months,
                },
                at: self.at(yearly.at.as_ref()),
            });
        }
        if tiers.is_empty() {
            self.wrong(raw, "at least one of daily, weekly, monthly and yearly must be there");
        }
        let retention = Retention { tiers };
        if self.errors.is_empty() {
            if short {
                warnings.push("short_retention is set: recovery points may be kept for a very short time".to_owned());
            }
            let points = most_points(&retention, schedule);
            if points > MOST_POINTS {
                self.wrong(
                    raw,
                    format!("it would keep up to {points} recovery points; a server has {MOST_POINTS} at most"),
                );
            }
            warnings.extend(idle_tiers(&retention, schedule));
        }
        retention
    }

    fn span(&mut self, raw: &At<i64>, limits: &Limits, short: bool) -> i64 {
        let least = if short { 1 } else { limits.least };
        if (least..=limits.most).contains(raw.get_ref()) {
            return *raw.get_ref();
        }
        let Limits { unit, most, .. } = limits;
        let shorter = if *raw.get_ref() >= 1 && !short && *raw.get_ref() < least {
            "; short_retention = true allows less"
        } else {
            ""
        };
        self.wrong(raw, format!("{unit} is {least} to {most}{shorter}"));
        least
    }

    fn at(&mut self, raw: Option<&At<OneOrMany>>) -> Vec<Time> {
        let mut times = Vec::new();
        let Some(raw) = raw else { return times };
        for text in raw.get_ref().words() {
            let added = add_time(&mut times, &text);
            added.unwrap_or_else(|message| self.wrong(raw, message));
        }
        times
    }

    /// What each word of a list means. `wrong`: what is said of a word that means nothing.
    fn each<T>(&mut self, raw: &At<OneOrMany>, wrong: &str, mut read: impl FnMut(&str) -> Option<T>) -> Vec<T> {
        let words = raw.get_ref().words();
        if words.is_empty() {
            self.wrong(raw, "nothing is named");
        }
        let mut found = Vec::new();
        for word in words {
            match read(&word) {
                Some(meant) => found.push(meant),
                None => self.wrong(raw, format!("{word:?}: {wrong}")),
            }
        }
        found
    }
}

/// How many points a policy keeps at most, about: the runs of each tier within its span.
fn most_points(retention: &Retention, schedule: &Schedule) -> u64 {
    let (from, to) = LOOKED_AT;
    let years = u64::try_from(to.year() - from.year()).unwrap_or(1);
    let of_tier = |rule: &TierRule| {
        let slots = slots_of(rule, schedule).count() as u64;
        let days = match rule.tier {
            Tier::Daily => u64::from(rule.span.get_days().unsigned_abs()),
            Tier::Weekly => u64::from(rule.span.get_weeks().unsigned_abs()) * 7,
            Tier::Monthly => u64::from(rule.span.get_months().unsigned_abs()) * 3044 / 100,
            Tier::Yearly => u64::from(rule.span.get_years().unsigned_abs()) * 36_524 / 100,
        };
        (slots * days * 100).div_ceil(years * 36_524)
    };
    // A point with several tags is counted once where one tier's slots are all runs.
    retention.tiers.iter().map(of_tier).sum()
}

/// The slots of a tier over the years that are looked at.
fn slots_of<'a>(rule: &'a TierRule, schedule: &'a Schedule) -> impl Iterator<Item = Slot> + 'a {
    let (from, to) = LOOKED_AT;
    let dates = from.series(Span::new().days(1)).take_while(move |date| *date < to);
    let with_runs = dates.filter(|date| schedule.has_runs_on(*date));
    let slots = with_runs.flat_map(|date| schedule.times.iter().map(move |&time| Slot { date, time }));
    slots.filter(|slot| rule.names(*slot, schedule))
}

/// What a tier names and never runs.
fn idle_tiers(retention: &Retention, schedule: &Schedule) -> Vec<String> {
    let mut warnings = Vec::new();
    if schedule.times.is_empty() {
        return warnings;
    }
    for rule in &retention.tiers {
        let (tier, before) = (Tag::Tier(rule.tier), warnings.len());
        for time in rule.at.iter().filter(|time| !schedule.times.contains(time)) {
            warnings.push(format!("{tier}: no backup runs at {}", time.strftime("%H:%M")));
        }
        if let Days::Week(days) = rule.days {
            for day in (0..7).filter_map(|day| Weekday::from_monday_zero_offset(day).ok()) {
                if days.contains(day) && !schedule.days.contains(day) {
                    warnings.push(format!("{tier}: no backup runs on a {day:?}"));
                }
            }
        }
        if warnings.len() == before && slots_of(rule, schedule).next().is_none() {
            warnings.push(format!("{tier}: no backup runs on its days"));
        }
    }
    warnings
}
