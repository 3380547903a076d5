//! Giving up this machine's registration in the vault.

use lockstone_proto::vault::SlotKind;
use lockstone_vault::crypto::slot_store::{delete_slot, list_slots};

use super::open::registered_vault;
use crate::agent::environment::Environment;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::machine_key::MachineKey;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;

/// Removes this machine's key slot, so that a copy of its key opens nothing. Returns whether another machine opens the
/// same domain: it forgets this server's points when their time is over.
pub(crate) async fn remove_slot(
    environment: &Environment,
    state: &StateFolder,
    registration: &Registration,
) -> Result<bool, Failure> {
    let key = MachineKey::load(state)?;
    let vault = registered_vault(environment, registration).await?;
    delete_slot(vault.store(), registration.domain_id, key.slot).await?;
    let (slots, _) = list_slots(vault.store(), registration.domain_id).await?;
    Ok(slots.iter().any(|slot| slot.kind() == SlotKind::Machine))
}
