//! A window of the week with rates of its own: `mon-fri 08:00-18:00 2Mbps`, `sat,sun 22:00-06:00 up=unlimited
//! down=8MiB/s`, `daily 00:00-24:00 0`. The days are those on which the window begins. If its end is before its
//! begin, it ends on the day after. Times are of the wall clock, so an hour that the clock skips or repeats is
//! skipped or repeated here too.

use std::str::FromStr;

use jiff::civil::{DateTime, Time};

use crate::text::units::{self, Rate};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

/// A window of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Whether it begins on Monday, Tuesday, …
    days: [bool; 7],
    /// Minutes of the day; `to` may be 24:00, or before `from`.
    from: u16,
    to: u16,
    /// The rate to the vault, if the window has one.
    pub(crate) up: Option<Rate>,
    /// The rate from the vault, if the window has one.
    pub(crate) down: Option<Rate>,
}

impl Window {
    /// Whether the window is open at this time of its time zone.
    pub(crate) fn is_open(&self, at: DateTime) -> bool {
        let minute = minute_of(at.time());
        let today = usize::from(at.date().weekday().to_monday_zero_offset().unsigned_abs());
        let yesterday = (today + 6) % 7;
        if self.from < self.to {
            self.days[today] && (self.from..self.to).contains(&minute)
        } else {
            (self.days[today] && minute >= self.from) || (self.days[yesterday] && minute < self.to)
        }
    }
}

fn minute_of(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("{text:?} is not a window: {why}; write it like 'mon-fri 08:00-18:00 2Mbps'");
        let mut words = text.split_whitespace();
        let (Some(day_words), Some(time_words)) = (words.next(), words.next()) else {
            return Err(bad("it needs days, times and a rate"));
        };
        let days = days(day_words).ok_or_else(|| bad("the days are not understood"))?;
        let times = time_words
            .split_once('-')
            .and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
        let (from, to) = times.ok_or_else(|| bad("the times are not understood"))?;
        if from == DAY_MINUTES || from == to {
            return Err(bad("it is never open"));
        }
        let (mut up, mut down) = (None, None);
        for word in words {
            let (directions, rate): (&mut [&mut Option<Rate>], _) = match word.split_once('=') {
                Some(("up", rate)) => (&mut [&mut up], rate),
                Some(("down", rate)) => (&mut [&mut down], rate),
                Some(_) => return Err(bad("a rate is for `up=` or `down=`")),
                None => (&mut [&mut up, &mut down], word),
            };
            let rate = units::rate(rate).map_err(|why| bad(&why))?;
            for direction in directions {
                if direction.replace(rate).is_some() {
                    return Err(bad("it has two rates for one direction"));
                }
            }
        }
        if up.is_none() && down.is_none() {
            return Err(bad("it has no rate"));
        }
        Ok(Self {
            days,
            from,
            to,
            up,
            down,
        })
    }
}

/// `daily`, `mon`, `mon-fri`, `sat,sun`, `fri-mon`.
fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.to_ascii_lowercase().split(',') {
        let (first, last) = if part == "daily" {
            (0, 6)
        } else {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            (day(first)?, day(last)?)
        };
        let mut at = first;
        loop {
            days[at] = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Some(days)
}

fn day(text: &str) -> Option<usize> {
    DAYS.iter().position(|day| *day == text)
}

/// `08:00`, and `24:00` for the end of a day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY_MINUTES).then_some(of_day)
}
