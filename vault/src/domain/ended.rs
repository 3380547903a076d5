//! Servers whose right to write the operator ended. Their entries behind the position that the order names do not count
//! for any reader. Their links count, so the log stays whole.
//!
//! A segment that such an entry names is still read. Another server may have found a chunk in it, before it knew of the
//! order, and have stored nothing anew. But no backup relies on its packs from then on, until a check has read them
//! whole.

use lockstone_proto::ids::PackId;
use lockstone_proto::limits::SEGMENT_MAX;

use super::refresh::State;
use super::{Domain, Signer};
use crate::access::registration::Servers;
use crate::error::VaultError;
use crate::index::BY_ENDED_SERVER;
use crate::log::Entry;
use crate::pack::segment::decode_segment;
use crate::store::names;

impl Domain {
    /// Loads the segments of servers that had no right to write them any more, and distrusts their packs: what another
    /// server stored may lie there, but no backup relies on them from now on. What cannot be read is no damage.
    pub(super) async fn load_ended(&self, state: &mut State) -> Result<(), VaultError> {
        let mut left = Vec::new();
        for id in std::mem::take(&mut state.ended_segments) {
            if self.index.is_ended(&id)? {
                continue;
            }
            let name = names::segment(self.id, &id);
            let object = match self.store().get(&name, SEGMENT_MAX).await {
                Ok(object) => object,
                Err(error) if error.is_object_fault() => {
                    left.push(id);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Ok(segment) = decode_segment(&self.keys, id, &object) else {
                left.push(id);
                continue;
            };
            let packs = segment.packs.iter();
            let distrusted: Vec<(PackId, String)> = packs
                .filter_map(|pack| {
                    Some((
                        PackId::try_from(pack.pack_id.as_ref()).ok()?,
                        BY_ENDED_SERVER.to_owned(),
                    ))
                })
                .collect();
            self.index.distrust(&distrusted)?;
            self.index.add_packs(&segment.packs, &[id])?;
            self.index.note_ended(&id)?;
        }
        state.ended_segments = left;
        Ok(())
    }

    /// What a server condemned that had no right to any more may be deleted all the same, so no backup relies on it.
    pub(super) fn doubt(&self, entry: &Entry) -> Result<(), VaultError> {
        let packs = entry.body.condemned().into_iter();
        let packs: Vec<(PackId, String)> = packs.map(|pack| (pack, BY_ENDED_SERVER.to_owned())).collect();
        if packs.is_empty() {
            return Ok(());
        }
        Ok(self.index.distrust(&packs)?)
    }

    /// Whether the operator lets the entry count. Every reader decides so by the same orders, and the entry's link
    /// counts in any case.
    pub(super) fn counts(&self, servers: &Servers, entry: &Entry) -> bool {
        servers.orders().counts(entry.server, self.id, entry.head.n)
    }
}

/// A server whose right was ended writes nothing: no reader would take it in.
pub(super) fn refuse_ended(state: &State, signer: &Signer) -> Result<(), VaultError> {
    match state.servers.ended(signer.server) {
        Some(ended) => Err(VaultError::Revoked {
            at: ended.at,
            reason: ended.reason.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_proto::ids::{PointId, ServerId};

    use super::*;
    use crate::error::Kind;
    use crate::testing::{Lab, block_on, now};

    fn end(lab: &Lab, server: u8, last_entry: u64) {
        let server = (ServerId([server; 16]), lab.domain);
        block_on(lab.vault.end_server(&lab.operator, server, last_entry, "stolen", now())).unwrap();
    }

    fn points(view: &crate::log::LogView) -> Vec<u8> {
        view.alive().map(|point| point.id.0[0]).collect()
    }

    #[test]
    fn what_a_server_writes_after_its_right_has_ended_counts_for_nobody() {
        let lab = Lab::new();
        let (honest, thief) = (
            lab.open(Some(lab.server(1)), "one"),
            lab.open(Some(lab.server(2)), "two"),
        );
        lab.backup(&honest, 1, &[("/a", vec![1; 3000])]);
        let before = lab.backup(&thief, 2, &[("/b", vec![2; 3000])]);
        end(&lab, 2, before.n);
        // The thief's program does not look at the orders: it opened the domain before.
        block_on(thief.forget(&[PointId([1; 16])], now())).unwrap();
        let tree = [("/c", vec![3; 3000])];
        let refused = thief_backup(&lab, &thief, &tree);
        assert_eq!(refused.kind(), Kind::Revoked);

        for (name, signer) in [
            (
                "one",
                Some(crate::domain::Signer {
                    server: ServerId([1; 16]),
                    key: key(1),
                }),
            ),
            ("new", None),
        ] {
            let domain = lab.open(signer, if name == "one" { "again" } else { name });
            let view = block_on(domain.refresh()).unwrap();
            assert_eq!(points(&view), [1, 2], "{name}: the deletion does not count");
            assert!(view.damage.is_empty() && !view.log_damaged, "{:?}", view.damage);
        }
        let operators = block_on(lab.vault.points(lab.domain)).unwrap();
        assert!(operators.0.iter().all(|point| point.forgotten.is_none()) && operators.1.is_empty());
        // The log goes on behind the entries that do not count.
        let honest = lab.open(
            Some(crate::domain::Signer {
                server: ServerId([1; 16]),
                key: key(1),
            }),
            "later",
        );
        lab.backup(&honest, 4, &[("/d", vec![4; 3000])]);
        assert_eq!(points(&block_on(honest.refresh()).unwrap()), [1, 2, 4]);
    }

    fn key(seed: u8) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
    }

    /// What a backup ends with: its Commit reads the orders anew.
    fn thief_backup(lab: &Lab, domain: &Domain, files: &[(&str, Vec<u8>)]) -> VaultError {
        let tree = crate::testing::Tree::build(&lab.keys, files);
        assert!(!tree.data.is_empty());
        let body = lockstone_proto::vault::CommitBody::default();
        block_on(domain.commit(
            crate::testing::summary(3),
            body,
            &[],
            &crate::domain::Relied::default(),
            now(),
        ))
        .unwrap_err()
    }

    #[test]
    fn what_others_found_in_a_pack_of_an_ended_server_is_read_and_stored_anew() {
        let lab = Lab::new();
        let (honest, thief) = (
            lab.open(Some(lab.server(1)), "one"),
            lab.open(Some(lab.server(2)), "two"),
        );
        let first = lab.backup(&thief, 2, &[("/a", vec![7; 3000])]);
        // The other server has the same file and stores nothing of it.
        lab.backup(&honest, 1, &[("/a", vec![7; 3000])]);
        end(&lab, 2, first.n - 2);
        let reader = lab.open(None, "reader");
        let view = block_on(reader.refresh()).unwrap();
        assert_eq!(points(&view), [1]);
        assert!(view.damage.is_empty(), "{:?}", view.damage);
        let chunk = lab.keys.chunk_id(lockstone_proto::vault::ChunkKind::Data, &[7; 1000]);
        assert_eq!(
            reader.index().lookup(&[chunk]).unwrap(),
            [None],
            "no backup relies on it"
        );
        assert!(
            reader.index().best_places(&[chunk]).unwrap()[0].is_some(),
            "a restore finds it"
        );
        assert!(reader.index().has_distrusted() && reader.index().still_bad().unwrap().is_empty());
    }

    #[test]
    fn a_server_that_registers_with_revoked_credentials_counts_nowhere() {
        let lab = Lab::new();
        let domain = lab.open(Some(lab.server(1)), "one");
        lab.backup(&domain, 1, &[("/a", vec![1; 3000])]);
        let known = block_on(lab.vault.servers()).unwrap().0;
        let credentials = known.get(ServerId([1; 16])).unwrap().credentials;
        let (stay, number) = block_on(lab.vault.end_credentials(&lab.operator, credentials, "leaked", now())).unwrap();
        assert_eq!((stay, number), (vec![ServerId([1; 16])], 1));
        let (servers, damage) = block_on(lab.vault.servers()).unwrap();
        assert!(damage.is_empty() && servers.ended(ServerId([1; 16])).is_none());
        assert!(servers.orders().ended_credentials(credentials).is_some());
    }
}
