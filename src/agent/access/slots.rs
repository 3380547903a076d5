//! The key slots of this server's domain: replacing those of a kind, and removing one.

use anyhow::Context as _;
use lockstone_proto::ids::{DomainId, SlotId};
use lockstone_proto::vault::{KeySlot, SlotKind};
use lockstone_vault::crypto::slot_store::{delete_slot, list_slots, put_slot};
use lockstone_vault::store::Store;

use crate::agent::environment::Environment;
use crate::failure::Failure;

/// Stores a new slot, and removes the old ones of its kind. Returns whether they are gone. If not, there is a warning,
/// because the new one is in force.
pub(crate) async fn replace(
    environment: &Environment,
    store: &Store,
    domain: DomainId,
    new: &KeySlot,
    old_what: &str,
) -> Result<bool, Failure> {
    let (before, damaged) = list_slots(store, domain).await?;
    for damage in &damaged {
        environment.notices.damaged(damage);
    }
    put_slot(store, new).await?;
    // The new slot is durable, so the old ones may go.
    let mut old_removed = true;
    for old in before.iter().filter(|slot| slot.kind() == new.kind()) {
        if let Err(error) = delete_slot(store, domain, id(old)?).await {
            let warning = format!("the old {old_what} still opens the backups: {error}");
            environment.notices.warn(warning);
            old_removed = false;
        }
    }
    Ok(old_removed)
}

/// The id of a slot that was read.
pub(crate) fn id(slot: &KeySlot) -> anyhow::Result<SlotId> {
    SlotId::try_from(&slot.slot_id[..]).context("a key slot has no id")
}

/// Whether people can open the backups with what opens this slot, on any machine.
fn is_for_people(slot: &KeySlot) -> bool {
    matches!(slot.kind(), SlotKind::Passphrase | SlotKind::Recovery)
}

/// Removes a slot. Fails with `last-slot` if no passphrase and no recovery key would open the backups any more: those
/// of a machine are lost with it.
pub(crate) async fn remove(store: &Store, domain: DomainId, slot: &KeySlot) -> Result<(), Failure> {
    let left = others(store, domain, slot).await?;
    if !left.iter().any(is_for_people) {
        return Err(last(slot));
    }
    delete_slot(store, domain, id(slot)?).await?;
    // Another machine may have removed the others in the meantime.
    if !others(store, domain, slot).await?.iter().any(is_for_people) {
        put_slot(store, slot).await?;
        return Err(last(slot));
    }
    Ok(())
}

async fn others(store: &Store, domain: DomainId, slot: &KeySlot) -> Result<Vec<KeySlot>, Failure> {
    let (mut slots, _) = list_slots(store, domain).await?;
    slots.retain(|other| other.slot_id != slot.slot_id);
    Ok(slots)
}

fn last(slot: &KeySlot) -> Failure {
    let what = kind_word(slot.kind());
    let message = format!("this {what} slot stays: without it, no passphrase and no recovery key opens these backups");
    let hint = "make another one first: `lockstone passphrase recovery-key`, or `lockstone passphrase regenerate`";
    Failure::refused("last-slot", message, hint)
}

/// The word for a kind of slot, in JSON and for people.
pub(crate) fn kind_word(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Passphrase => "passphrase",
        SlotKind::Machine => "machine",
        SlotKind::Recovery => "recovery",
        SlotKind::Unspecified => "unknown",
    }
}
