//! `clock.json`: the latest time that this machine has seen. The file only grows, and it is there on machines that are
//! not registered, too. So credentials that have expired here do not become valid because somebody sets the clock back.
//!
//! A clock that is far ahead must not shut the machine out for ever. So what is remembered is bounded. Where
//! credentials are used, it is not after their own end: that is enough to keep them from coming back, and others that
//! end later stay good. A store that is ahead of this machine by more than [`AGREE`] is not remembered. Where no
//! credentials are used, this machine's clock and the store's have to vouch for each other.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::files::write_atomically;
use super::folder::StateFolder;

/// Clocks that differ by less vouch for each other.
const AGREE: SignedDuration = SignedDuration::from_hours(24);
/// The file is written again only if it grows by more, so that not every command writes it.
const STEP: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug, Serialize, Deserialize)]
struct ClockFile {
    /// The latest time that was seen.
    seen: Timestamp,
}

/// The latest time that this machine has seen; `None` if it does not remember one. A file that cannot be read counts as
/// none: it only adds safety, and must not prevent a restore.
pub(crate) fn load(state: &StateFolder) -> Option<Timestamp> {
    let text = std::fs::read(state.clock()).ok()?;
    match serde_json::from_slice::<ClockFile>(&text) {
        Ok(file) => Some(file.seen),
        Err(error) => {
            tracing::warn!(path = %state.clock().display(), %error, "not a file of the latest time");
            None
        }
    }
}

/// The time to remember, if two clocks show these times. `None` if nothing new is to be remembered.
fn vouched_for(seen: Option<Timestamp>, local: Timestamp, store: Option<Timestamp>) -> Option<Timestamp> {
    let store = store?;
    let agree = local.duration_since(store).abs() <= AGREE;
    let time = if agree { local.max(store) } else { local.min(store) };
    seen.is_none_or(|seen| time.duration_since(seen) > STEP).then_some(time)
}

/// The time to remember, if credentials are used that end at `end`. `None` if nothing new is to be remembered.
fn bounded(seen: Option<Timestamp>, local: Timestamp, store: Option<Timestamp>, end: Timestamp) -> Option<Timestamp> {
    let store = store.filter(|store| store.duration_since(local) <= AGREE);
    let time = store.map_or(local, |store| store.max(local)).min(end);
    seen.is_none_or(|seen| time > seen).then_some(time)
}

/// Remembers the time of a job, as far as it can be believed.
pub(crate) fn remember(state: &StateFolder, local: Timestamp, store: Option<Timestamp>) {
    if let Some(seen) = vouched_for(load(state), local, store) {
        save(state, seen);
    }
}

/// Remembers the time at which credentials were used that end at `end`, also if they were refused.
pub(crate) fn remember_use(state: &StateFolder, local: Timestamp, store: Option<Timestamp>, end: Timestamp) {
    if let Some(seen) = bounded(load(state), local, store, end) {
        save(state, seen);
    }
}

/// Writes the file. The state folder is made if it is missing. What cannot be written is only logged.
fn save(state: &StateFolder, seen: Timestamp) {
    let write = || -> anyhow::Result<()> {
        state.prepare()?;
        let text = serde_json::to_vec(&ClockFile { seen })?;
        write_atomically(&state.clock(), &text, 0o600).context("the latest time is not noted")
    };
    if let Err(error) = write() {
        tracing::warn!("{error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000 + hours)
    }

    #[test]
    fn only_a_time_that_two_clocks_vouch_for_is_remembered() {
        assert_eq!(vouched_for(None, at(0), None), None);
        assert_eq!(vouched_for(None, at(0), Some(at(1))), Some(at(1)));
        assert_eq!(vouched_for(None, at(1), Some(at(0))), Some(at(1)));
        // One of the two is wrong, and it is not known which.
        assert_eq!(vouched_for(None, at(0), Some(at(100_000))), Some(at(0)));
        assert_eq!(vouched_for(None, at(100_000), Some(at(0))), Some(at(0)));
    }

    #[test]
    fn what_is_remembered_only_grows() {
        assert_eq!(vouched_for(Some(at(5)), at(0), Some(at(0))), None);
        assert_eq!(vouched_for(Some(at(5)), at(5), Some(at(5))), None);
        assert_eq!(vouched_for(Some(at(5)), at(6), Some(at(5))), Some(at(6)));
    }

    #[test]
    fn credentials_that_have_ended_stay_so_and_bound_what_a_wrong_clock_does() {
        let end = at(240);
        assert_eq!(bounded(None, at(0), None, end), Some(at(0)));
        assert_eq!(bounded(None, at(0), Some(at(3)), end), Some(at(3)));
        assert_eq!(
            bounded(None, at(0), Some(at(100)), end),
            Some(at(0)),
            "a store that is far ahead"
        );
        assert_eq!(
            bounded(Some(at(0)), at(100_000), None, end),
            Some(end),
            "a clock that is far ahead"
        );
        assert_eq!(bounded(Some(end), at(100_000), None, end), None);
        assert_eq!(bounded(Some(at(5)), at(0), Some(at(4)), end), None);
    }
}
