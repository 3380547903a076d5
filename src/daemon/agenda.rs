//! Which run of the schedule has to be done now. Pure: values in, a decision out.
//!
//! Only the newest run that is due counts, so a machine that was off, or a clock that was set forward, leads to one
//! backup and not to one for each run that was passed over. What was done is read from the records of jobs. A run is
//! never done twice, also if the clock is set back. A run that was interrupted is done again.

use std::time::Duration;

use jiff::Timestamp;

use crate::policy::{Run, Schedule};

/// A job that did a run of the schedule, or tried to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    /// When the run was due.
    pub(super) at: Timestamp,
    /// Whether that is all that becomes of the run: it succeeded, failed or was cancelled. An interrupted one is not
    /// settled.
    pub(super) settled: bool,
}

/// When the schedule counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// Runs before this are not missed: there was no such schedule, or it was paused.
    pub(super) since: Timestamp,
    /// Since when somebody has looked at the schedule without a break. Runs before it were missed.
    pub(super) from: Timestamp,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this time. `None`: nothing at all.
    Wait(Option<Timestamp>),
    /// This run.
    Run(Run),
    /// Nothing, but this run was missed, and the policy says that it is not made up for.
    Missed(Run),
}

/// What has to be done now. `delay` is by how much a run begins later than it is due.
pub(super) fn due(
    schedule: &Schedule,
    watch: Watch,
    tried: &[Tried],
    now: Timestamp,
    delay: impl Fn(Timestamp) -> Duration,
) -> Due {
    let begins = |run: &Run| run.at.checked_add(delay(run.at)).unwrap_or(Timestamp::MAX);
    if let Some(run) = schedule.latest(watch.since, now)
        && !is_done(&run, tried, now)
    {
        let was_begun = tried.iter().any(|tried| tried.at == run.at);
        if run.at < watch.from && !schedule.catch_up && !was_begun {
            return Due::Missed(run);
        }
        return match begins(&run) {
            begin if begin <= now => Due::Run(run),
            begin => Due::Wait(Some(begin)),
        };
    }
    Due::Wait(schedule.next(now).as_ref().map(begins))
}

/// Whether nothing is left to do for a run. Runs that claim to come later than now were done while the clock was wrong:
/// they say nothing about this one.
fn is_done(run: &Run, tried: &[Tried], now: Timestamp) -> bool {
    let settled = tried.iter().filter(|tried| tried.settled);
    settled
        .into_iter()
        .any(|tried| run.at <= tried.at && (tried.at == run.at || tried.at <= now))
}

/// By how much a run begins later than it is due: always the same for the same run of the same server, so that a
/// restart does not change it.
pub(super) fn delay(most: Duration, server: &[u8], run: Timestamp) -> Duration {
    let hash = blake3::Hasher::new()
        .update(server)
        .update(&run.as_second().to_le_bytes())
        .finalize();
    let (first, _) = hash.as_bytes().split_at(8);
    let number = first.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Duration::from_secs(number % (most.as_secs() + 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
