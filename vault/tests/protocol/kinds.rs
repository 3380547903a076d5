//! What the steps are and what comes of them, so that a test can ask whether all of it happened.

use crate::state::{Reader, Standing, State};
use crate::steps::{Rules, Step};

/// What steps are taken, and what comes of them.
pub(crate) const KINDS: [&str; 17] = [
    "a backup finds chunks",
    "a backup takes chunks over",
    "a pack is written",
    "a pack is listed before the commit",
    "a point is committed",
    "a point is committed, and the answer is lost",
    "a commit finds its own point",
    "a commit is refused: a parent is gone",
    "a commit is refused: a pack that it found was condemned",
    "a commit is refused: its own pack was condemned",
    "a point is forgotten",
    "a point is brought back",
    "a collector reads on and marks",
    "points become gone",
    "an orphan is condemned",
    "packs are replaced",
    "a restore reads the log again",
];

impl Rules {
    /// What a step is; empty if none of the kinds.
    pub(crate) fn what_it_is(self, state: &State, step: Step) -> &'static str {
        match step {
            Step::Begin { relied, .. } if !relied.is_empty() => KINDS[0],
            Step::Begin { parents, .. } if !parents.is_empty() => KINDS[1],
            Step::Upload(_) => KINDS[2],
            Step::Checkpoint(_) => KINDS[3],
            Step::Commit { by, is_answered } => state.backups[by].map_or("", |backup| {
                let condemned = state.condemned();
                let gone = backup.parents.filter(|n| state.point(n).standing == Standing::Gone);
                if state.point(backup.point).standing != Standing::Unknown {
                    KINDS[6]
                } else if self.is_valid(state, &backup) {
                    KINDS[if is_answered { 4 } else { 5 }]
                } else if !gone.is_empty() {
                    KINDS[7]
                } else {
                    KINDS[if backup.relied.meets(condemned) { 8 } else { 9 }]
                }
            }),
            Step::Forget(_) => KINDS[10],
            Step::Undelete(_) => KINDS[11],
            Step::ReadOn { by, kept } if state.collections[by].is_some_and(|one| one.kept != kept) => KINDS[12],
            Step::Condemn { by, packs, .. } => state.collections[by].map_or("", |collection| {
                if !collection.gone.is_empty() {
                    KINDS[13]
                } else if packs.meets(collection.orphans) {
                    KINDS[14]
                } else {
                    ""
                }
            }),
            Step::Repack { .. } => KINDS[15],
            Step::Read => match state.reader {
                Reader::Reads { places, .. } if places.is_empty() => KINDS[16],
                _ => "",
            },
            _ => "",
        }
    }
}
