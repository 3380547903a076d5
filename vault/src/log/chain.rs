//! The chain of a log: which objects at the positions of a log count, given that some are missing, damaged or foreign.
//! Pure: values in, verdicts out.
//!
//! Each position has a *link*. An entry names the link of the position before it. The link of an entry is the BLAKE3
//! hash of its object. An object that is no entry of this log is *void*. Its link is made of its hash and the link
//! before it, so that the next entry accounts for it, and all readers agree. If the next entry names another link, then
//! something else stood there when that entry was written: what is there now is damaged, and what it said is lost.
//!
//! A writer that cannot read what stands at the end names zeros. A writer that knows what stood there names its link.

use super::LogHead;

const VOID: &[u8] = b"lockstone v1 void\0";
/// The link that a writer names if it cannot read what stands before its entry.
pub(super) const UNKNOWN: [u8; 32] = [0; 32];

/// The link of a void object with that hash. `before` is the link of the position before it.
pub(crate) fn void_link(before: &[u8; 32], hash: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(VOID)
        .update(before)
        .update(hash)
        .finalize()
        .as_bytes()
}

/// Positions that hold no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) reason: String,
    /// The hash of the object; `None` if there is none that can be read.
    hash: Option<[u8; 32]>,
    /// The link of the entry that stood there, if this machine saw it.
    known: Option<[u8; 32]>,
    missing: bool,
}

impl Skipped {
    /// An object that is no entry of this log.
    pub(crate) fn void(n: u64, object: &[u8], reason: impl ToString) -> Self {
        Self::at(n, Some(*blake3::hash(object).as_bytes()), reason)
    }

    /// An object that cannot be read.
    pub(crate) fn unreadable(n: u64, reason: impl ToString) -> Self {
        Self::at(n, None, reason)
    }

    /// A void object that was accounted for before; only its hash is kept.
    pub(crate) fn kept(n: u64, hash: [u8; 32]) -> Self {
        Self::at(n, Some(hash), "it is no entry of this log")
    }

    /// Positions without an object.
    pub(crate) fn missing(first: u64, last: u64) -> Self {
        Self {
            first,
            last,
            missing: true,
            ..Self::at(first, None, "it is missing")
        }
    }

    fn at(n: u64, hash: Option<[u8; 32]>, reason: impl ToString) -> Self {
        Self {
            first: n,
            last: n,
            reason: reason.to_string(),
            hash,
            known: None,
            missing: false,
        }
    }

    /// The hash of the object, of one that can be read.
    pub(crate) fn hash(&self) -> Option<[u8; 32]> {
        self.hash
    }

    /// Whether there is no object.
    pub(super) fn is_missing(&self) -> bool {
        self.missing
    }
}

/// What an entry says about the positions before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// It continues the chain. These void objects are accounted for.
    Chained(Vec<Skipped>),
    /// What these positions held is lost.
    Lost(Vec<Skipped>),
    /// It follows another entry than the one that stands before it.
    Broken,
}

/// A walk along a log.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// The last entry that was believed.
    head: LogHead,
    /// What stands behind it, in order.
    skipped: Vec<Skipped>,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            head: LogHead::START,
            skipped: Vec::new(),
        }
    }
}

impl Chain {
    /// The last entry that was believed.
    pub(crate) fn head(&self) -> LogHead {
        self.head
    }

    /// The last position that was read and its link. The next entry belongs behind it.
    pub(crate) fn end(&self) -> LogHead {
        LogHead {
            n: self.skipped.last().map_or(self.head.n, |last| last.last),
            hash: self.link().unwrap_or(UNKNOWN),
        }
    }

    /// The positions behind the last entry that hold none.
    pub(crate) fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    fn link(&self) -> Option<[u8; 32]> {
        self.skipped
            .iter()
            .try_fold(self.head.hash, |link, skipped| match (skipped.known, skipped.hash) {
                (Some(known), _) => Some(known),
                (None, Some(hash)) => Some(void_link(&link, &hash)),
                (None, None) => None,
            })
            .or_else(|| {
                // What comes after a position whose link is known does not depend on what comes before it.
                let known = self.skipped.iter().rposition(|skipped| skipped.known.is_some())?;
                let link = self.skipped[known].known?;
                let mut behind = self.skipped[known + 1..].iter();
                behind.try_fold(link, |link, skipped| Some(void_link(&link, &skipped.hash?)))
            })
    }

    /// The next positions hold no entry.
    pub(crate) fn skip(&mut self, skipped: Skipped) {
        self.skipped.push(skipped);
    }

    /// This machine knows that an entry with this hash stood at position `n`, which holds no entry now.
    pub(crate) fn know(&mut self, n: u64, hash: [u8; 32]) {
        if let Some(skipped) = self.skipped.iter_mut().find(|at| at.first == n && at.last == n) {
            skipped.known = Some(hash);
        }
    }

    /// The next position holds an entry that names this link.
    pub(crate) fn accept(&mut self, head: LogHead, previous: &[u8; 32]) -> Before {
        let link = self.link();
        let skipped = std::mem::take(&mut self.skipped);
        self.head = head;
        if head.n > 1 && *previous == UNKNOWN {
            return if skipped.is_empty() {
                Before::Chained(skipped)
            } else {
                Before::Lost(skipped)
            };
        }
        match (link == Some(*previous), skipped.is_empty()) {
            (true, _) if skipped.iter().all(|at| at.known.is_none()) => Before::Chained(skipped),
            (_, false) => Before::Lost(skipped),
            (_, true) => Before::Broken,
        }
    }

    /// The walk has come to its end. Positions are missing only if an entry stands behind them. Returns the objects
    /// behind the end, which count when the log has grown that far.
    pub(crate) fn finish(&mut self) -> Vec<Skipped> {
        let gap = self.skipped.iter().position(|skipped| skipped.missing);
        let mut ahead = gap.map_or_else(Vec::new, |gap| self.skipped.split_off(gap));
        ahead.retain(|skipped| !skipped.missing);
        ahead
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn head(n: u64) -> LogHead {
        LogHead { n, hash: [n as u8; 32] }
    }

    /// A chain whose last entry is at 4.
    fn chain() -> Chain {
        let mut chain = Chain::default();
        for n in 1..=4 {
            let before = chain.end().hash;
            assert_eq!(chain.accept(head(n), &before), Before::Chained(Vec::new()));
        }
        chain
    }

    #[test]
    fn void_objects_are_accounted_for_by_the_next_entry() {
        let mut chain = chain();
        let void = [Skipped::void(5, b"junk", "junk"), Skipped::void(6, b"more", "junk")];
        for skipped in &void {
            chain.skip(skipped.clone());
        }
        let end = chain.end();
        assert_eq!((end.n, chain.head()), (6, head(4)));
        assert_eq!(chain.accept(head(7), &end.hash), Before::Chained(void.to_vec()));
        assert_eq!(chain.end(), head(7));
    }

    #[test]
    fn an_object_that_changed_after_the_next_entry_was_written_is_lost() {
        let mut chain = chain();
        let rotten = Skipped::void(5, b"rotten", "rotten");
        chain.skip(rotten.clone());
        assert_eq!(chain.accept(head(6), &[5; 32]), Before::Lost(vec![rotten]));
        let gone = Skipped::missing(7, 8);
        chain.skip(gone.clone());
        assert_eq!(chain.accept(head(9), &[8; 32]), Before::Lost(vec![gone]));
        assert_eq!(chain.accept(head(10), &[77; 32]), Before::Broken);
    }

    #[test]
    fn a_writer_goes_on_behind_what_it_cannot_read() {
        let mut chain = chain();
        let unreadable = Skipped::unreadable(5, "EIO");
        chain.skip(unreadable.clone());
        assert_eq!(chain.end(), LogHead { n: 5, hash: UNKNOWN });
        assert_eq!(chain.accept(head(6), &UNKNOWN), Before::Lost(vec![unreadable.clone()]));
        // A later reader, for whom it can be read, finds nothing wrong.
        assert_eq!(chain.accept(head(7), &UNKNOWN), Before::Chained(Vec::new()));

        // A writer that knows what stood there says so. For others it is lost, and not void.
        chain.skip(Skipped::unreadable(8, "EIO"));
        chain.know(8, [8; 32]);
        assert_eq!(chain.end(), head(8));
        assert!(matches!(chain.accept(head(9), &[8; 32]), Before::Lost(_)));
    }

    #[test]
    fn junk_far_ahead_does_not_move_the_end() {
        let mut chain = chain();
        chain.skip(Skipped::void(5, b"junk", "junk"));
        let end = chain.end();
        chain.skip(Skipped::missing(6, 99));
        chain.skip(Skipped::void(100, b"far", "junk"));
        let ahead = chain.finish();
        assert_eq!((ahead.len(), ahead[0].first), (1, 100));
        assert_eq!(chain.end(), end);
    }
}
