//! Whether an entry may be appended, given what the log says up to its end: docs/ARCHITECTURE.md, "Validating a
//! Commit". Pure functions: values in, a verdict out. `append` reads the log to its end, asks here, and asks again
//! whenever another server's entry came first.
//!
//! A backup relies on packs that it found in the index, on those that it stored, and on what its parent points have.
//! What was condemned or replaced while it ran may be something it relies on.
//!
//! A collection relies on what it has marked: what the points need that it keeps. It is appended only behind the very
//! entry up to which it has marked (`collect`).

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use lockstone_proto::ids::{PackId, PointId};

use crate::error::VaultError;
use crate::log::{Point, Summed};

/// What a backup relies on, besides the points that it took unchanged files from.
#[derive(Debug, Clone, Default)]
pub struct Relied {
    /// The numbers of the packs in which it found chunks that it did not store again.
    pub known: HashSet<u32>,
    /// The packs that it stored.
    pub own: Vec<PackId>,
}

/// What to do with a Commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything it relies on still lives: append it.
    Valid,
    /// The log has this point already: an earlier attempt succeeded.
    Committed,
    /// Something that it relies on was collected meanwhile. A new generation has to read the index anew.
    LostRace,
}

/// Whether a Commit of `point` is valid.
///
/// What it took over from a parent is there if the parent is not gone: a collection keeps what all points need that
/// are not. What it found, and what it stored itself, is there if the pack is not condemned. `is_condemned` says
/// whether the log, up to its end, condemns any of these packs.
pub(super) fn validate_commit(
    point: Option<&PointId>,
    parents: &[PointId],
    log: &Summed,
    is_condemned: bool,
) -> Verdict {
    if point.is_some_and(|id| log.point(id).is_some()) {
        return Verdict::Committed;
    }
    if is_condemned || parents.iter().any(|parent| log.gone_at(parent).is_some()) {
        return Verdict::LostRace;
    }
    Verdict::Valid
}

fn found<'l>(id: &PointId, log: &'l Summed) -> Result<&'l Point, VaultError> {
    log.point(id).ok_or_else(|| VaultError::NoSuchPoint(id.hex()))
}

/// Those of the points whose hold has a date that is over.
pub(super) fn over(points: &[PointId], log: &Summed, now: Timestamp) -> Vec<PointId> {
    let is_over = |id: &&PointId| {
        let hold = log.point(id).and_then(|point| point.hold.as_ref());
        hold.is_some_and(|hold| hold.is_over(now))
    };
    let over: BTreeSet<PointId> = points.iter().filter(is_over).copied().collect();
    over.into_iter().collect()
}

/// Those of the points that a Hold has to name: each once. A point that is forgotten cannot be held.
pub(super) fn validate_hold(points: &[PointId], log: &Summed) -> Result<Vec<PointId>, VaultError> {
    let mut held = Vec::new();
    for id in points {
        if found(id, log)?.forgotten.is_some() {
            return Err(VaultError::Deleted(*id));
        }
        if !held.contains(id) {
            held.push(*id);
        }
    }
    Ok(held)
}

/// Those of the points that a Release has to name: each once, and only those that are held.
pub(super) fn validate_release(points: &[PointId], log: &Summed) -> Result<Vec<PointId>, VaultError> {
    let mut held = Vec::new();
    for id in points {
        if found(id, log)?.hold.is_some() && !held.contains(id) {
            held.push(*id);
        }
    }
    Ok(held)
}

/// Those of the points that a Forget has to name: each once, and none that is forgotten already. `NoSuchPoint` for an
/// id that the log does not have, `Held` for a point that is held.
pub(super) fn validate_forget(points: &[PointId], log: &Summed) -> Result<Vec<PointId>, VaultError> {
    let mut fresh = Vec::new();
    for id in points {
        let point = found(id, log)?;
        if let Some(hold) = &point.hold {
            return Err(VaultError::Held {
                point: *id,
                reason: hold.reason.clone(),
            });
        }
        if point.forgotten.is_none() && !fresh.contains(id) {
            fresh.push(*id);
        }
    }
    Ok(fresh)
}

/// Those of the points that an undo has to name: each once, and only forgotten ones. `TooLate` if one of them is gone:
/// a collection did not keep what it needs.
pub(super) fn validate_undelete(points: &[PointId], log: &Summed) -> Result<Vec<PointId>, VaultError> {
    let mut back = Vec::new();
    for id in points {
        let point = found(id, log)?;
        if point.forgotten.is_some() && !back.contains(id) {
            if log.gone_at(id).is_some() {
                return Err(VaultError::TooLate(*id));
            }
            back.push(*id);
        }
    }
    Ok(back)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_proto::ids::ServerId;
    use lockstone_proto::vault::{CondemnBody, ForgetReason, HoldBody, PointSummary, RepackBody};

    use super::*;
    use crate::log::{Body, Entry, LogHead};

    fn id(n: u8) -> PointId {
        PointId([n; 16])
    }

    fn commit(n: u8) -> Body {
        let summary = PointSummary {
            point_id: vec![n; 16].into(),
            ..PointSummary::default()
        };
        Body::Commit(Box::new(summary), Box::default())
    }

    /// The sum of a log that has these bodies as its entries 1, 2, 3 …
    fn log(bodies: impl IntoIterator<Item = Body>) -> Summed {
        let mut summed = Summed::default();
        for (n, body) in (1..).zip(bodies) {
            summed.add(&Entry {
                head: LogHead { n, hash: [0; 32] },
                previous: [0; 32],
                time_s: 0,
                time_ns: 0,
                server: ServerId([1; 16]),
                body,
            });
        }
        summed
    }

    fn gone(n: u8) -> Body {
        Body::Condemn(vec![id(n)], CondemnBody::default())
    }

    fn forgotten(n: u8) -> Body {
        Body::Forget(vec![id(n)], ForgetReason::ByHand)
    }

    #[test]
    fn a_commit_is_valid_if_what_it_relies_on_was_not_collected() {
        let verdict =
            |parents: &[PointId], log: &Summed, condemned| validate_commit(Some(&id(2)), parents, log, condemned);
        assert_eq!(verdict(&[], &log([]), false), Verdict::Valid);
        let collected = log([
            commit(1),
            Body::Condemn(Vec::new(), CondemnBody::default()),
            Body::Repack(RepackBody::default()),
        ]);
        assert_eq!(
            verdict(&[id(1)], &collected, false),
            Verdict::Valid,
            "the collection kept what the parent needs"
        );
        assert_eq!(verdict(&[id(1)], &collected, true), Verdict::LostRace);
        let deleted = log([commit(1), forgotten(1)]);
        assert_eq!(
            verdict(&[id(1)], &deleted, false),
            Verdict::Valid,
            "it may still be brought back"
        );
        let deleted = log([commit(1), forgotten(1), gone(1)]);
        assert_eq!(verdict(&[id(1)], &deleted, false), Verdict::LostRace);
        assert_eq!(verdict(&[id(3)], &deleted, false), Verdict::Valid);
    }

    #[test]
    fn a_point_that_is_there_is_committed_whatever_was_collected_since() {
        let collected = log([commit(1), forgotten(1), gone(1)]);
        assert_eq!(
            validate_commit(Some(&id(1)), &[id(1)], &collected, true),
            Verdict::Committed
        );
        assert_eq!(validate_commit(None, &[id(1)], &collected, false), Verdict::LostRace);
    }

    #[test]
    fn points_are_forgotten_once_and_only_if_they_are_there() {
        let some = log([commit(1), commit(2), Body::Forget(vec![id(2)], ForgetReason::ByHand)]);
        assert_eq!(validate_forget(&[id(1), id(1), id(2)], &some).unwrap(), [id(1)]);
        assert!(validate_forget(&[id(2)], &some).unwrap().is_empty());
        let missing = validate_forget(&[id(1), id(9)], &some);
        assert!(matches!(missing, Err(VaultError::NoSuchPoint(point)) if point == id(9).hex()));
    }

    #[test]
    fn a_forgotten_point_comes_back_until_it_is_gone() {
        let entries = || vec![commit(1), commit(2), forgotten(2)];
        let before = log(entries());
        assert_eq!(validate_undelete(&[id(1), id(2), id(2)], &before).unwrap(), [id(2)]);
        assert!(validate_undelete(&[id(9)], &before).is_err());
        let kept = log(entries().into_iter().chain([gone(1), gone(9)]));
        assert_eq!(
            validate_undelete(&[id(2)], &kept).unwrap(),
            [id(2)],
            "the collection kept it"
        );
        assert!(kept.gone_at(&id(1)).is_none(), "a point that is alive is never gone");
        let back = Body::Restore(vec![id(2)]);
        let after = log(entries().into_iter().chain([gone(2), back]));
        let late = validate_undelete(&[id(2)], &after);
        assert!(matches!(late, Err(VaultError::TooLate(point)) if point == id(2)));
        assert_eq!(after.kept().map(|point| point.id).collect::<Vec<_>>(), [id(1)]);
        let earlier = log([gone(2)].into_iter().chain(entries()));
        assert_eq!(validate_undelete(&[id(2)], &earlier).unwrap(), [id(2)]);
    }

    #[test]
    fn what_is_held_is_not_forgotten_and_what_is_forgotten_is_not_held() {
        let hold = |until_s| {
            let reason = "why".to_owned();
            Body::Hold(vec![id(1)], HoldBody { reason, until_s })
        };
        let held = log([commit(1), commit(2), hold(0)]);
        let refused = validate_forget(&[id(2), id(1)], &held);
        assert!(matches!(refused, Err(VaultError::Held { point, .. }) if point == id(1)));
        assert_eq!(validate_forget(&[id(2)], &held).unwrap(), [id(2)]);
        assert_eq!(validate_release(&[id(1), id(1), id(2)], &held).unwrap(), [id(1)]);
        let now = Timestamp::from_second(100).unwrap();
        assert!(over(&[id(1), id(2)], &held, now).is_empty());
        for (until, is_over) in [(99, true), (100, true), (101, false)] {
            let held = log([commit(1), hold(until)]);
            assert_eq!(over(&[id(1), id(9)], &held, now).len(), usize::from(is_over), "{until}");
        }
        let forgotten = log([commit(1), Body::Forget(vec![id(1)], ForgetReason::ByHand)]);
        assert!(matches!(
            validate_hold(&[id(1)], &forgotten),
            Err(VaultError::Deleted(_))
        ));
        assert!(matches!(
            validate_hold(&[id(9)], &forgotten),
            Err(VaultError::NoSuchPoint(_))
        ));
        assert_eq!(validate_hold(&[id(2), id(2)], &held).unwrap(), [id(2)]);
    }
}
