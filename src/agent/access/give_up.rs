//! Giving up this machine's registration in the vault.

use lockstone_vault::crypto::slot_store::delete_slot;

use super::open::registered_vault;
use crate::agent::environment::Environment;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::machine_key::MachineKey;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;

/// Removes this machine's key slot, so that a copy of its key opens nothing.
pub(crate) async fn remove_slot(
    environment: &Environment,
    state: &StateFolder,
    registration: &Registration,
) -> Result<(), Failure> {
    let key = MachineKey::load(state)?;
    let vault = registered_vault(environment, registration).await?;
    Ok(delete_slot(vault.store(), registration.domain_id, key.slot).await?)
}
