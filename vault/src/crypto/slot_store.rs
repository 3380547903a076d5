//! Key slots in the vault: `domains/<domain>/keys/<slot>`. This module finds, stores and tries them; `slots` describes
//! what a slot is and how it opens.

use lockstone_proto::ids::{DomainId, ServerId, SlotId};
use lockstone_proto::limits::RECORD_MAX;
use lockstone_proto::vault::{KeySlot, SlotKind};

use crate::crypto::keys::MasterKey;
use crate::crypto::slots::{
    Passphrase, SlotError, decode_slot, encode_slot, unwrap_with_machine, unwrap_with_passphrase, unwrap_with_recovery,
};
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::store::{Store, names};

/// Stores a slot under its own id.
pub async fn put_slot(store: &Store, slot: &KeySlot) -> Result<SlotId, VaultError> {
    let id = SlotId::try_from(slot.slot_id.as_ref()).map_err(|_| SlotError::Damaged("its id is malformed"))?;
    let domain =
        DomainId::try_from(slot.domain_id.as_ref()).map_err(|_| SlotError::Damaged("its domain is not an id"))?;
    let name = names::slot(domain, id);
    if store.create_own(&name, encode_slot(slot)).await? {
        Ok(id)
    } else {
        let reason = "it was stored cut when the connection broke; run the command again";
        Err(VaultError::damaged(DamageKind::Slot, name, reason))
    }
}

/// Deletes a slot, for example after the passphrase was changed.
pub async fn delete_slot(store: &Store, domain: DomainId, id: SlotId) -> Result<(), VaultError> {
    Ok(store.delete(&names::slot(domain, id)).await?)
}

/// The whole slots of a domain, newest first, and the damaged ones.
pub async fn list_slots(store: &Store, domain: DomainId) -> Result<(Vec<KeySlot>, Vec<Damage>), VaultError> {
    let (mut slots, mut damage) = (Vec::new(), Vec::new());
    for listed in store.list_all(&names::slots(domain)).await? {
        let Some(id) = listed.path.rsplit('/').next().and_then(|id| id.parse::<SlotId>().ok()) else {
            continue;
        };
        match store.get(&listed.path, RECORD_MAX).await {
            Ok(object) => match decode_slot(domain, id, &object) {
                Ok(slot) => slots.push(slot),
                Err(why) => damage.push(Damage::new(DamageKind::Slot, listed.path, why)),
            },
            Err(error) if error.is_object_fault() => damage.push(Damage::new(DamageKind::Slot, listed.path, error)),
            Err(error) => return Err(error.into()),
        }
    }
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.created_s));
    Ok((slots, damage))
}

/// The master key by the first slot of one kind that opens. `wrong` is the error if undamaged slots of that kind do not
/// open; `NoSlot` if there is none.
async fn open_any(
    store: &Store,
    domain: DomainId,
    kind: SlotKind,
    wrong: VaultError,
    open: impl Fn(&KeySlot) -> Result<MasterKey, SlotError>,
) -> Result<MasterKey, VaultError> {
    let (mut slots, damage) = list_slots(store, domain).await?;
    // Anyone who may create objects can add slots that cost much. The cheapest are tried first, so those come after the
    // right one.
    slots.sort_by_key(|slot| u64::from(slot.argon_memory_kib) * u64::from(slot.argon_passes));
    let mut damaged = damage.first().map(VaultError::from);
    let mut whole = 0;
    for slot in slots.iter().filter(|slot| slot.kind() == kind) {
        match open(slot) {
            Ok(master) => return Ok(master),
            Err(SlotError::WrongKey) => whole += 1,
            // Another slot of the kind may still open.
            Err(error @ (SlotError::Damaged(_) | SlotError::Version(_))) => damaged = damaged.or(Some(error.into())),
            Err(error) => return Err(error.into()),
        }
    }
    match damaged {
        // Only an undamaged slot can show that the key is wrong.
        _ if whole > 0 => Err(wrong),
        Some(damaged) => Err(damaged),
        None => Err(VaultError::NoSlot {
            domain: domain.hex(),
            kind: kind_name(kind),
        }),
    }
}

fn kind_name(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Passphrase => "passphrase",
        SlotKind::Machine => "machine",
        SlotKind::Recovery => "recovery",
        SlotKind::Unspecified => "unknown",
    }
}

/// The master key of a domain, by its passphrase. Argon2 runs on the calling thread, once for each passphrase slot. It
/// takes up to seconds, and as much memory as the slot asks for.
pub async fn open_with_passphrase(
    store: &Store,
    domain: DomainId,
    passphrase: &Passphrase,
) -> Result<MasterKey, VaultError> {
    let open = |slot: &KeySlot| unwrap_with_passphrase(slot, passphrase);
    open_any(store, domain, SlotKind::Passphrase, VaultError::WrongPassphrase, open).await
}

/// The master key of a domain, by the secret of a registered machine.
pub async fn open_with_machine(
    store: &Store,
    domain: DomainId,
    server: ServerId,
    secret: &[u8; 32],
) -> Result<MasterKey, VaultError> {
    let open = |slot: &KeySlot| {
        if slot.server_id == server.as_ref() {
            unwrap_with_machine(slot, secret)
        } else {
            Err(SlotError::WrongKey)
        }
    };
    let wrong = VaultError::WrongMachineKey;
    open_any(store, domain, SlotKind::Machine, wrong, open).await
}

/// The master key of a domain, by a printed recovery key.
pub async fn open_with_recovery(store: &Store, domain: DomainId, printed: &str) -> Result<MasterKey, VaultError> {
    let open = |slot: &KeySlot| unwrap_with_recovery(slot, printed);
    let wrong = VaultError::WrongRecoveryKey;
    open_any(store, domain, SlotKind::Recovery, wrong, open).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::crypto::slots::{KdfParams, wrap_with_machine, wrap_with_passphrase, wrap_with_recovery};
    use crate::error::Kind;
    use crate::testing::{block_on, folder_store};

    const SMALL: KdfParams = KdfParams {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn a_slot_that_costs_more_is_tried_after_the_right_one() {
        let (_folder, store) = folder_store();
        let domain = DomainId([1; 16]);
        let master = MasterKey::generate().unwrap();
        let right = Passphrase::new("correct horse battery".into()).unwrap();
        let foreign = Passphrase::new("what another one chose".into()).unwrap();
        let dear = KdfParams { passes: 3, ..SMALL };
        block_on(async {
            for (passphrase, kdf) in [(&right, SMALL), (&foreign, dear)] {
                let slot = wrap_with_passphrase(&master, passphrase, kdf, domain).unwrap();
                put_slot(&store, &slot).await.unwrap();
            }
            let tried = std::cell::RefCell::new(Vec::new());
            let open = |slot: &KeySlot| {
                tried.borrow_mut().push(slot.argon_passes);
                unwrap_with_passphrase(slot, &right)
            };
            let wrong = VaultError::WrongPassphrase;
            open_any(&store, domain, SlotKind::Passphrase, wrong, open)
                .await
                .unwrap();
            assert_eq!(*tried.borrow(), [1]);
        });
    }

    #[test]
    fn any_whole_slot_opens_the_domain_and_wrong_keys_are_told_from_damage() {
        let (folder, store) = folder_store();
        let domain = DomainId([1; 16]);
        let master = MasterKey::generate().unwrap();
        let right = Passphrase::new("correct horse battery".into()).unwrap();
        let wrong = Passphrase::new("wrong horse batteries".into()).unwrap();
        let server = ServerId([2; 16]);
        block_on(async {
            let none = open_with_passphrase(&store, domain, &right).await.unwrap_err();
            assert!(matches!(none, VaultError::NoSlot { .. }) && none.is_key_fault());

            let slot = wrap_with_passphrase(&master, &right, SMALL, domain).unwrap();
            let id = put_slot(&store, &slot).await.unwrap();
            put_slot(&store, &wrap_with_machine(&master, &[7; 32], domain, server).unwrap())
                .await
                .unwrap();
            let (slot, printed) = wrap_with_recovery(&master, domain).unwrap();
            put_slot(&store, &slot).await.unwrap();

            assert_eq!(
                open_with_passphrase(&store, domain, &right).await.unwrap().as_bytes(),
                master.as_bytes()
            );
            let error = open_with_passphrase(&store, domain, &wrong).await.unwrap_err();
            assert!(matches!(error, VaultError::WrongPassphrase) && error.kind() == Kind::WrongKey);
            assert_eq!(
                open_with_machine(&store, domain, server, &[7; 32])
                    .await
                    .unwrap()
                    .as_bytes(),
                master.as_bytes()
            );
            assert!(
                open_with_machine(&store, domain, server, &[8; 32])
                    .await
                    .unwrap_err()
                    .is_key_fault()
            );
            assert!(
                open_with_machine(&store, domain, ServerId([3; 16]), &[7; 32])
                    .await
                    .unwrap_err()
                    .is_key_fault()
            );
            assert_eq!(
                open_with_recovery(&store, domain, &printed).await.unwrap().as_bytes(),
                master.as_bytes()
            );

            // A damaged slot is damage, not a wrong passphrase, and the other slots still open.
            let path = folder.path().join(names::slot(domain, id));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[30] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let error = open_with_passphrase(&store, domain, &right).await.unwrap_err();
            assert!(error.is_damage() && !error.is_key_fault(), "{error}");
            assert_eq!(
                open_with_machine(&store, domain, server, &[7; 32])
                    .await
                    .unwrap()
                    .as_bytes(),
                master.as_bytes()
            );
            assert_eq!(list_slots(&store, domain).await.unwrap().1.len(), 1);

            delete_slot(&store, domain, id).await.unwrap();
            assert!(list_slots(&store, domain).await.unwrap().1.is_empty());
        });
    }
}
