use jiff::civil::{DateTime, Weekday, time};
use jiff::{SignedDuration, Span};
use proptest::prelude::*;

use super::*;

pub(in crate::policy) const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Asia/Gaza",
    "America/St_Johns",
    "Pacific/Chatham",
    "Europe/Dublin",
];

pub(in crate::policy) fn schedule(zone: &str, times: &[(i8, i8)]) -> Schedule {
    Schedule {
        zone: TimeZone::get(zone).unwrap(),
        times: times.iter().map(|(hour, minute)| time(*hour, *minute, 0, 0)).collect(),
        days: Weekdays::ALL,
        every_weeks: 1,
        random_delay: Duration::ZERO,
        catch_up: true,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn between(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    schedule.runs(at(from), at(to)).map(|run| run.at.to_string()).collect()
}

#[test]
fn a_time_that_is_skipped_runs_right_after_the_gap() {
    let berlin = schedule("Europe/Berlin", &[(2, 30)]);
    let runs = between(&berlin, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z");
    assert_eq!(
        runs,
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    // Two times in the gap, and one at its end, are one run with three slots.
    let berlin = schedule("Europe/Berlin", &[(2, 0), (2, 30), (3, 0)]);
    let runs: Vec<Run> = berlin
        .runs(at("2026-03-29T00:00:00Z"), at("2026-03-29T12:00:00Z"))
        .collect();
    assert_eq!((runs.len(), runs[0].slots().count()), (1, 3));
}

#[test]
fn a_time_that_comes_twice_runs_once_at_first() {
    let berlin = schedule("Europe/Berlin", &[(2, 30)]);
    let runs = between(&berlin, "2026-10-24T22:00:00Z", "2026-10-26T00:00:00Z");
    assert_eq!(runs, ["2026-10-25T00:30:00Z"]);
}

#[test]
fn a_day_that_a_zone_skips_runs_as_the_next_begins() {
    // Samoa had no 30 December 2011.
    let apia = schedule("Pacific/Apia", &[(0, 0), (12, 0)]);
    let runs: Vec<Run> = apia
        .runs(at("2011-12-29T11:00:00Z"), at("2011-12-31T10:00:00Z"))
        .collect();
    let found: Vec<(String, usize)> = runs
        .iter()
        .map(|run| (run.at.to_string(), run.slots().count()))
        .collect();
    let expected = [
        ("2011-12-29T22:00:00Z", 1),
        ("2011-12-30T10:00:00Z", 3),
        ("2011-12-30T22:00:00Z", 1),
    ];
    assert_eq!(found, expected.map(|(at, slots)| (at.to_owned(), slots)));
}

#[test]
fn weeks_are_counted_from_the_first_monday_of_1970() {
    let mut rhythm = schedule("UTC", &[(0, 0)]);
    rhythm.days = [Weekday::Monday].into_iter().collect();
    for weeks in 1..=4 {
        rhythm.every_weeks = weeks;
        let first = rhythm.next(at("1970-01-01T00:00:00Z")).unwrap();
        assert_eq!(first.at, at("1970-01-05T00:00:00Z"));
        let second = rhythm.next(first.at).unwrap();
        assert_eq!(
            second.at.duration_since(first.at),
            SignedDuration::from_hours(i64::from(weeks) * 7 * 24)
        );
        assert_eq!(rhythm.latest(Timestamp::MIN, at("1970-01-05T00:00:00Z")), Some(first));
    }
}

#[test]
fn spans_are_closed_at_their_beginning_and_open_at_their_end() {
    let utc = schedule("UTC", &[(2, 0)]);
    let runs = between(&utc, "2026-01-01T02:00:00Z", "2026-01-03T02:00:00Z");
    assert_eq!(runs, ["2026-01-01T02:00:00Z", "2026-01-02T02:00:00Z"]);
    assert_eq!(
        utc.next(at("2026-01-01T02:00:00Z")).unwrap().at,
        at("2026-01-02T02:00:00Z")
    );
    assert_eq!(utc.latest(at("2026-01-01T02:00:01Z"), at("2026-01-02T01:00:00Z")), None);
    assert_eq!(schedule("UTC", &[]).next(at("2026-01-01T00:00:00Z")), None);
}

/// The plainest reading of the rules: a run is due at the first minute at which the clock on the wall has shown its
/// local time or a later one.
fn model(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let minute = SignedDuration::from_mins(1);
    let mut found = Vec::new();
    let mut shown = DateTime::MIN;
    let mut now = from - SignedDuration::from_hours(50);
    while now < to {
        let clock = schedule.zone.to_datetime(now).max(shown);
        if shown != DateTime::MIN && clock > shown {
            let dates = shown
                .date()
                .series(Span::new().days(1))
                .take_while(|date| *date <= clock.date());
            let days = dates.filter(|date| {
                let weeks = (date.to_datetime(time(0, 0, 0, 0)).duration_since(date_time(1970, 1, 5))).as_hours();
                schedule.days.contains(date.weekday()) && weeks.div_euclid(168) % i64::from(schedule.every_weeks) == 0
            });
            let mut due = days.flat_map(|date| schedule.times.iter().map(move |&time| date.to_datetime(time)));
            if due.any(|due| due > shown && due <= clock) && now >= from {
                found.push(now);
            }
        }
        shown = clock;
        now += minute;
    }
    found
}

fn date_time(year: i16, month: i8, day: i8) -> DateTime {
    date(year, month, day).to_datetime(time(0, 0, 0, 0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn runs_are_those_of_a_clock_on_the_wall(
        zone in 0..ZONES.len(),
        times in proptest::collection::btree_set((0_i8..24, 0_i8..60), 1..=3),
        days in proptest::collection::btree_set(0_i8..7, 1..=7),
        every_weeks in 1..=4_i32,
        day in 0..3_000_i64,
    ) {
        let times: Vec<(i8, i8)> = times.into_iter().collect();
        let mut schedule = schedule(ZONES[zone], &times);
        schedule.days = days.iter().map(|day| Weekday::from_monday_zero_offset(*day).unwrap()).collect();
        schedule.every_weeks = every_weeks;
        let from = at("2020-01-01T00:00:00Z") + SignedDuration::from_hours(24 * day);
        let to = from + SignedDuration::from_hours(24 * 20);
        let runs: Vec<Timestamp> = schedule.runs(from, to).map(|run| run.at).collect();
        prop_assert_eq!(runs, model(&schedule, from, to));
    }
}

#[test]
fn runs_around_each_clock_change_are_those_of_a_clock_on_the_wall() {
    for zone in ZONES {
        let schedule = schedule(zone, &[(0, 0), (2, 15), (23, 30)]);
        let span = at("2009-01-01T00:00:00Z");
        let end = at("2013-01-01T00:00:00Z");
        let changes: Vec<Timestamp> = schedule
            .zone
            .following(span)
            .map(|change| change.timestamp())
            .take_while(|at| *at < end)
            .collect();
        for change in changes {
            let (from, to) = (
                change - SignedDuration::from_hours(30),
                change + SignedDuration::from_hours(30),
            );
            let from = from.round(jiff::Unit::Minute).unwrap();
            let runs: Vec<Timestamp> = schedule.runs(from, to).map(|run| run.at).collect();
            assert_eq!(runs, model(&schedule, from, to), "{zone} {change}");
        }
    }
}
