//! What the policy says of the care for the vault: how often its content is read, and how often files are restored on
//! trial.

use std::path::PathBuf;
use std::time::Duration;

use super::Check;
use super::raw::{At, RawCheck, RawTest};

const A_DAY: Duration = Duration::from_secs(86_400);
/// The longest time that can be asked for: ten years.
const LONGEST_DAYS: u64 = 3650;

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

    /// A whole number of days, such as "30d".
    fn days(&mut self, raw: &At<String>) -> Duration {
        let days = raw.get_ref().trim().strip_suffix('d').and_then(|days| days.trim().parse::<u64>().ok());
        match days {
            Some(days @ 1..=LONGEST_DAYS) => A_DAY.saturating_mul(u32::try_from(days).unwrap_or(1)),
            _ => {
                self.wrong(raw, "every is a number of days such as \"30d\", from 1d to 3650d");
                A_DAY
            }
        }
    }
}
