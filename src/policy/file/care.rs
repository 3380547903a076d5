//! What the policy says of the care for the vault: how often its content is read, and how often files are restored on
//! trial.

use std::path::PathBuf;
use std::time::Duration;

use super::Check;
use super::raw::{At, RawCheck, RawTest};
use crate::text::units;

/// How many files are restored if the policy does not say it.
const FILES: usize = 20;
const MOST_FILES: i64 = 10_000;

/// A trial of a restore, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestRestore {
    /// How often.
    pub(crate) every: Duration,
    /// How many files, chosen at random.
    pub(crate) files: usize,
    /// Where they are restored to, for as long as it takes. `None`: a folder in the state folder.
    pub(crate) folder: Option<PathBuf>,
}

impl Check<'_> {
    pub(super) fn check(&mut self, raw: Option<&RawCheck>) -> Option<Duration> {
        Some(self.days(&raw?.every))
    }

    pub(super) fn test_restore(&mut self, raw: Option<&RawTest>) -> Option<TestRestore> {
        let raw = raw?;
        let mut files = FILES;
        if let Some(count) = &raw.files {
            match *count.get_ref() {
                count @ 1..=MOST_FILES => files = usize::try_from(count).unwrap_or(FILES),
                _ => self.wrong(count, "files is 1 to 10000"),
            }
        }
        Some(TestRestore {
            every: self.days(&raw.every),
            files,
            folder: raw.folder.as_ref().map(|folder| self.absolute(folder)),
        })
    }

    fn days(&mut self, raw: &At<String>) -> Duration {
        units::days(raw.get_ref()).unwrap_or_else(|message| {
            self.wrong(raw, message);
            Duration::ZERO
        })
    }
}
