//! What a job could not keep or give back as it was.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Something that could not be kept or given back as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The path that it is about, in any bytes. Empty if it is about no path.
    pub path: Vec<u8>,
    /// What happened.
    pub message: String,
}

/// At most this many warnings are kept word for word; all are counted.
const MAX_KEPT: usize = 10_000;
/// Of warnings that differ only in numbers, at most this many are kept: a restore without root warns about the owner of
/// each file, and other warnings must have room, too.
const MAX_ALIKE: usize = 2_000;

/// Where the stages of a job put their warnings.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<Warning>,
    /// How many are kept, by the message without its digits.
    alike: HashMap<String, usize>,
    count: u64,
}

impl Warnings {
    pub(crate) fn add(&self, path: impl Into<Vec<u8>>, message: impl Into<String>) {
        let warning = Warning {
            path: path.into(),
            message: message.into(),
        };
        tracing::debug!(path = %String::from_utf8_lossy(&warning.path), "{}", warning.message);
        let mut state = self.state.lock();
        state.count += 1;
        if state.kept.len() >= MAX_KEPT {
            return;
        }
        let kind: String = warning.message.chars().filter(|char| !char.is_ascii_digit()).collect();
        let alike = state.alike.entry(kind).or_default();
        *alike += 1;
        if *alike <= MAX_ALIKE {
            state.kept.push(warning);
        }
    }

    /// Adds all problems of one path. `path` is only called if there are any.
    pub(crate) fn all(&self, path: impl Fn() -> Vec<u8>, problems: Vec<String>) {
        for problem in problems {
            self.add(path(), problem);
        }
    }

    /// How many warnings there were, kept or not.
    pub(crate) fn count(&self) -> u64 {
        self.state.lock().count
    }

    /// Forgets all. Called when a generation begins, as it meets the same files again.
    pub(crate) fn clear(&self) {
        *self.state.lock() = State::default();
    }

    /// The warnings that were kept, and the count of all.
    pub(crate) fn take(&self) -> (Vec<Warning>, u64) {
        let mut state = self.state.lock();
        state.alike.clear();
        (std::mem::take(&mut state.kept), state.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_one_kind_leave_room_for_others() {
        let warnings = Warnings::default();
        for number in 0..15_000 {
            warnings.add(format!("/{number}"), format!("its owner {number}:7 could not be set"));
        }
        warnings.add("/dev", "could not be restored");
        assert_eq!(warnings.count(), 15_001);
        let (kept, count) = warnings.take();
        assert_eq!((kept.len(), count), (MAX_ALIKE + 1, 15_001));
        assert_eq!(kept.last().map(|warning| &warning.path[..]), Some(&b"/dev"[..]));
    }
}
