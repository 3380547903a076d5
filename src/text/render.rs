//! Writes sizes, counts, times, names, modes and tables for people. All functions are pure.
//!
//! Names come from file systems and vaults and may contain any byte. They must go through [`name`] or [`path`] before
//! they are printed: these functions escape control characters.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Bytes with a binary unit: `1.23 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A count with separators: `12,345`.
pub(crate) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// `n things`, or `1 thing`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// How long something took: `0.84 s`, `12.3 s`, `4 min 05 s`, `2 h 03 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    } else {
        format!(
            "{} h {:02} min",
            duration.as_secs() / 3600,
            duration.as_secs() % 3600 / 60
        )
    }
}

/// A time that is only estimated: `9 s`, `4 min 05 s`.
pub(crate) fn about(time: Duration) -> String {
    if time.as_secs() < 60 {
        format!("{} s", time.as_secs())
    } else {
        duration(time)
    }
}

/// A rate: `12.3 MiB/s`; `-` if no time has passed.
pub(crate) fn rate(total: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds <= 0.0 {
        return "-".to_owned();
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded for people: very large sizes lose a few bytes"
    )]
    let per_second = (total as f64 / seconds) as u64;
    format!("{}/s", bytes(per_second))
}

/// How long a job took, and its rate if it moved enough for a rate to say something: `12.3 s (42.00 MiB/s)`.
pub(crate) fn time_and_rate(time: Duration, moved: u64) -> String {
    if moved < 1 << 20 {
        return duration(time);
    }
    format!("{} ({})", duration(time), rate(moved, time))
}

/// A time in this machine's time zone: `2026-11-22 03:00`.
pub(crate) fn local_time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "(out of range)".to_owned(),
    }
}

/// A time for the name of a restored copy: `2026-11-22 03-00`, without a colon, which some file systems reject.
pub(crate) fn name_stamp(seconds: i64) -> String {
    local_time(seconds).replace(':', "-")
}

/// A time for scripts: RFC 3339, UTC.
pub(crate) fn utc_time(seconds: i64, nanoseconds: u32) -> String {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0).clamp(0, 999_999_999);
    // For a time before 1970 with a fraction, jiff wants both parts to have the same sign.
    let (seconds, nanoseconds) = if seconds < 0 && nanoseconds > 0 {
        (seconds + 1, nanoseconds - 1_000_000_000)
    } else {
        (seconds, nanoseconds)
    };
    Timestamp::new(seconds, nanoseconds).map_or_else(|_| format!("@{seconds}"), |time| time.to_string())
}

/// A time for scripts; `None` if it is zero, which means that there is none.
pub(crate) fn utc_if_set(seconds: i64) -> Option<String> {
    (seconds != 0).then(|| utc_time(seconds, 0))
}

/// A name for a terminal. Control characters are escaped, and bytes that are not UTF-8 are written as `\xNN`.
pub(crate) fn name(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for piece in name.utf8_chunks() {
        for c in piece.valid().chars() {
            // Marks that change the direction of writing are escaped too: they can make one name look like another.
            if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        for byte in piece.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A path for a terminal, escaped as [`name`] does it.
pub(crate) fn path(path: &Path) -> String {
    name(path.as_os_str().as_bytes())
}

/// A text in which long ids are shortened to their first eight digits, as people name them.
pub(crate) fn short_ids(text: &str) -> String {
    const LONG: usize = 32;
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        shown.push_str(before);
        if digits.len() >= LONG {
            shown.push_str(&digits[..8]);
        } else {
            shown.push_str(digits);
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// Permissions as `ls -l` writes them, after the letter of the entry's type.
pub(crate) fn mode(kind: char, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A table. Each column is as wide as its widest cell. The columns whose numbers are in `right` are aligned to the
/// right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            if column > 0 {
                line.push_str("  ");
            }
            if right.contains(&column) {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_control_the_terminal() {
        assert_eq!(name(b"plain \xc3\xa4"), "plain ä");
        assert_eq!(name(b"a\nb\x1b[31m\xff"), "a\\nb\\u{1b}[31m\\xff");
        assert_eq!(name("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }

    #[test]
    fn modes_look_like_those_of_ls() {
        assert_eq!(mode('-', 0o644), "-rw-r--r--");
        assert_eq!(mode('-', 0o4755), "-rwsr-xr-x");
        assert_eq!(mode('d', 0o1777), "drwxrwxrwt");
        assert_eq!(mode('-', 0o2644), "-rw-r-Sr--");
    }

    #[test]
    fn times_before_the_epoch_are_times_too() {
        assert_eq!(utc_time(0, 5), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(utc_time(-1, 500_000_000), "1969-12-31T23:59:59.5Z");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(842)), "0.84 s");
        assert_eq!(duration(Duration::from_secs(245)), "4 min 05 s");
        assert_eq!(duration(Duration::from_secs(7380)), "2 h 03 min");
    }

    #[test]
    fn a_rate_is_only_given_for_what_was_moved() {
        assert_eq!(time_and_rate(Duration::from_millis(10), 6), "0.01 s");
        assert_eq!(time_and_rate(Duration::from_secs(2), 4 << 20), "2.00 s (2.00 MiB/s)");
        assert_eq!(about(Duration::from_millis(9400)), "9 s");
    }

    #[test]
    fn long_ids_are_shortened() {
        let id = "515a1b2c".repeat(8);
        assert_eq!(
            short_ids(&format!("the seal of frame 26 of pack {id} is broken")),
            "the seal of frame 26 of pack 515a1b2c is broken"
        );
        assert_eq!(short_ids("deadbeef ä 1"), "deadbeef ä 1");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["a".to_owned(), "10".to_owned()],
            vec!["long".to_owned(), "5".to_owned()],
        ];
        assert_eq!(table(&["N", "S"], &rows, &[1]), "N      S\na     10\nlong   5\n");
    }
}
