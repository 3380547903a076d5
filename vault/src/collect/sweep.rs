//! The packs that are really in the vault: those that the log condemned and that still exist, those that nothing names,
//! and those that are missing. And the deletion of what is condemned.
//!
//! A listing says what may be deleted, never what is needed. A listing that lacks packs makes nothing dead.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use lockstone_proto::ids::PackId;

use crate::domain::Domain;
use crate::error::VaultError;
use crate::index::Condemned;
use crate::kind::Kind;
use crate::store::names;

/// So many listings, and so many deletions, run at the same time.
const AT_ONCE: usize = 16;
/// Fewer orphans than this are never suspicious.
const ORPHANS_FEW: usize = 64;

/// A pack in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: PackId,
    /// Bytes.
    pub(super) len: u64,
}

/// What a listing of the packs shows.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// How many packs there are.
    pub(super) packs: usize,
    /// Condemned packs that are still there.
    pub(super) condemned: Vec<(Found, Condemned)>,
    /// Packs that no segment lists, written before the time that was asked for.
    pub(super) orphans: Vec<Found>,
    /// The same, written later: a backup that runs may list them yet.
    pub(super) young: usize,
    /// The numbers of packs that the index has and the listing has not.
    pub(super) missing: HashSet<u32>,
}

impl Listing {
    /// Whether the orphans may be condemned. If most of what is there is listed by nothing, then it is more likely that
    /// something is wrong with the log, or with this machine's view of it, than that so much was left behind.
    pub(super) fn is_plausible(&self) -> bool {
        self.orphans.len() < ORPHANS_FEW || self.orphans.len() * 2 <= self.packs
    }
}

/// Lists the packs. `old`: orphans that were written before that time count as such.
pub(super) async fn list(domain: &Domain, old: Timestamp) -> Result<Listing, VaultError> {
    let mut condemned = std::collections::HashMap::new();
    domain.index().condemned(&mut |id, by| {
        condemned.insert(id, by);
        true
    })?;
    let parts = futures::stream::iter(0..=u8::MAX).map(|first| async move {
        let listed = domain.store().list(&names::packs(domain.id(), first));
        listed.try_collect::<Vec<_>>().await.map(|listed| (first, listed))
    });
    let mut parts = parts.buffered(AT_ONCE);
    let mut listing = Listing::default();
    while let Some(part) = parts.next().await {
        let (first, listed) = part?;
        let mut known = std::collections::HashMap::new();
        domain.index().packs_beginning(first, &mut |id, number| {
            known.insert(id, number);
            true
        })?;
        for object in listed {
            let Some(id) = names::pack_id(&object.path) else {
                continue;
            };
            listing.packs += 1;
            let found = Found { id, len: object.len };
            let number = known.remove(&id);
            match condemned.get(&id) {
                Some(by) => listing.condemned.push((found, *by)),
                None if number.is_some() => {}
                None if object.written_s <= old.as_second() => listing.orphans.push(found),
                None => listing.young += 1,
            }
        }
        known.retain(|id, _| !condemned.contains_key(id));
        for (id, number) in known {
            // A listing may be old, so the object itself is asked for.
            if !is_there(domain, &id).await? {
                listing.missing.insert(number);
            }
        }
    }
    Ok(listing)
}

/// Whether a pack is in the vault.
async fn is_there(domain: &Domain, id: &PackId) -> Result<bool, VaultError> {
    match domain.store().head(&names::pack(domain.id(), id)).await {
        Ok(len) => Ok(len.is_some()),
        Err(error) if error.is_object_fault() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a condemned pack may be deleted at this time: its entry's time is over, or the time that the caller grants
/// readers is.
pub(super) fn is_due(by: &Condemned, grace: SignedDuration, now: Timestamp) -> bool {
    let now = now.as_second();
    now >= by.delete_after_s || now >= by.time_s.saturating_add(grace.as_secs())
}

/// What became of a deletion.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    pub(super) packs: u64,
    pub(super) bytes: u64,
    /// Whether the keys of the store do not allow it.
    pub(super) refused: bool,
}

/// Deletes packs. Each of them must be condemned by an entry of the log. Packs that are gone already count as deleted.
/// Stops early if it is told to, or if the store's keys do not allow it.
pub(super) async fn delete(
    domain: &Domain,
    packs: &[Found],
    cancelled: &(dyn Fn() -> bool + Sync),
    done: &(dyn Fn(&Deleted) + Sync),
) -> Result<Deleted, VaultError> {
    let mut deleted = Deleted::default();
    let deletions = packs.iter().take_while(|_| !cancelled()).map(|pack| async move {
        let result = domain.store().delete(&names::pack(domain.id(), &pack.id)).await;
        (pack.len, result)
    });
    let mut deletions = futures::stream::iter(deletions).buffer_unordered(AT_ONCE);
    while let Some((len, result)) = deletions.next().await {
        match result {
            Ok(()) => {
                deleted.packs += 1;
                deleted.bytes += len;
                done(&deleted);
            }
            Err(error) if error.kind() == Kind::Refused => {
                deleted.refused = true;
                return Ok(deleted);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_deleted_when_either_time_is_over() {
        let by = Condemned {
            n: 1,
            time_s: 1000,
            delete_after_s: 2000,
        };
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let day = SignedDuration::from_hours(24);
        assert!(!is_due(&by, day, at(1999)) && is_due(&by, day, at(2000)));
        assert!(is_due(&by, SignedDuration::ZERO, at(1000)) && !is_due(&by, SignedDuration::ZERO, at(999)));
    }

    #[test]
    fn a_listing_in_which_most_is_unknown_is_not_believed() {
        let listing = |packs, orphans| Listing {
            packs,
            orphans: vec![
                Found {
                    id: PackId([0; 32]),
                    len: 1
                };
                orphans
            ],
            ..Listing::default()
        };
        assert!(listing(63, 63).is_plausible() && listing(1000, 500).is_plausible());
        assert!(!listing(64, 64).is_plausible() && !listing(1000, 501).is_plausible());
    }
}
