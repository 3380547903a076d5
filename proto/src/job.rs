//! Job records, generated from `proto/job.proto`, which documents each field; and the words by which `--json`, local
//! records and metrics name the kinds and states of jobs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

pub use self::generated::*;

#[allow(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated from proto/job.proto, which documents it"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/lockstone.job.v1.rs"));
}

/// A word that names no kind or no state of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a {what} of a job")]
pub struct UnknownWord {
    /// What was wanted: "kind" or "state".
    pub what: &'static str,
    /// The word that was found instead.
    pub word: String,
}

impl JobKind {
    /// Every kind of job that this program runs.
    pub const ALL: [Self; 4] = [Self::Backup, Self::Restore, Self::Check, Self::Collect];

    /// The word for this kind: lower case, such as `backup`. A record of an unknown kind is simply a `job`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Check => "check",
            Self::Collect => "gc",
            Self::Unspecified => "job",
        }
    }
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Cancelling,
        Self::Completed,
        Self::CompletedWithWarnings,
        Self::Cancelled,
        Self::Failed,
    ];
    /// The states that never change again.
    pub const ENDED: [Self; 4] = [
        Self::Completed,
        Self::CompletedWithWarnings,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The word for this state: camel case, such as `CompletedWithWarnings`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Cancelling => "Cancelling",
            Self::Completed => "Completed",
            Self::CompletedWithWarnings => "CompletedWithWarnings",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether the job has ended, in whatever way.
    #[must_use]
    pub fn has_ended(self) -> bool {
        Self::ENDED.contains(&self)
    }

    /// Whether the job did what it was asked, with warnings or without.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithWarnings)
    }
}

/// Writes and reads an enum by its words.
macro_rules! by_word {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                let found = Self::ALL.into_iter().find(|value| value.word() == word);
                found.ok_or_else(|| UnknownWord {
                    what: $what,
                    word: word.to_owned(),
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.word())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = <Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

by_word!(JobKind, "kind");
by_word!(JobState, "state");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_state_is_read_back_from_its_word() {
        for kind in JobKind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
        }
        for state in JobState::ALL {
            assert_eq!(state.word().parse(), Ok(state));
            assert_eq!(state.to_string(), state.word());
        }
        assert!("Backup".parse::<JobKind>().is_err());
        assert!("completed".parse::<JobState>().is_err());
    }

    #[test]
    fn a_success_has_ended() {
        for state in JobState::ALL {
            assert!(!state.is_success() || state.has_ended());
        }
        assert!(!JobState::Running.has_ended());
    }
}
