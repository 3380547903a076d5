use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::policy::parse;

fn schedule(more: &str) -> Schedule {
    let text = format!(
        "[[item]]\npath = \"/srv\"\n[schedule]\ntime_zone = \"Europe/Berlin\"\ntimes = [\"02:30\", \"14:00\"]\n{more}\n\
         [retention]\ndaily = {{ days = 7 }}\n"
    );
    parse(&text, &TimeZone::UTC).unwrap().schedule
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now_due(schedule: &Schedule, tried: &[Tried], now: &str) -> Due {
    let watch = Watch {
        since: at("2026-01-01T00:00:00Z"),
        from: at("2026-01-01T00:00:00Z"),
    };
    due(schedule, watch, tried, at(now), |_| Duration::ZERO)
}

fn run_at(due: &Due) -> Option<Timestamp> {
    match due {
        Due::Run(run) => Some(run.at),
        Due::Wait(_) | Due::Missed(_) => None,
    }
}

fn done(text: &str) -> Tried {
    Tried {
        at: at(text),
        settled: true,
    }
}

#[test]
fn the_newest_run_is_made_up_for_and_no_other() {
    let schedule = schedule("");
    // Nothing was done for weeks: one run is due.
    let found = now_due(&schedule, &[done("2026-02-01T13:00:00Z")], "2026-03-10T05:00:00Z");
    assert_eq!(run_at(&found), Some(at("2026-03-10T01:30:00Z")));
    let found = now_due(&schedule, &[done("2026-03-10T01:30:00Z")], "2026-03-10T05:00:00Z");
    assert_eq!(found, Due::Wait(Some(at("2026-03-10T13:00:00Z"))));
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing_and_one_that_was_ahead_hides_nothing() {
    let schedule = schedule("");
    let tried = [done("2026-03-09T13:00:00Z"), done("2026-03-10T01:30:00Z")];
    // Back before the run: the run before it was done, too.
    let found = now_due(&schedule, &tried, "2026-03-10T01:00:00Z");
    assert_eq!(found, Due::Wait(Some(at("2026-03-10T01:30:00Z"))));
    // The same run does not come again.
    let found = now_due(&schedule, &tried, "2026-03-10T01:30:01Z");
    assert_eq!(run_at(&found), None);
    // A run of next year was done by a wrong clock. It says nothing about today.
    let found = now_due(&schedule, &[done("2027-03-10T01:30:00Z")], "2026-03-10T05:00:00Z");
    assert_eq!(run_at(&found), Some(at("2026-03-10T01:30:00Z")));
}

#[test]
fn an_interrupted_run_is_done_again_until_the_next_one_is_due() {
    let schedule = schedule("catch_up = false");
    let interrupted = Tried {
        at: at("2026-03-10T01:30:00Z"),
        settled: false,
    };
    let found = now_due(&schedule, &[interrupted], "2026-03-10T05:00:00Z");
    assert_eq!(run_at(&found), Some(interrupted.at));
    let found = now_due(&schedule, &[interrupted], "2026-03-10T14:00:00Z");
    assert_eq!(run_at(&found), Some(at("2026-03-10T13:00:00Z")));
    let settled = Tried {
        settled: true,
        ..interrupted
    };
    let found = now_due(&schedule, &[interrupted, settled], "2026-03-10T05:00:00Z");
    assert_eq!(run_at(&found), None);
}

#[test]
fn without_catch_up_a_run_before_the_daemon_is_missed() {
    let schedule = schedule("catch_up = false");
    let watch = |from: &str| Watch {
        since: at("2026-01-01T00:00:00Z"),
        from: at(from),
    };
    let now = at("2026-03-10T05:00:00Z");
    let none = |_| Duration::ZERO;
    let found = due(&schedule, watch("2026-03-10T04:00:00Z"), &[], now, none);
    assert!(matches!(found, Due::Missed(run) if run.at == at("2026-03-10T01:30:00Z")));
    let found = due(&schedule, watch("2026-03-10T01:00:00Z"), &[], now, none);
    assert_eq!(run_at(&found), Some(at("2026-03-10T01:30:00Z")));
}

#[test]
fn nothing_is_missed_from_before_the_policy() {
    let schedule = schedule("");
    let watch = Watch {
        since: at("2026-03-10T04:00:00Z"),
        from: at("2026-01-01T00:00:00Z"),
    };
    let found = due(&schedule, watch, &[], at("2026-03-10T05:00:00Z"), |_| Duration::ZERO);
    assert_eq!(found, Due::Wait(Some(at("2026-03-10T13:00:00Z"))));
}

#[test]
fn a_delayed_run_begins_later_by_the_same_time_after_a_restart() {
    let most = Duration::from_secs(900);
    let run = at("2026-03-10T01:30:00Z");
    let by = delay(most, b"server", run);
    assert_eq!(by, delay(most, b"server", run));
    assert!(by <= most);
    let schedule = schedule("random_delay = \"15m\"");
    let watch = Watch {
        since: at("2026-01-01T00:00:00Z"),
        from: at("2026-01-01T00:00:00Z"),
    };
    let hour = |_| Duration::from_secs(3600);
    let tried = [done("2026-03-09T13:00:00Z")];
    let found = due(&schedule, watch, &tried, at("2026-03-10T01:45:00Z"), hour);
    assert_eq!(found, Due::Wait(Some(at("2026-03-10T02:30:00Z"))));
    let found = due(&schedule, watch, &tried, at("2026-03-10T02:30:00Z"), hour);
    assert_eq!(run_at(&found), Some(run));
    let spread: std::collections::BTreeSet<Duration> = (0..100).map(|n| delay(most, &[n], run)).collect();
    assert!(spread.len() > 50, "{spread:?}");
}

/// What a day of a server may bring.
#[derive(Debug, Clone)]
enum Step {
    /// So many minutes pass, while the daemon watches.
    Pass(i64),
    /// The machine is off, or the clock is set, by so many minutes.
    Jump(i64),
    /// The run that is due now is interrupted.
    Interrupt,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_i64..300).prop_map(Step::Pass),
        1 => (1_i64..20_000).prop_map(Step::Jump),
        1 => (-2_000_i64..-1).prop_map(Step::Jump),
        2 => Just(Step::Interrupt),
    ]
}

proptest! {
    /// Whatever happens to the clock and to the runs: no run succeeds twice, and as soon as the daemon has had a look,
    /// the newest run that is due has been done.
    #[test]
    fn no_run_is_done_twice_and_the_newest_is_never_left_out(steps in proptest::collection::vec(step(), 1..120)) {
        let schedule = schedule("");
        let since = at("2026-03-20T00:00:00Z");
        let watch = Watch { since, from: since };
        let mut now = since;
        let mut tried: Vec<Tried> = Vec::new();
        let mut succeeded: Vec<Timestamp> = Vec::new();
        for step in steps {
            let minutes = |by: i64| now.checked_add(jiff::SignedDuration::from_mins(by)).unwrap().max(since);
            let mut interrupt = false;
            match step {
                Step::Pass(by) | Step::Jump(by) => now = minutes(by),
                Step::Interrupt => {
                    now = minutes(1);
                    interrupt = true;
                }
            }
            if let Due::Run(run) = due(&schedule, watch, &tried, now, |_| Duration::ZERO) {
                prop_assert!(run.at <= now);
                prop_assert!(!succeeded.contains(&run.at), "{} twice", run.at);
                if !interrupt {
                    succeeded.push(run.at);
                }
                tried.push(Tried { at: run.at, settled: !interrupt });
            }
            if !interrupt {
                let newest = schedule.runs(since, now.checked_add(Duration::from_nanos(1)).unwrap()).last();
                if let Some(newest) = newest {
                    let covered = succeeded.iter().any(|at| *at >= newest.at && *at <= now);
                    prop_assert!(covered, "{} was left out at {now}", newest.at);
                }
            }
        }
    }
}
