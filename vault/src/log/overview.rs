//! The log as the operator sees it: without the domain's keys.
//!
//! Whether the body of an entry opens cannot be told here. Readers with keys pass over an entry whose body does not
//! open: it is void. So an object that looks like an entry may be none. What stands behind it tells: each entry names
//! the link of the position before it, and the link of a void object is another than that of an entry (`chain`). So the
//! log is read from its end. The last entry is believed, then the entry that it names, and so on. What stands between
//! the two is void. Operator and servers agree on all but the last object, behind which nobody has written yet.
//!
//! An entry of a server whose registration is lost cannot be verified here. It counts if an entry behind it names it,
//! and it is reported.

use std::collections::{HashMap, HashSet};

use lockstone_proto::ids::{DomainId, PointId, ServerId};
use lockstone_proto::vault::{LogKind, PointSummary};

use super::chain::{UNKNOWN, void_link};
use super::read::{LogWalk, Step, damage_at, damage_of};
use super::{LogBroken, PlainEntry, Skipped};
use crate::access::features::unknown;
use crate::access::registration::{Servers, VaultPin};
use crate::damage::Damage;
use crate::error::VaultError;
use crate::store::Store;

/// Before an entry, at most this many objects that look like entries are tried as the one it names. Each try costs a
/// hash for each object between the two.
const TRIES: usize = 256;

/// A recovery point as the operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PointOverview {
    /// Its id.
    pub id: PointId,
    /// The log entry that committed it.
    pub n: u64,
    /// The server that made it.
    pub server: ServerId,
    /// When it was committed, seconds since the epoch.
    pub time_s: i64,
    /// All other fields that are not sealed.
    pub summary: PointSummary,
    /// When it was deleted, seconds since the epoch.
    pub forgotten: Option<i64>,
    /// Whether it is held. Until when and why is sealed.
    pub held: bool,
    /// Whether it lost something that no repair could heal.
    pub lossy: bool,
}

/// What the operator sees of a domain's log, read without its passphrase.
#[derive(Debug)]
pub struct DomainOverview {
    /// The points of the entries that count, oldest first.
    pub points: Vec<PointOverview>,
    /// The last position of the log, whatever stands there.
    pub end: u64,
    /// The entries that count, in order: position, server, and when it wrote it, as it says, seconds since the epoch.
    pub entries: Vec<(u64, ServerId, i64)>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// The operator's view of a domain. Damaged entries are reported and skipped. The registration of a server that is not
/// known yet is looked for. Memory grows with the number of entries.
pub(crate) async fn overview(
    store: &Store,
    pin: &VaultPin,
    domain: DomainId,
    mut servers: Servers,
) -> Result<DomainOverview, VaultError> {
    let mut walk = LogWalk::new(store, domain, 0, true);
    let mut seen = Vec::new();
    loop {
        let (n, object) = match walk.step().await? {
            Step::End => break,
            Step::Missing(first, last) => {
                seen.push(Seen::Other(Skipped::missing(first, last)));
                continue;
            }
            Step::Unreadable(n, reason) => {
                seen.push(Seen::Other(Skipped::unreadable(n, reason)));
                continue;
            }
            Step::Object(n, object) => (n, object),
        };
        let mut read = PlainEntry::read(domain, n, &object, Some(&servers));
        if let Err(LogBroken::UnknownServer(server)) = &read
            && servers.look_for(store, pin, *server).await?
        {
            read = PlainEntry::read(domain, n, &object, Some(&servers));
        }
        seen.push(match read {
            Ok(entry) => Seen::entry(entry, None),
            Err(why) => match (why.newer(domain, n), PlainEntry::read(domain, n, &object, None)) {
                (Some(newer), _) => return Err(newer),
                (None, Ok(entry)) if matches!(why, LogBroken::UnknownServer(_)) => Seen::entry(entry, Some(why)),
                (None, _) => Seen::Other(Skipped::void(n, &object, why)),
            },
        });
    }
    let end = last_position(&seen);
    let (believed, mut damage) = believe(domain, seen);
    let (mut view, mut entries) = (Overview::default(), Vec::new());
    for entry in believed {
        if let Some(word) = unknown(&entry.record.needs) {
            damage.push(damage_at(domain, entry.head.n, LogBroken::Needs(word.clone())));
        }
        if servers.orders().counts(entry.server, domain, entry.head.n) {
            entries.push((entry.head.n, entry.server, entry.record.time_s));
            view.add(&entry);
        }
    }
    damage.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(DomainOverview {
        points: view.into_points(),
        end,
        entries,
        damage,
    })
}

/// What stands at a position, as far as it can be told without keys.
enum Seen {
    /// It may be an entry. If its server could not be verified: why.
    Entry(Box<PlainEntry>, Option<LogBroken>),
    /// It is no entry, cannot be read, or is not there.
    Other(Skipped),
}

impl Seen {
    fn entry(mut entry: PlainEntry, unverified: Option<LogBroken>) -> Self {
        // Nobody here can open it, and it may be long.
        entry.record.sealed = bytes::Bytes::new();
        Self::Entry(Box::new(entry), unverified)
    }

    /// The hash of the object, of one that can be read.
    fn hash(&self) -> Option<[u8; 32]> {
        match self {
            Self::Entry(entry, _) => Some(entry.head.hash),
            Self::Other(skipped) => skipped.hash(),
        }
    }

    /// Whether there is no object.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Other(at) if at.is_missing())
    }

    /// Its position, the last one if there are several.
    fn last(&self) -> u64 {
        match self {
            Self::Entry(entry, _) => entry.head.n,
            Self::Other(skipped) => skipped.last,
        }
    }

    /// What is wrong with it, if it is no entry, or one that is lost.
    fn damage(&self, domain: DomainId) -> Damage {
        match self {
            Self::Entry(entry, Some(why)) => damage_at(domain, entry.head.n, why),
            Self::Entry(entry, None) => damage_at(domain, entry.head.n, LogBroken::Chain),
            Self::Other(skipped) => damage_of(domain, skipped),
        }
    }
}

/// How many positions there are up to the last entry whose server is known.
fn verified(seen: &[Seen]) -> usize {
    let at = seen.iter().rposition(|seen| matches!(seen, Seen::Entry(_, None)));
    at.map_or(0, |at| at + 1)
}

/// The objects behind the last entry, up to the first position without an object. Positions without an object are lost
/// only if an entry stands behind them.
fn there(behind: &[Seen]) -> &[Seen] {
    let gap = behind.iter().position(Seen::is_missing);
    &behind[..gap.unwrap_or(behind.len())]
}

/// The last position of the log. The next entry belongs behind it.
fn last_position(seen: &[Seen]) -> u64 {
    let (log, behind) = seen.split_at(verified(seen));
    let last = there(behind).last().or(log.last());
    last.map_or(0, Seen::last)
}

/// The entries that are believed, in order, and the damage.
fn believe(domain: DomainId, mut seen: Vec<Seen>) -> (Vec<PlainEntry>, Vec<Damage>) {
    let (mut entries, mut damage) = (Vec::new(), Vec::new());
    let behind = seen.split_off(verified(&seen));
    damage.extend(there(&behind).iter().map(|seen| seen.damage(domain)));
    while let Some(last) = seen.pop() {
        let Seen::Entry(entry, unverified) = last else { continue };
        let n = entry.head.n;
        if let Some(why) = unverified {
            damage.push(damage_at(domain, n, why));
        }
        let end = named_by(&entry, &seen).unwrap_or_else(|| {
            // It names something that stood there and does not stand there any more.
            let end = verified(&seen);
            if end == seen.len() && entry.previous != UNKNOWN {
                damage.push(damage_at(domain, n, LogBroken::Chain));
            }
            damage.extend(seen[end..].iter().map(|lost| lost.damage(domain)));
            end
        });
        seen.truncate(end);
        entries.push(*entry);
    }
    entries.reverse();
    (entries, damage)
}

/// The number of positions up to and including the one that this entry names as the last entry before it. All behind
/// it are void. `None` if what it names is not there.
fn named_by(entry: &PlainEntry, before: &[Seen]) -> Option<usize> {
    let mut void = Vec::new();
    let mut tries = 0;
    for end in (0..=before.len()).rev() {
        let link = match end.checked_sub(1).map(|at| &before[at]) {
            None => Some(UNKNOWN),
            Some(Seen::Entry(entry, _)) => Some(entry.head.hash),
            Some(Seen::Other(_)) => None,
        };
        if let Some(link) = link {
            if void.iter().rev().fold(link, |link, hash| void_link(&link, hash)) == entry.previous {
                return Some(end);
            }
            tries += 1;
        }
        if tries == TRIES {
            break;
        }
        void.push(before.get(end.checked_sub(1)?)?.hash()?);
    }
    None
}

/// Adds up what the operator sees.
#[derive(Debug, Default, Clone)]
pub(super) struct Overview {
    points: Vec<PointOverview>,
    places: HashMap<PointId, usize>,
    /// Points that cannot be brought back any more.
    gone: HashSet<PointId>,
}

impl Overview {
    pub(super) fn add(&mut self, entry: &PlainEntry) {
        let kind = entry.record.kind();
        if kind == LogKind::Commit {
            self.commit(entry);
            return;
        }
        if kind == LogKind::Repair {
            for point in &mut self.points {
                point.lossy = false;
            }
        }
        for id in &entry.points {
            let Some(place) = self.places.get(id) else { continue };
            let point = &mut self.points[*place];
            match kind {
                LogKind::Condemn if point.forgotten.is_some() => {
                    self.gone.insert(*id);
                }
                LogKind::Forget if !point.held => point.forgotten = point.forgotten.or(Some(entry.record.time_s)),
                LogKind::Restore if !self.gone.contains(id) => point.forgotten = None,
                LogKind::Hold => point.held |= point.forgotten.is_none(),
                LogKind::Release => point.held = false,
                LogKind::Repair => point.lossy = true,
                _ => {}
            }
        }
    }

    /// The points that can be restored or brought back.
    pub(super) fn into_points(mut self) -> Vec<PointOverview> {
        self.points.retain(|point| !self.gone.contains(&point.id));
        self.points
    }

    fn commit(&mut self, entry: &PlainEntry) {
        let Some(summary) = entry.record.point.clone() else {
            return;
        };
        let Ok(id) = PointId::try_from(summary.point_id.as_ref()) else {
            return;
        };
        let (n, server, time_s) = (entry.head.n, entry.server, entry.record.time_s);
        self.places.entry(id).or_insert_with(|| {
            self.points.push(PointOverview {
                id,
                n,
                server,
                time_s,
                summary,
                forgotten: None,
                held: false,
                lossy: false,
            });
            self.points.len() - 1
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ed25519_dalek::SigningKey;
    use jiff::Timestamp;
    use lockstone_proto::vault::ForgetReason;

    use super::super::{Body, EntryParts, LogHead, seal};
    use super::*;
    use crate::crypto::keys::{Keys, MasterKey};

    const DOMAIN: DomainId = DomainId([3; 16]);

    /// An entry at `n` that names this link. All have the same server.
    fn entry(n: u64, previous: [u8; 32]) -> PlainEntry {
        let keys = Keys::derive(&MasterKey::from_bytes([1; 32]), DOMAIN);
        let previous = LogHead {
            n: n - 1,
            hash: previous,
        };
        let parts = EntryParts {
            server: ServerId([1; 16]),
            key: &SigningKey::from_bytes(&[1; 32]),
            nonce: &[n as u8; 16],
            now: Timestamp::UNIX_EPOCH,
            body: &Body::Forget(vec![PointId([1; 16])], ForgetReason::ByHand),
        };
        PlainEntry::read(DOMAIN, n, &seal(&keys, &previous, parts).unwrap(), None).unwrap()
    }

    fn seen(entry: &PlainEntry) -> Seen {
        Seen::entry(entry.clone(), None)
    }

    /// The positions that count, and those that are reported.
    fn believed(seen: Vec<Seen>) -> (Vec<u64>, Vec<u64>) {
        let (entries, damage) = believe(DOMAIN, seen);
        let reported = damage
            .iter()
            .map(|damage| crate::store::names::log_position(&damage.object).unwrap());
        (entries.iter().map(|entry| entry.head.n).collect(), reported.collect())
    }

    #[test]
    fn what_the_next_entry_names_as_void_does_not_count() {
        let first = entry(1, UNKNOWN);
        let forged = entry(2, first.head.hash);
        let junk = Skipped::void(3, b"junk", "junk");
        let links = |before: [u8; 32]| {
            let link = void_link(&before, &forged.head.hash);
            (link, void_link(&link, &junk.hash().unwrap()))
        };
        let next = entry(4, links(first.head.hash).1);
        let all = || vec![seen(&first), seen(&forged), Seen::Other(junk.clone())];
        let with = |last: &PlainEntry| {
            let mut all = all();
            all.push(seen(last));
            believed(all)
        };
        assert_eq!(with(&next), (vec![1, 4], vec![]));
        // Behind an entry that counts, only the junk is void.
        let next = entry(4, void_link(&forged.head.hash, &junk.hash().unwrap()));
        assert_eq!(with(&next), (vec![1, 2, 4], vec![]));
        // Nobody has written behind it yet.
        assert_eq!(believed(all()), (vec![1, 2], vec![3]));
        // All before it is void.
        let next = entry(4, {
            let link = void_link(&UNKNOWN, &first.head.hash);
            links(link).1
        });
        assert_eq!(with(&next), (vec![4], vec![]));
        // It names what is not there any more.
        assert_eq!(with(&entry(4, [9; 32])), (vec![1, 2, 4], vec![3]));
        assert_eq!(with(&entry(4, UNKNOWN)), (vec![1, 2, 4], vec![3]));
    }

    #[test]
    fn the_log_ends_at_its_last_object_before_a_gap() {
        let first = entry(1, UNKNOWN);
        let junk = |n| Seen::Other(Skipped::void(n, b"junk", "junk"));
        let gap = |first, last| Seen::Other(Skipped::missing(first, last));
        assert_eq!(last_position(&[]), 0);
        assert_eq!(last_position(&[seen(&first)]), 1);
        assert_eq!(last_position(&[seen(&first), junk(2), gap(3, 4), junk(5)]), 2);
        assert_eq!(last_position(&[gap(1, 3), junk(4)]), 0);
        assert_eq!(last_position(&[gap(1, 3), seen(&entry(4, [9; 32]))]), 4);
    }

    #[test]
    fn a_broken_chain_is_reported_and_read_on() {
        let first = entry(1, UNKNOWN);
        let second = entry(2, [9; 32]);
        assert_eq!(believed(vec![seen(&first), seen(&second)]), (vec![1, 2], vec![2]));
        let blind = entry(2, UNKNOWN);
        assert_eq!(believed(vec![seen(&first), seen(&blind)]), (vec![1, 2], vec![]));
        let gap = || Seen::Other(Skipped::missing(2, 4));
        assert_eq!(
            believed(vec![seen(&first), gap(), seen(&entry(5, [9; 32]))]),
            (vec![1, 5], vec![2])
        );
        assert_eq!(believed(vec![seen(&first), gap()]), (vec![1], vec![]));
        assert_eq!(believed(Vec::new()), (vec![], vec![]));
    }

    #[test]
    fn an_entry_of_a_lost_registration_counts_if_another_names_it() {
        let unverified = |entry: &PlainEntry| {
            let why = LogBroken::UnknownServer(entry.server);
            Seen::entry(entry.clone(), Some(why))
        };
        let first = entry(1, UNKNOWN);
        let second = entry(2, first.head.hash);
        assert_eq!(believed(vec![unverified(&first), seen(&second)]), (vec![1, 2], vec![1]));
        assert_eq!(believed(vec![seen(&first), unverified(&second)]), (vec![1], vec![2]));
        let other = entry(2, [9; 32]);
        assert_eq!(believed(vec![unverified(&first), seen(&other)]), (vec![2], vec![1]));
    }

    #[test]
    fn a_flood_of_forged_entries_ends_the_search() {
        let mut flood = vec![seen(&entry(1, UNKNOWN))];
        for _ in 0..TRIES * 4 {
            flood.push(seen(&entry(2, [7; 32])));
        }
        assert_eq!(named_by(&entry(3, [8; 32]), &flood), None);
    }
}
