//! Which packs the readable segments list. The index of this machine may know more: a segment, or the log entry that
//! named it, can be lost after it was read here. No other machine finds what only such a segment lists.

use super::{Check, Lost};
use crate::error::VaultError;

/// The reason of a pack that no segment lists.
pub(super) const UNLISTED: &str = "no segment that the log names lists it";

/// A set of packs by their numbers in the index, a bit each.
#[derive(Debug, Default)]
pub(super) struct Packs(Vec<u64>);

impl Packs {
    pub(super) fn add(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    pub(super) fn has(&self, number: u32) -> bool {
        self.0
            .get(number as usize / 64)
            .is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }
}

impl Check<'_> {
    /// What no segment lists counts as lost, and no backup of this machine relies on it any more. Restores here can
    /// still use it.
    pub(super) fn unlisted(&mut self) -> Result<(), VaultError> {
        if self.is_cancelled() {
            return Ok(());
        }
        for first in 0..=u8::MAX {
            let mut unlisted = Vec::new();
            self.domain.index().packs_beginning(first, &mut |id, number| {
                if !self.listed.has(number) {
                    unlisted.push((id, number));
                }
                true
            })?;
            for (id, number) in unlisted {
                if !self.domain.index().is_condemned(&id) {
                    self.distrust(&id, UNLISTED)?;
                    self.lost.insert(number, Lost::All);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_added() {
        let mut packs = Packs::default();
        for number in [0, 63, 64, 1000] {
            packs.add(number);
        }
        let has: Vec<u32> = (0..1100).filter(|number| packs.has(*number)).collect();
        assert_eq!(has, [0, 63, 64, 1000]);
    }
}
