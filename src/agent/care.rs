//! What the agent does for the vault by itself: reading its content, a share each day, and restoring some files on
//! trial. The policy says how often. What was done is read from the records of jobs. Pure: values in, a decision out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lockstone_proto::job::{JobKind, JobState};

use super::jobs::check::ROUND;
use super::jobs::test_restore::TEST;
use super::state::job_records::{JobRecord, Reading};
use crate::policy::{Policy, TestRestore};

/// A share is read so long after the last one, or later: a little less than a day, so that the hour does not move.
const SHARE_AFTER: SignedDuration = SignedDuration::from_hours(22);
/// After a try that did not come to its end, the next one waits so long.
const TRY_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// A test restore is overdue by so much before somebody hears of it.
const PATIENCE: SignedDuration = SignedDuration::from_hours(48);
const DAY_S: u64 = 86_400;

/// What is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// A share of the vault is to be read, so that every byte is read within this time.
    pub(crate) check: Option<Duration>,
    pub(crate) test: Option<TestRestore>,
    /// Since when a test restore has been due, if that was long ago.
    pub(crate) overdue: Option<Timestamp>,
}

/// What is due now. `since`: since when the policy is in force. `jobs`: the records, in any order.
pub(crate) fn due(policy: &Policy, since: Timestamp, jobs: &[JobRecord], now: Timestamp) -> Due {
    let shares = || {
        jobs.iter()
            .filter(|job| job.kind == JobKind::Check && job.request.contains_key(ROUND))
    };
    let tests = || jobs.iter().filter(|job| job.request.contains_key(TEST));
    let mut due = Due {
        check: policy.check.filter(|_| {
            // Damage is the result of a check that came to its end.
            let ended = |job: &&JobRecord| job.state.is_success() || !job.report.is_empty() && !is_cancelled(job);
            is_over(latest(shares().filter(ended), now), SHARE_AFTER, now)
                && is_over(latest(shares(), now), TRY_AGAIN, now)
        }),
        ..Due::default()
    };
    if let Some(test) = &policy.test_restore {
        let every = SignedDuration::try_from(test.every).unwrap_or(SignedDuration::MAX);
        let succeeded = latest(tests().filter(|job| job.state.is_success()), now);
        let is_due = is_over(succeeded, every, now) && is_over(latest(tests(), now), TRY_AGAIN, now);
        due.test = is_due.then(|| test.clone());
        let was_due = succeeded.unwrap_or(since).checked_add(every).ok();
        due.overdue = was_due.filter(|was_due| now.duration_since(*was_due) > PATIENCE);
    }
    due
}

fn is_cancelled(job: &JobRecord) -> bool {
    job.state == JobState::Cancelled || job.runs() || job.waits()
}

/// When the last of the jobs began. One that claims to begin later than now says nothing.
fn latest<'j>(jobs: impl Iterator<Item = &'j JobRecord>, now: Timestamp) -> Option<Timestamp> {
    let begun = jobs.filter_map(|job| job.started.parse::<Timestamp>().ok());
    begun.filter(|begun| *begun <= now).max()
}

fn is_over(then: Option<Timestamp>, span: SignedDuration, now: Timestamp) -> bool {
    then.is_none_or(|then| now.duration_since(then) >= span)
}

/// How far the reading of the vault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) unread_since: Timestamp,
    pub(crate) bytes_never_read: u64,
    /// When every byte will have been read once more, or for the first time, if the agent goes on as it should.
    pub(crate) all_read_by: Option<Timestamp>,
    /// Whether some byte was not read for longer than the policy allows.
    pub(crate) is_late: bool,
}

/// How far the reading is, if every byte is to be read within `every`.
pub(crate) fn standing(every: Duration, reading: Reading, now: Timestamp) -> Standing {
    let every_s = every.as_secs().max(DAY_S);
    let all_read_by = if reading.bytes_never_read > 0 {
        let share = reading.bytes.div_ceil(every_s / DAY_S).max(1);
        let days = reading.bytes_never_read.div_ceil(share);
        later(now, days.saturating_mul(DAY_S))
    } else {
        later(reading.unread_since, every_s)
    };
    let latest = later(reading.unread_since, every_s.saturating_add(2 * DAY_S));
    Standing {
        unread_since: reading.unread_since,
        bytes_never_read: reading.bytes_never_read,
        all_read_by,
        is_late: latest.is_some_and(|latest| latest < now),
    }
}

fn later(time: Timestamp, seconds: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(seconds).ok()?;
    time.checked_add(SignedDuration::from_secs(seconds)).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::tz::TimeZone;
    use lockstone_proto::ids::JobId;
    use serde_json::Map;

    use super::*;
    use crate::policy::parse;

    fn policy() -> Policy {
        let text = "system_state = true\n[retention]\ndaily = { days = 7 }\n[check]\nevery = \"30d\"\n\
                    [test_restore]\nevery = \"7d\"\nfiles = 3\n";
        parse(text, &TimeZone::UTC).unwrap()
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn job(kind: JobKind, word: &str, began: i64, state: JobState) -> JobRecord {
        let request = Map::from_iter([(word.to_owned(), true.into())]);
        let mut record = JobRecord::start(JobId([1; 16]), kind, request);
        record.started = at(began).to_string();
        record.state = state;
        record
    }

    #[test]
    fn a_share_is_read_each_day_and_a_try_that_failed_is_made_again() {
        let due_at = |jobs: &[&JobRecord], hours| {
            let jobs: Vec<JobRecord> = jobs.iter().map(|job| (*job).clone()).collect();
            due(&policy(), at(0), &jobs, at(hours)).check.is_some()
        };
        assert!(due_at(&[], 0));
        let done = job(JobKind::Check, ROUND, 0, JobState::Completed);
        assert!(!due_at(&[&done], 21) && due_at(&[&done], 22));
        let mut damaged = job(JobKind::Check, ROUND, 0, JobState::Failed);
        assert!(!due_at(&[&damaged], 0) && due_at(&[&damaged], 1), "the store was away");
        damaged.report.insert("damaged".to_owned(), 1.into());
        assert!(!due_at(&[&damaged], 21));
        let cancelled = job(JobKind::Check, ROUND, 0, JobState::Cancelled);
        assert!(due_at(&[&cancelled], 1));
        // A check that somebody asked for is no share, and one from the future says nothing.
        assert!(due_at(&[&job(JobKind::Check, "read_data", 0, JobState::Completed)], 1));
        assert!(due_at(&[&job(JobKind::Check, ROUND, 100, JobState::Completed)], 1));
    }

    #[test]
    fn a_test_restore_is_due_again_and_somebody_hears_if_it_is_late() {
        let due_at = |jobs: &[&JobRecord], hours| {
            let jobs: Vec<JobRecord> = jobs.iter().map(|job| (*job).clone()).collect();
            due(&policy(), at(0), &jobs, at(hours))
        };
        assert_eq!(due_at(&[], 0).test.map(|test| test.files), Some(3));
        assert_eq!(due_at(&[], 0).overdue, None);
        let done = job(JobKind::Restore, TEST, 0, JobState::Completed);
        let week = 7 * 24;
        assert!(due_at(&[&done], week - 1).test.is_none() && due_at(&[&done], week).test.is_some());
        assert_eq!(due_at(&[&done], week + 48).overdue, None);
        assert_eq!(due_at(&[&done], week + 49).overdue, Some(at(week)));
        let failed = job(JobKind::Restore, TEST, week, JobState::Failed);
        assert!(due_at(&[&done, &failed], week).test.is_none());
        assert!(due_at(&[&done, &failed], week + 1).test.is_some());
        assert_eq!(due_at(&[], week + 49).overdue, Some(at(week)));
    }

    #[test]
    fn it_is_said_when_everything_will_have_been_read() {
        let month = Duration::from_secs(30 * DAY_S);
        let reading = Reading {
            unread_since: at(0),
            bytes: 3000,
            bytes_never_read: 1000,
        };
        let so_far = standing(month, reading, at(24));
        assert_eq!(so_far.all_read_by, Some(at(24 * 11)));
        assert!(!so_far.is_late && standing(month, reading, at(24 * 33)).is_late);
        let all = Reading {
            bytes_never_read: 0,
            ..reading
        };
        assert_eq!(standing(month, all, at(24)).all_read_by, Some(at(24 * 30)));
    }
}
