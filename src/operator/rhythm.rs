//! How often a server should make recovery points, and whether it is silent.

use jiff::{SignedDuration, Timestamp};
use lockstone_vault::access::policy_records::ServerPolicy;

use crate::policy::{Schedule, schedule_of};

/// How long a server may be without a new recovery point if its schedule is not known.
const WITHOUT_SCHEDULE: SignedDuration = SignedDuration::from_hours(31 * 24);
/// How long after a run was due its recovery point may be awaited.
const LATE: SignedDuration = SignedDuration::from_hours(2);

/// How often a server should make recovery points.
#[derive(Debug)]
pub(crate) enum Rhythm {
    /// It has no policy in the vault, or one that this program does not understand, or one without a schedule.
    Unknown,
    /// Its policy is paused: it should make none.
    Paused,
    /// By a schedule.
    Runs {
        schedule: Schedule,
        /// Since when the schedule holds.
        since: Timestamp,
    },
}

impl Rhythm {
    /// The rhythm by the server's newest policy in the vault.
    pub(crate) fn of(policy: Option<&ServerPolicy>) -> Rhythm {
        policy.map_or(Rhythm::Unknown, |policy| {
            Rhythm::new(policy.open(), policy.paused(), policy.set())
        })
    }

    fn new(open: &str, paused: bool, since: Timestamp) -> Rhythm {
        match schedule_of(open).filter(|schedule| !schedule.times.is_empty()) {
            _ if paused => Rhythm::Paused,
            Some(schedule) => Rhythm::Runs { schedule, since },
            None => Rhythm::Unknown,
        }
    }

    /// Whether a server should have a newer point. `last_point` says when its newest one was begun, and `running` when
    /// the backup was begun that runs now, seconds since the epoch.
    pub(crate) fn is_silent(
        &self,
        registered: Timestamp,
        last_point: Option<i64>,
        running: Option<i64>,
        now: Timestamp,
    ) -> bool {
        match self {
            Rhythm::Paused => false,
            Rhythm::Unknown => {
                let since = last_point.unwrap_or(registered.as_second());
                now.as_second().saturating_sub(since) > WITHOUT_SCHEDULE.as_secs()
            }
            Rhythm::Runs { schedule, since } => {
                let awaited = now.saturating_sub(LATE);
                let due = awaited.and_then(|awaited| awaited.checked_sub(schedule.random_delay));
                let run = due.ok().and_then(|due| schedule.latest(*since, due));
                run.is_some_and(|run| last_point.max(running).is_none_or(|begun| begun < run.at.as_second()))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const AT_TWO: &str = "[retention]\ndaily = { days = 7 }\n[schedule]\ntimes = [\"02:00\"]\ntime_zone = \"UTC\"\n";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn silent(rhythm: &Rhythm, last_point: Option<&str>, now: &str) -> bool {
        let last_point = last_point.map(|time| at(time).as_second());
        rhythm.is_silent(at("2026-01-01T00:00:00Z"), last_point, None, at(now))
    }

    #[test]
    fn a_server_is_silent_if_a_run_that_was_due_two_hours_ago_made_no_point() {
        let rhythm = Rhythm::new(AT_TWO, false, at("2026-03-01T12:00:00Z"));
        let before = Some("2026-03-09T02:00:05Z");
        assert!(!silent(&rhythm, before, "2026-03-10T03:59:59Z"), "it may be late");
        assert!(silent(&rhythm, before, "2026-03-10T04:00:00Z"));
        assert!(!silent(&rhythm, Some("2026-03-10T02:00:00Z"), "2026-03-10T23:00:00Z"));
        assert!(silent(&rhythm, Some("2026-03-10T01:59:59Z"), "2026-03-10T23:00:00Z"));
        // No run was due since the policy was set.
        assert!(!silent(&rhythm, None, "2026-03-02T03:00:00Z"));
        assert!(silent(&rhythm, None, "2026-03-02T05:00:00Z"));
        // The backup of the run is not done yet.
        let (registered, now) = (at("2026-01-01T00:00:00Z"), at("2026-03-10T09:00:00Z"));
        let last = at("2026-03-09T02:00:00Z");
        let running =
            |running: Timestamp| rhythm.is_silent(registered, Some(last.as_second()), Some(running.as_second()), now);
        assert!(!running(at("2026-03-10T02:00:03Z")));
        assert!(running(at("2026-03-09T22:00:00Z")));
    }

    #[test]
    fn a_random_delay_is_waited_for() {
        let late = format!("{AT_TWO}random_delay = \"60m\"\n");
        let rhythm = Rhythm::new(&late, false, at("2026-03-01T12:00:00Z"));
        assert!(matches!(rhythm, Rhythm::Runs { .. }), "{rhythm:?}");
        assert!(!silent(&rhythm, Some("2026-03-09T02:30:00Z"), "2026-03-10T04:59:59Z"));
        assert!(silent(&rhythm, Some("2026-03-09T02:30:00Z"), "2026-03-10T05:00:00Z"));
    }

    #[test]
    fn without_a_schedule_a_server_is_silent_after_31_days() {
        let set = at("2026-03-01T12:00:00Z");
        for open in [
            "",
            "nonsense",
            "[schedule]\ntimes = []\n",
            "[retention]\ndaily = { days = 1 }\n",
        ] {
            let rhythm = Rhythm::new(open, false, set);
            assert!(matches!(rhythm, Rhythm::Unknown), "{open}");
            assert!(!silent(&rhythm, Some("2026-03-02T00:00:00Z"), "2026-04-02T00:00:00Z"));
            assert!(silent(&rhythm, Some("2026-03-02T00:00:00Z"), "2026-04-02T00:00:01Z"));
            assert!(silent(&rhythm, None, "2026-02-02T00:00:00Z"), "it never made one");
        }
        assert!(matches!(Rhythm::of(None), Rhythm::Unknown));
    }

    #[test]
    fn a_paused_server_is_never_silent() {
        for open in [AT_TWO, "", "nonsense"] {
            let rhythm = Rhythm::new(open, true, at("2026-03-01T12:00:00Z"));
            assert!(!silent(&rhythm, None, "2030-01-01T00:00:00Z"));
        }
    }

    #[test]
    fn times_that_cannot_be_are_no_reason_to_fail() {
        let rhythm = Rhythm::new(AT_TWO, false, Timestamp::MAX);
        assert!(!silent(&rhythm, None, "2026-03-10T05:00:00Z"));
        for last in [i64::MIN, i64::MAX] {
            let rhythms = [Rhythm::Unknown, Rhythm::new(AT_TWO, false, Timestamp::UNIX_EPOCH)];
            for rhythm in rhythms {
                let found = rhythm.is_silent(Timestamp::UNIX_EPOCH, Some(last), None, at("2026-03-10T05:00:00Z"));
                assert_eq!(found, last == i64::MIN);
            }
        }
    }
}
