//! Reads sizes, rates, percentages, durations and dates as people write them in options and settings.
//!
//! The command line uses these functions as value parsers. An error is one sentence that says what was wrong with the
//! text.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Reads a size in bytes: `96MiB`, `1.5G`, `500000`. Units with an `i` and single letters count by 1024, the others by
/// 1000.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} does not begin with a number"))?;
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        other => return Err(format!("{other:?} is not a unit of size; use KiB, MiB or GiB")),
    };
    whole(number * factor).ok_or_else(|| format!("{text:?} is too large"))
}

/// Reads a rate: `512Kbps`, `20Mbps`, `8MiB/s`, `unlimited`, or `0` for a pause. Between a pause and 1 KiB/s no rate is
/// accepted.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(Rate(None));
    }
    if text == "0" {
        return Ok(Rate(Some(0)));
    }
    if let Some(readings) = two_readings(text) {
        return Err(readings);
    }
    let lower = text.to_ascii_lowercase();
    let bytes = if let Some(bits) = lower.strip_suffix("bps").or_else(|| lower.strip_suffix("bit/s")) {
        let (number, factor) = match bits.chars().next_back() {
            Some('k') => (&bits[..bits.len() - 1], 1e3),
            Some('m') => (&bits[..bits.len() - 1], 1e6),
            Some('g') => (&bits[..bits.len() - 1], 1e9),
            _ => (bits, 1.0),
        };
        let number: f64 = number
            .trim()
            .parse()
            .map_err(|_| format!("{text:?} does not begin with a number"))?;
        whole(number * factor / 8.0).ok_or_else(|| format!("{text:?} is too large"))?
    } else {
        let size_text = lower
            .strip_suffix("/s")
            .ok_or_else(|| format!("{text:?} is not a rate; use 20Mbps or 8MiB/s"))?;
        size(size_text)?
    };
    match bytes {
        1024.. => Ok(Rate(Some(bytes))),
        0 if !text.contains(|digit: char| ('1'..='9').contains(&digit)) => Ok(Rate(Some(0))),
        _ => Err(format!(
            "{text:?} is too slow: at least 1KiB/s (8192bps), or 0 for a pause"
        )),
    }
}

/// Bits or bytes? A small `b` before `/s` is taken for bytes by some people and for bits by others, and so is a capital
/// `B` before `ps`. The answer is a sentence with both readings.
fn two_readings(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let unclear = text.ends_with("b/s")
        || text.ends_with("b/S")
        || lower.ends_with("bps") && text.as_bytes()[text.len() - 3] == b'B';
    if !unclear {
        return None;
    }
    let prefix = &text[..text.len() - 3];
    let bits = prefix.trim_end_matches(['i', 'I']);
    Some(format!(
        "{text:?} can be read in two ways: write {bits}bps for bits, or {prefix}B/s for bytes"
    ))
}

/// Bytes per second. `Some(0)` is a pause, `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<u64>);

/// Reads a duration: `30s`, `15m`, `1h 30m`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let days = text.trim().strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let parsed = match days {
        Some(days) => Some(SignedDuration::from_hours(24 * i64::from(days))),
        None => text.trim().parse().ok(),
    };
    let positive = parsed.and_then(|duration: SignedDuration| Duration::try_from(duration).ok());
    positive.ok_or_else(|| format!("{text:?} is not a duration; use 30s, 15m, 2h or 7d"))
}

/// Reads a whole number of days, from `1d` to ten years.
pub(crate) fn days(text: &str) -> Result<Duration, String> {
    const A_DAY: Duration = Duration::from_secs(86_400);
    let number = text
        .trim()
        .strip_suffix('d')
        .and_then(|days| days.trim().parse::<u32>().ok());
    match number {
        Some(days @ 1..=3650) => Ok(A_DAY * days),
        _ => Err(format!(
            "{text:?} is not a number of days; use 1d to 3650d, such as 30d"
        )),
    }
}

/// Reads a percentage from 1 to 100: `5` or `5%`.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim().trim_end_matches('%');
    match number.parse::<u8>() {
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err(format!("{text:?} is not a percentage; use 1% to 100%")),
    }
}

/// Reads a moment as seconds since the epoch: `2027-01-31` (the end of that day, in local time), `2027-01-31T12:00`
/// (local time) or RFC 3339.
pub(crate) fn moment(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_second());
    }
    if let Ok(time) = text.parse::<Zoned>() {
        return Ok(time.timestamp().as_second());
    }
    let seconds_of =
        |time: Result<Zoned, jiff::Error>| time.map(|t| t.timestamp().as_second()).map_err(|e| e.to_string());
    // A date alone would also parse as a date with a time (midnight), so its length decides.
    if text.len() <= "2027-01-31".len() {
        let date: Date = text
            .parse()
            .map_err(|_| format!("{text:?} is not a date; use 2027-01-31 or RFC 3339"))?;
        let end = date.tomorrow().map_err(|error| error.to_string())?;
        return seconds_of(end.to_zoned(TimeZone::system()));
    }
    let time: DateTime = text
        .parse()
        .map_err(|_| format!("{text:?} is not a date; use 2027-01-31 or RFC 3339"))?;
    seconds_of(time.to_zoned(TimeZone::system()))
}

/// Reads a date or a time, in seconds since the epoch. A date alone is the moment at which that day begins.
pub(crate) fn since(text: &str) -> Result<i64, String> {
    match text.trim().parse::<Date>() {
        Ok(date) if text.trim().len() <= "2027-01-31".len() => {
            let begin = date.to_zoned(TimeZone::system()).map_err(|error| error.to_string())?;
            Ok(begin.timestamp().as_second())
        }
        _ => moment(text),
    }
}

/// Reads a vault URL. A path becomes absolute, so that it means the same in every working folder. A URL is not changed.
pub(crate) fn vault_url(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    path.into_os_string()
        .into_string()
        .map_err(|_| "the path is not UTF-8".to_owned())
}

/// The number without its fraction; `None` if it is negative, not finite, or too large for a count of bytes.
fn whole(number: f64) -> Option<u64> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    (number.is_finite() && (0.0..1e18).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(size("96MiB"), Ok(96 << 20));
        assert_eq!(size("1.5G"), Ok(3 << 29));
        assert_eq!(size("10 kb"), Ok(10_000));
        assert_eq!(size("77"), Ok(77));
        for bad in ["", "MiB", "1x", "-1", "1e400", "9999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!(rate("512Kbps").unwrap().0.unwrap(), 64_000);
        assert_eq!(rate("20Mbps").unwrap().0.unwrap(), 2_500_000);
        assert_eq!(rate("8MiB/s").unwrap().0.unwrap(), 8 << 20);
        assert_eq!(rate("unlimited"), Ok(Rate(None)));
        assert_eq!((rate("0"), rate("0Mbps")), (Ok(Rate(Some(0))), Ok(Rate(Some(0)))));
        for unclear in ["20Mb/s", "20MBps", "20 mib/s", "512BPS"] {
            let both = rate(unclear).unwrap_err();
            assert!(
                both.contains("two ways") && both.contains("bps") && both.contains("B/s"),
                "{both}"
            );
        }
        assert_eq!(rate("20mbps").unwrap().0.unwrap(), 2_500_000);
        assert_eq!(rate("20Mbit/s").unwrap().0.unwrap(), 2_500_000);
        for bad in ["8", "8MiB", "fast", "1bps", "0.1MiB", "900B/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_are_days_that_end_and_times_that_are_exact() {
        assert_eq!(moment("1970-01-02T00:00:00Z"), Ok(86_400));
        assert!(moment("2027-01-31").unwrap() > moment("2027-01-31T00:00:00+14:00").unwrap());
        for bad in ["", "tomorrow", "2027-13-01", "2027-01-31T25:00"] {
            assert!(moment(bad).is_err() && since(bad).is_err(), "{bad}");
        }
        assert_eq!(since("2027-01-31").unwrap(), moment("2027-01-30").unwrap());
        assert_eq!(since("1970-01-02T00:00:00Z"), Ok(86_400));
    }

    #[test]
    fn a_vault_path_does_not_depend_on_the_working_folder() {
        assert_eq!(vault_url("s3://bucket/prefix").unwrap(), "s3://bucket/prefix");
        assert_eq!(vault_url("/srv/vault").unwrap(), "/srv/vault");
        assert!(vault_url("vault").unwrap().starts_with('/'));
        assert!(vault_url("").is_err());
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-5s").is_err() && duration("soon").is_err() && duration("").is_err());
    }

    #[test]
    fn shares_are_percents() {
        assert_eq!(percent("5%"), Ok(5));
        assert_eq!(percent("100"), Ok(100));
        assert!(percent("0").is_err() && percent("101").is_err());
    }
}
