//! What a job could not keep or give back as it was.

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

/// Where the stages of a job put their warnings.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    state: Mutex<(Vec<Warning>, u64)>,
}

impl Warnings {
    pub(crate) fn add(&self, path: impl Into<Vec<u8>>, message: impl Into<String>) {
        let warning = Warning {
            path: path.into(),
            message: message.into(),
        };
        tracing::debug!(path = %String::from_utf8_lossy(&warning.path), "{}", warning.message);
        let mut state = self.state.lock();
        state.1 += 1;
        if state.0.len() < MAX_KEPT {
            state.0.push(warning);
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
        self.state.lock().1
    }

    /// Forgets all. Called when a generation begins, as it meets the same files again.
    pub(crate) fn clear(&self) {
        *self.state.lock() = (Vec::new(), 0);
    }

    /// The warnings that were kept, and the count of all.
    pub(crate) fn take(&self) -> (Vec<Warning>, u64) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.0), state.1)
    }
}
