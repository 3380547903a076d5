//! Days of the week and of the month, as the policy file names them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Weekday};

/// A set of days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weekdays(u8);

impl Weekdays {
    /// All seven.
    pub(crate) const ALL: Self = Self(0x7f);

    /// Whether this day is in the set.
    pub(crate) fn contains(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }
}

impl FromIterator<Weekday> for Weekdays {
    fn from_iter<T: IntoIterator<Item = Weekday>>(days: T) -> Self {
        Self(days.into_iter().fold(0, |set, day| set | bit(day)))
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

/// The day of the week with this name: `mon` or `monday`, in any case.
pub(crate) fn weekday(name: &str) -> Option<Weekday> {
    const NAMES: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let name = name.to_ascii_lowercase();
    let found = NAMES.iter().find(|(long, _)| *long == name || long[..3] == name);
    found.map(|(_, day)| *day)
}

/// The month with this name: `jan` or `january`, in any case. January is 1.
pub(crate) fn month(name: &str) -> Option<i8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let name = name.to_ascii_lowercase();
    let at = NAMES.iter().position(|long| *long == name || long[..3] == name)?;
    i8::try_from(at + 1).ok()
}

/// A rule that names one day of every month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DayRule {
    /// This day of the month, or its last day if the month is shorter. 1 to 31.
    Day(i8),
    /// The last day of the month.
    Last,
    /// The day of the week that comes for the given time in the month: 1 to 4.
    Nth(i8, Weekday),
    /// The last such day of the week in the month.
    LastWeekday(Weekday),
}

impl DayRule {
    /// Whether the rule names this date.
    pub(crate) fn matches(self, date: Date) -> bool {
        match self {
            Self::Day(day) => date.day() == day.min(date.days_in_month()),
            Self::Last => date.day() == date.days_in_month(),
            Self::Nth(nth, weekday) => date.weekday() == weekday && (date.day() - 1) / 7 + 1 == nth,
            Self::LastWeekday(weekday) => date.weekday() == weekday && date.day() + 7 > date.days_in_month(),
        }
    }
}

impl FromStr for DayRule {
    type Err = ();

    /// `last day`, `first sunday` … `fourth friday`, `last monday`, or a number.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim().to_ascii_lowercase();
        if let Ok(day) = text.parse() {
            return if (1..=31).contains(&day) {
                Ok(Self::Day(day))
            } else {
                Err(())
            };
        }
        let (which, day) = text.split_once(char::is_whitespace).ok_or(())?;
        let day = day.trim();
        if (which, day) == ("last", "day") {
            return Ok(Self::Last);
        }
        let weekday = weekday(day).ok_or(())?;
        match which {
            "first" => Ok(Self::Nth(1, weekday)),
            "second" => Ok(Self::Nth(2, weekday)),
            "third" => Ok(Self::Nth(3, weekday)),
            "fourth" => Ok(Self::Nth(4, weekday)),
            "last" => Ok(Self::LastWeekday(weekday)),
            _ => Err(()),
        }
    }
}

impl fmt::Display for DayRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => write!(f, "{day}"),
            Self::Last => f.write_str("last day"),
            Self::Nth(nth, day) => {
                let which = ["first", "second", "third", "fourth"];
                let at = usize::try_from(nth - 1).unwrap_or_default().min(3);
                write!(f, "{} {}", which[at], format!("{day:?}").to_ascii_lowercase())
            }
            Self::LastWeekday(day) => write!(f, "last {}", format!("{day:?}").to_ascii_lowercase()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// The days of a month that a rule names.
    fn days(rule: &str, year: i16, month: i8) -> Vec<i8> {
        let rule: DayRule = rule.parse().unwrap();
        assert_eq!(rule.to_string().parse(), Ok(rule));
        let first = date(year, month, 1);
        let all = (1..=first.days_in_month()).map(|day| date(year, month, day));
        all.filter(|date| rule.matches(*date)).map(Date::day).collect()
    }

    #[test]
    fn a_rule_names_one_day_of_every_month() {
        assert_eq!(days("last day", 2024, 2), [29]);
        assert_eq!(days("31", 2023, 2), [28]);
        assert_eq!(days("First Sunday", 2026, 11), [1]);
        assert_eq!(days("fourth fri", 2026, 11), [27]);
        assert_eq!(days("last monday", 2026, 11), [30]);
        assert_eq!(days("last sunday", 2026, 2), [22]);
        for rule in [
            "last day",
            "1",
            "28",
            "31",
            "first sunday",
            "third wed",
            "fourth friday",
            "last monday",
        ] {
            for month in 1..=12 {
                assert_eq!(days(rule, 2027, month).len(), 1, "{rule} {month}");
            }
        }
    }

    #[test]
    fn words_that_name_no_day_are_refused() {
        for rule in [
            "",
            "0",
            "32",
            "-1",
            "fifth monday",
            "last",
            "day",
            "first",
            "first day",
            "last noday",
        ] {
            assert_eq!(rule.parse::<DayRule>(), Err(()), "{rule}");
        }
        assert_eq!((weekday("mo"), weekday("SAT")), (None, Some(Weekday::Saturday)));
        assert_eq!(
            (month("Jan"), month("september"), month("ja")),
            (Some(1), Some(9), None)
        );
    }

    #[test]
    fn a_set_of_days_holds_what_was_put_in() {
        let set: Weekdays = [Weekday::Monday, Weekday::Sunday].into_iter().collect();
        let held: Vec<bool> = (0..7)
            .map(|day| set.contains(Weekday::from_monday_zero_offset(day).unwrap()))
            .collect();
        assert_eq!(held, [true, false, false, false, false, false, true]);
        assert!(Weekdays::ALL.contains(Weekday::Friday));
    }
}
