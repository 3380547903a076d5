//! The sum of the Repair entries of a log: which losses are accounted for, which packs a server found damaged, and
//! which recovery points lost something. Pure: entries are added one by one.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use lockstone_proto::ids::{PackId, PointId, SegmentId};
use lockstone_proto::vault::RepairBody;

use super::Body;
use crate::damage::{Damage, DamageKind};
use crate::store::names;

/// What the log says of a damaged pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It was found damaged or missing.
    Bad,
    /// It was found damaged or missing, and no recovery point needs it.
    Unneeded,
}

/// Adds up Repair entries. Memory grows with what was ever found damaged.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    positions: BTreeSet<u64>,
    segments: HashSet<SegmentId>,
    packs: HashMap<PackId, Word>,
    lossy: Vec<PointId>,
}

impl Repairs {
    /// Adds the next entry; those of other kinds change nothing.
    pub(crate) fn add(&mut self, body: &Body) {
        let Body::Repair(points, body) = body else { return };
        self.lossy.clone_from(points);
        self.positions.extend(&body.positions);
        self.segments.extend(segment_ids(&body.lost_segment_ids));
        for (word, packs) in words(body) {
            for pack in packs {
                match word {
                    Some(word) => self.packs.insert(pack, word),
                    None => self.packs.remove(&pack),
                };
            }
        }
    }

    /// Whether it is known that the entry at this position is lost.
    pub(crate) fn is_lost(&self, position: u64) -> bool {
        self.positions.contains(&position)
    }

    /// Whether it is known that this segment cannot be read.
    pub(crate) fn is_lost_segment(&self, segment: &SegmentId) -> bool {
        self.segments.contains(segment)
    }

    /// What the log says of a pack, if it says that it is damaged.
    pub(crate) fn word(&self, pack: &PackId) -> Option<Word> {
        self.packs.get(pack).copied()
    }

    /// The points that lost something.
    pub(crate) fn lossy(&self) -> &[PointId] {
        &self.lossy
    }

    /// Whether a repair accounts for this damage to the log or to a segment.
    pub(crate) fn accounts_for(&self, damage: &Damage) -> bool {
        match damage.kind {
            DamageKind::Log => names::log_position(&damage.object).is_some_and(|n| self.is_lost(n)),
            DamageKind::Segment => {
                let id = damage.object.rsplit('/').next().and_then(|id| id.parse().ok());
                id.is_some_and(|id| self.is_lost_segment(&id))
            }
            _ => false,
        }
    }
}

/// The packs that a Repair names, with what it says of them. `None`: they were found whole again.
pub(crate) fn words(body: &RepairBody) -> [(Option<Word>, Vec<PackId>); 3] {
    let ids = |ids: &[Bytes]| ids.iter().filter_map(|id| PackId::try_from(id.as_ref()).ok()).collect();
    [
        (Some(Word::Bad), ids(&body.bad_pack_ids)),
        (Some(Word::Unneeded), ids(&body.unneeded_pack_ids)),
        (None, ids(&body.whole_pack_ids)),
    ]
}

fn segment_ids(ids: &[Bytes]) -> impl Iterator<Item = SegmentId> + '_ {
    ids.iter().filter_map(|id| SegmentId::try_from(id.as_ref()).ok())
}

#[cfg(test)]
mod tests {
    use lockstone_proto::ids::DomainId;

    use super::*;

    fn ids(n: u8) -> Vec<Bytes> {
        vec![vec![n; 32].into()]
    }

    #[test]
    fn the_newest_repair_decides() {
        let mut repairs = Repairs::default();
        let (first, second, pack) = (PointId([1; 16]), PointId([2; 16]), PackId([7; 32]));
        let bad = RepairBody {
            positions: vec![3],
            lost_segment_ids: ids(5),
            bad_pack_ids: ids(7),
            ..RepairBody::default()
        };
        repairs.add(&Body::Repair(vec![first], Box::new(bad)));
        assert_eq!((repairs.lossy(), repairs.word(&pack)), (&[first][..], Some(Word::Bad)));
        let unneeded = RepairBody {
            unneeded_pack_ids: ids(7),
            ..RepairBody::default()
        };
        repairs.add(&Body::Repair(vec![second], Box::new(unneeded)));
        assert_eq!(
            (repairs.lossy(), repairs.word(&pack)),
            (&[second][..], Some(Word::Unneeded))
        );
        let whole = RepairBody {
            whole_pack_ids: ids(7),
            ..RepairBody::default()
        };
        repairs.add(&Body::Repair(Vec::new(), Box::new(whole)));
        assert_eq!((repairs.lossy(), repairs.word(&pack)), (&[][..], None));

        // What is lost stays lost.
        let domain = DomainId([1; 16]);
        let at = |n| Damage::new(DamageKind::Log, names::log_entry(domain, n), "");
        assert!(repairs.accounts_for(&at(3)) && !repairs.accounts_for(&at(4)));
        let of = |n| Damage::new(DamageKind::Segment, names::segment(domain, &SegmentId([n; 32])), "");
        assert!(repairs.accounts_for(&of(5)) && !repairs.accounts_for(&of(6)));
        assert!(!repairs.accounts_for(&Damage::new(DamageKind::Pack, names::pack(domain, &pack), "")));
    }
}
