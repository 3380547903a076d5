//! What a check is asked, and what it answers.

use std::time::Duration;

use jiff::Timestamp;

use crate::damage::{Damage, DamageKind};

/// What a check reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckOptions {
    /// The percentage of packs whose content is read, those first that were not read for the longest time; `None` for
    /// none. For the others a listing shows that they are there. Packs that were found damaged are read in any case.
    pub read_data: Option<f64>,
    /// Every byte is to be read within this time, by a check each day. This check reads its share. Instead of
    /// `read_data`.
    pub round: Option<Duration>,
    /// Decides between packs that were not read for equally long.
    pub sample: u64,
    /// How many packs are read at the same time, at least 1.
    pub workers: usize,
    /// Whether what is damaged is repaired, as far as that is possible here.
    pub repair: bool,
    /// The time of the check, by this server's clock.
    pub now: Timestamp,
}

impl CheckOptions {
    /// Only the structure is checked.
    pub const STRUCTURE: Self = Self {
        read_data: None,
        round: None,
        sample: 0,
        workers: 1,
        repair: false,
        now: Timestamp::UNIX_EPOCH,
    };

    /// Whether the content of packs is read that nothing is known against.
    #[must_use]
    pub fn reads_data(&self) -> bool {
        self.read_data.is_some() || self.round.is_some()
    }
}

/// The progress of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// The current phase: `log`, `segments`, `packs`, `data`, `points` or `repair`.
    pub what: &'static str,
    /// How many of them are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
    /// How many packs were read, in all phases.
    pub packs_read: u64,
    /// How many packs are to be read.
    pub packs_to_read: u64,
    /// How many bytes of packs were read.
    pub bytes_read: u64,
    /// How many bytes the packs that are to be read have.
    pub bytes_to_read: u64,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckReport {
    /// How many packs were looked for.
    pub packs: u64,
    /// How many packs were read.
    pub packs_read: u64,
    /// How many packs were to be read.
    pub packs_to_read: u64,
    /// How many bytes of packs were read.
    pub bytes_read: u64,
    /// How many bytes the packs that were to be read have.
    pub bytes_to_read: u64,
    /// How many packs were not read, because a check that was stopped had read them.
    pub packs_read_before: u64,
    /// How many chunks the points need. Chunks in shared folders count once.
    pub chunks: u64,
    /// How many points were walked.
    pub points: u64,
    /// Everything that is damaged.
    pub damaged: Vec<Damage>,
    /// Objects that are not what they should be, but cost nothing: packs that no point needs any more, and objects in
    /// the log that are no entries.
    pub harmless: Vec<Damage>,
    /// What was repaired.
    pub repaired: Vec<Repaired>,
    /// Why nothing could be repaired, if so.
    pub not_repaired: Option<String>,
    /// Whether the check was cancelled. Then the report is incomplete.
    pub cancelled: bool,
}

/// Something that a check repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The object's name in the vault.
    pub object: String,
    /// What kind of object it is.
    pub kind: DamageKind,
    /// What was done, in words.
    pub how: String,
}

impl CheckReport {
    /// What was read in this check, and what the next one found after the repair.
    pub(super) fn followed_by(self, next: Self) -> Self {
        Self {
            packs_read: self.packs_read,
            packs_to_read: self.packs_to_read,
            bytes_read: self.bytes_read,
            bytes_to_read: self.bytes_to_read,
            packs_read_before: self.packs_read_before,
            repaired: [self.repaired, next.repaired].concat(),
            not_repaired: next.not_repaired.or(self.not_repaired),
            ..next
        }
    }

    /// Whether everything that was checked is whole.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.damaged.is_empty() && !self.cancelled
    }
}
