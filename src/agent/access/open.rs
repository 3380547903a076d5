//! Opening the vault of this server's registration, and its domain's master key.

use lockstone_vault::VaultError;
use lockstone_vault::access::registration::Servers;
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slot_store;
use lockstone_vault::vault::Vault;

use super::unlock::open_domain;
use crate::agent::environment::Environment;
use crate::agent::state::machine_key::MachineKey;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;

/// Opens the vault that this machine is registered with, and no other. A damaged descriptor is only a warning.
pub(crate) async fn registered_vault(environment: &Environment, registration: &Registration) -> Result<Vault, Failure> {
    let pin = registration.pin()?;
    let store = environment.store(&registration.vault_url)?;
    let opened = Vault::open_pinned(store, &pin).await;
    let (vault, damage) = opened.map_err(|error| match error {
        VaultError::NotAVault { ref url } => {
            // Only an empty place is left where the vault was. Nobody should make a new one there.
            let message = format!("the vault that this server is registered with is not at {url}");
            Failure::failed(
                "not-a-vault",
                message,
                "mount the disk it is on, or put the vault back to its place; if it moved, run \
                 `lockstone register --moved-to URL`",
            )
        }
        error => error.into(),
    })?;
    if let Some(damage) = damage {
        environment.notices.damaged(&damage);
    }
    Ok(vault)
}

/// The servers of a vault. Warns about damaged registrations.
pub(crate) async fn servers(environment: &Environment, vault: &Vault) -> Result<Servers, Failure> {
    let (servers, damaged) = vault.servers().await?;
    for damage in &damaged {
        environment.notices.damaged(damage);
    }
    Ok(servers)
}

/// The master key by this machine's slot, and by nothing else.
pub(crate) async fn by_machine_key(
    vault: &Vault,
    registration: &Registration,
    machine: &MachineKey,
) -> Result<MasterKey, Failure> {
    let (domain, server) = (registration.domain_id, registration.server_id);
    Ok(slot_store::open_with_machine(vault.store(), domain, server, &machine.secret).await?)
}

/// The master key by this machine's slot. If the slot is damaged or missing, by the passphrase, if one can be had.
pub(crate) async fn own_master_key(
    environment: &Environment,
    vault: &Vault,
    registration: &Registration,
    machine: &MachineKey,
) -> Result<MasterKey, Failure> {
    let (store, domain) = (vault.store(), registration.domain_id);
    let opened = slot_store::open_with_machine(store, domain, registration.server_id, &machine.secret).await;
    let error = match opened {
        Ok(master) => return Ok(master),
        Err(error) if error.is_key_fault() || error.is_damage() => error,
        Err(error) => return Err(error.into()),
    };
    let mut failure = Failure::from(error);
    let Ok(text) = environment.passphrases.existing() else {
        failure.hint = "give the passphrase (LOCKSTONE_PASSPHRASE_FILE) to go on without this machine's key; \
                        `lockstone unregister` and `register` make a new one"
            .to_owned();
        return Err(failure);
    };
    environment.notices.warn(format!(
        "this machine's key does not open its backups ({}); using the passphrase",
        failure.message
    ));
    open_domain(store, domain, &text).await
}
