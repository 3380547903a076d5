use jiff::civil::{Date, Weekday, time};
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;

use super::*;
use crate::policy::preview::preview;
use crate::policy::schedule::tests::{ZONES, schedule};

mod years;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn weekdays(days: &[Weekday]) -> Weekdays {
    days.iter().copied().collect()
}

fn rule(tier: Tier, count: i64, days: Days) -> TierRule {
    let span = match tier {
        Tier::Daily => count.days(),
        Tier::Weekly => count.weeks(),
        Tier::Monthly => count.months(),
        Tier::Yearly => count.years(),
    };
    TierRule {
        tier,
        span,
        days,
        at: Vec::new(),
    }
}

fn on(rules: &[&str], months: &[i8]) -> Days {
    Days::Month {
        rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        months: months.to_vec(),
    }
}

/// 7 days, 4 weeks (Saturday), 12 months (the last day), 10 years (the first Sunday of January).
fn usual() -> Retention {
    Retention {
        tiers: vec![
            rule(Tier::Daily, 7, Days::Every),
            rule(Tier::Weekly, 4, Days::Week(weekdays(&[Weekday::Saturday]))),
            rule(Tier::Monthly, 12, on(&["last day"], &[])),
            rule(Tier::Yearly, 10, on(&["first sunday"], &[1])),
        ],
    }
}

fn names(tags: Tags) -> String {
    tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_has_the_tag_of_each_tier_that_names_it() {
    let berlin = schedule("Europe/Berlin", &[(2, 0), (14, 0)]);
    let shown = preview(
        &berlin,
        &usual(),
        at("2026-01-01T00:00:00+01:00"),
        at("2027-01-01T00:00:00+01:00"),
    );
    let tags_at = |text: &str| {
        let run = shown.runs.iter().find(|run| run.at == at(text)).unwrap();
        names(run.tags)
    };
    assert_eq!(tags_at("2026-01-03T02:00:00+01:00"), "daily weekly");
    assert_eq!(tags_at("2026-01-03T14:00:00+01:00"), "daily");
    assert_eq!(tags_at("2026-01-04T02:00:00+01:00"), "daily yearly");
    assert_eq!(tags_at("2026-01-31T02:00:00+01:00"), "daily weekly monthly");
    assert_eq!(shown.runs.len(), 730);
    // 14 daily ones, 4 weekly ones of which one is daily, 12 monthly ones of which one is daily, and a yearly one.
    let count = |tag: Tag| shown.points.iter().filter(|point| point.tags.contains(tag)).count();
    assert_eq!(count(Tag::Tier(Tier::Monthly)), 12);
    assert_eq!(count(Tag::Tier(Tier::Yearly)), 1);
    assert_eq!(shown.points.len(), 14 + 3 + 11 + 1);
}

#[test]
fn a_missed_slot_gives_its_tag_to_the_next_backup_once() {
    let utc = schedule("UTC", &[(2, 0)]);
    let retention = usual();
    let mut ledger = Ledger::new(&utc, &retention, &[], at("2026-01-01T00:00:00Z"));
    let run = |text: &str| Run {
        at: at(text),
        first: Slot {
            date: at(text).to_zoned(TimeZone::UTC).date(),
            time: time(2, 0, 0, 0),
        },
        others: Vec::new(),
    };
    // Both Saturdays, the 31st and the Sunday in January are missed.
    let tags = ledger.succeed(at("2026-02-08T12:00:00Z"), None, false);
    assert_eq!(names(tags), "weekly monthly yearly on-demand");
    let tags = ledger.succeed(at("2026-02-08T13:00:00Z"), None, true);
    assert_eq!(names(tags), "");
    let tags = ledger.succeed(at("2026-02-09T02:03:00Z"), Some(&run("2026-02-09T02:00:00Z")), false);
    assert_eq!(names(tags), "daily");
    // Nothing was missed before the policy was there.
    let mut ledger = Ledger::new(&utc, &retention, &[], at("2026-02-08T00:00:00Z"));
    assert_eq!(
        names(ledger.succeed(at("2026-02-08T12:00:00Z"), None, false)),
        "on-demand"
    );
    // A backup that was made for the slot is remembered, and one from before it does not count.
    let made = |text: &str| Made {
        at: at(text),
        tags: [Tag::Tier(Tier::Weekly)].into_iter().collect(),
    };
    for (text, expected) in [
        ("2026-01-24T02:00:00Z", "on-demand"),
        ("2026-01-17T02:00:00Z", "weekly on-demand"),
    ] {
        let mut ledger = Ledger::new(&utc, &retention, &[made(text)], at("2026-01-15T00:00:00Z"));
        assert_eq!(names(ledger.succeed(at("2026-01-26T12:00:00Z"), None, false)), expected);
    }
}

#[test]
fn spans_go_by_the_calendar_of_the_zone() {
    let retention = usual();
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let end = |tag, text: &str| retention.end(tag, at(text), &berlin).unwrap();
    // Seven days over a clock change are an hour less.
    assert_eq!(
        end(Tag::Tier(Tier::Daily), "2026-03-25T02:00:00+01:00"),
        at("2026-04-01T02:00:00+02:00")
    );
    assert_eq!(
        end(Tag::OnDemand, "2026-03-25T02:00:00+01:00"),
        at("2026-04-01T02:00:00+02:00")
    );
    assert_eq!(
        end(Tag::Tier(Tier::Yearly), "2024-02-29T02:00:00+01:00"),
        at("2034-02-28T02:00:00+01:00")
    );
    let month = Retention {
        tiers: vec![rule(Tier::Monthly, 1, on(&["last day"], &[]))],
    };
    let end = month.end(Tag::Tier(Tier::Monthly), at("2026-01-31T02:00:00Z"), &TimeZone::UTC);
    assert_eq!(end, Some(at("2026-02-28T02:00:00Z")));
    assert_eq!(month.end(Tag::Tier(Tier::Daily), Timestamp::MIN, &TimeZone::UTC), None);
    assert_eq!(
        month.end(Tag::Tier(Tier::Monthly), Timestamp::MAX, &TimeZone::UTC),
        Some(Timestamp::MAX)
    );
}

fn kept(text: &str, tags: &[Tag]) -> Kept {
    Kept {
        at: at(text),
        tags: tags.iter().copied().collect(),
        retain_until: None,
        held: false,
    }
}

#[test]
fn the_last_point_never_goes_by_itself() {
    let (retention, utc) = (usual(), TimeZone::UTC);
    let daily = [Tag::Tier(Tier::Daily)];
    let forgotten = |points: &[Kept], now: &str| plan(&retention, &utc, points, at(now)).forget;
    let mut points = vec![
        kept("2026-01-01T02:00:00Z", &daily),
        kept("2026-01-02T02:00:00Z", &daily),
    ];
    assert_eq!(forgotten(&points, "2026-01-08T01:59:59Z"), [false, false]);
    assert_eq!(forgotten(&points, "2026-01-08T02:00:00Z"), [true, false]);
    // All are over: the one that would have lived longest stays, until a fresh one is there.
    let year = [Tag::Tier(Tier::Daily), Tag::Tier(Tier::Weekly)];
    points[0].tags = year.into_iter().collect();
    assert_eq!(forgotten(&points, "2027-01-01T00:00:00Z"), [false, true]);
    assert_eq!(
        plan(&retention, &utc, &points, at("2027-01-01T00:00:00Z")).stays,
        Some(0)
    );
    points.push(kept("2026-12-31T02:00:00Z", &daily));
    assert_eq!(forgotten(&points, "2027-01-01T00:00:00Z"), [true, true, false]);
    assert_eq!(forgotten(&[], "2027-01-01T00:00:00Z"), [false; 0]);
}

#[test]
fn points_without_a_tag_live_until_a_newer_one_and_dates_and_holds_count() {
    let (retention, utc) = (usual(), TimeZone::UTC);
    let mut points = vec![kept("2026-01-01T02:00:00Z", &[]), kept("2026-01-02T02:00:00Z", &[])];
    let now = at("2036-01-01T00:00:00Z");
    assert_eq!(plan(&retention, &utc, &points, now).forget, [true, false]);
    points[0].retain_until = Some(at("2036-01-01T00:00:01Z"));
    assert_eq!(plan(&retention, &utc, &points, now).forget, [false, false]);
    points[0].retain_until = Some(now);
    assert_eq!(plan(&retention, &utc, &points, now).forget, [true, false]);
    points[0].held = true;
    assert_eq!(plan(&retention, &utc, &points, now).forget, [false, false]);
    assert_eq!(points[0].expiry(&retention, &utc), Expiry::Held);
    // A tier that the policy no longer has keeps nothing.
    let weekly = Retention {
        tiers: vec![rule(Tier::Weekly, 4, Days::Week(Weekdays::ALL))],
    };
    let yearly = [Tag::Tier(Tier::Yearly)];
    let points = [
        kept("2026-01-01T02:00:00Z", &yearly),
        kept("2026-01-02T02:00:00Z", &yearly),
    ];
    assert_eq!(
        plan(&weekly, &utc, &points, at("2036-01-03T00:00:00Z")).forget,
        [true, false]
    );
}

/// What happens to a run of the schedule in a made-up history.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Succeeds,
    Fails,
    /// It fails, and somebody makes a backup by hand so many minutes after it was due.
    ByHand(i64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![5 => Just(Fate::Succeeds), 3 => Just(Fate::Fails), 1 => (1..2_000_i64).prop_map(Fate::ByHand)]
}

/// The rules of the tags in their plainest form: for each backup, all slots so far are looked at.
fn model(schedule: &Schedule, retention: &Retention, since: Timestamp, made: &[(Timestamp, Option<Run>)]) -> Vec<Made> {
    let mut history: Vec<Made> = Vec::new();
    for (at, run) in made {
        let mut tags = Tags::default();
        for rule in &retention.tiers {
            let is_slot = |run: &Run| run.slots().any(|slot| rule.names(slot, schedule));
            let newest = schedule
                .runs(since, *at + SignedDuration::from_nanos(1))
                .filter(is_slot)
                .last();
            let has = |slot: &Run| {
                history
                    .iter()
                    .any(|made| made.at >= slot.at && made.tags.contains(Tag::Tier(rule.tier)))
            };
            let owed = rule.tier != Tier::Daily && newest.is_some_and(|slot| !has(&slot));
            if owed || run.as_ref().is_some_and(is_slot) {
                tags.insert(Tag::Tier(rule.tier));
            }
        }
        if run.is_none() {
            tags.insert(Tag::OnDemand);
        }
        history.push(Made { at: *at, tags });
    }
    history
}

/// Months later, by counting: the same day, or the last one of a shorter month.
fn months_later(date: Date, months: i64) -> Date {
    let count = i64::from(date.year()) * 12 + i64::from(date.month()) - 1 + months;
    let first = Date::new(
        i16::try_from(count / 12).unwrap(),
        i8::try_from(count % 12 + 1).unwrap(),
        1,
    )
    .unwrap();
    first.with().day(date.day().min(first.days_in_month())).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tags_are_those_of_the_plain_model(
        zone in 0..ZONES.len(),
        two in any::<bool>(),
        weekly in proptest::collection::btree_set(0_i8..7, 1..4),
        monthly in prop_oneof![Just("last day"), Just("15"), Just("first sunday"), Just("last monday"), Just("31")],
        every_weeks in 1..=4_i32,
        begins in 0..400_i64,
        fates in proptest::collection::vec(fate(), 1..120),
    ) {
        let mut schedule = schedule(ZONES[zone], if two { &[(2, 0), (14, 30)] } else { &[(2, 30)] });
        schedule.every_weeks = every_weeks;
        let mut retention = usual();
        let days: Vec<Weekday> = weekly.iter().map(|day| Weekday::from_monday_zero_offset(*day).unwrap()).collect();
        retention.tiers[1].days = Days::Week(weekdays(&days));
        retention.tiers[2].days = on(&[monthly], &[]);
        let since = at("2021-01-01T00:00:00Z") + SignedDuration::from_hours(24 * begins);
        let mut made: Vec<(Timestamp, Option<Run>)> = Vec::new();
        for (fate, run) in fates.iter().zip(schedule.runs(since, Timestamp::MAX)) {
            match fate {
                Fate::Succeeds => made.push((run.at, Some(run))),
                Fate::Fails => {}
                Fate::ByHand(minutes) => made.push((run.at + SignedDuration::from_mins(*minutes), None)),
            }
        }
        made.sort_by_key(|(at, _)| *at);
        let mut ledger = Ledger::new(&schedule, &retention, &[], since);
        let tagged = made.iter().map(|(at, run)| Made { at: *at, tags: ledger.succeed(*at, run.as_ref(), false) });
        prop_assert_eq!(tagged.collect::<Vec<_>>(), model(&schedule, &retention, since, &made));
    }

    #[test]
    fn ends_are_counted_by_the_calendar(zone in 0..ZONES.len(), hours in 0..200_000_i64, months in 1..60_i64) {
        let zone = TimeZone::get(ZONES[zone]).unwrap();
        let made = at("2001-01-01T12:00:00Z") + SignedDuration::from_hours(hours);
        let retention = Retention { tiers: vec![rule(Tier::Monthly, months, on(&["1"], &[]))] };
        let end = retention.end(Tag::Tier(Tier::Monthly), made, &zone).unwrap();
        let (made, end) = (zone.to_datetime(made), zone.to_datetime(end));
        let expected = months_later(made.date(), months).to_datetime(made.time());
        // A local time that the zone skips is up to a day later.
        let late = end.duration_since(expected);
        prop_assert!(late >= SignedDuration::ZERO && late <= SignedDuration::from_hours(24), "{} {}", end, expected);
    }

    /// Whoever forgets after each backup and each day keeps what a single look at the end would keep.
    #[test]
    fn forgetting_step_by_step_and_at_once_are_the_same(
        fates in proptest::collection::vec(fate(), 1..200),
        after in 0..900_i64,
    ) {
        let schedule = schedule("America/New_York", &[(2, 30)]);
        let retention = usual();
        let since = at("2021-01-01T00:00:00Z");
        let mut ledger = Ledger::new(&schedule, &retention, &[], since);
        let (mut all, mut left): (Vec<Kept>, Vec<Kept>) = (Vec::new(), Vec::new());
        let mut now = since;
        let forget = |left: &mut Vec<Kept>, now| {
            let mut over = plan(&retention, &schedule.zone, left, now).forget.into_iter();
            left.retain(|_| !over.next().unwrap());
        };
        for (fate, run) in fates.iter().zip(schedule.runs(since, Timestamp::MAX)) {
            now = run.at;
            if let Fate::Succeeds = fate {
                let tags = ledger.succeed(run.at, Some(&run), false);
                let point = Kept { at: run.at, tags, retain_until: None, held: false };
                all.push(point.clone());
                left.push(point);
            }
            forget(&mut left, now);
        }
        now += SignedDuration::from_hours(24 * after);
        forget(&mut left, now);
        let over = plan(&retention, &schedule.zone, &all, now).forget;
        let kept: Vec<Kept> = all.into_iter().zip(over).filter(|(_, over)| !over).map(|(point, _)| point).collect();
        prop_assert_eq!(left, kept);
    }
}
