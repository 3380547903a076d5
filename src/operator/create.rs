//! Making a vault.

use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;
use lockstone_vault::VaultError;
use lockstone_vault::access::credentials::OperatorKey;
use lockstone_vault::store::probe::ProbeReport;
use lockstone_vault::vault::{CreateOptions, Vault};

use super::tenant::must_be_a_tenant;
use crate::agent::environment::Environment;
use crate::agent::state::files::{private_folder, write_atomically};
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;

/// What the operator wants of a new vault.
#[derive(Debug)]
pub(crate) struct NewVault {
    pub(crate) url: String,
    /// The URL of the secondary region.
    pub(crate) secondary_url: Option<String>,
    /// Whose vault it is; a note for the operator.
    pub(crate) tenant: Option<String>,
    /// For how many days a deleted recovery point can be brought back.
    pub(crate) soft_delete_days: u32,
}

/// A vault that was made.
#[derive(Debug)]
pub(crate) struct CreatedVault {
    pub(crate) vault: Vault,
    /// What the store was seen to do.
    pub(crate) probe: ProbeReport,
    /// The file with the operator's key, which alone admits servers.
    pub(crate) key_file: PathBuf,
}

/// Makes a vault, and leaves the operator's key in the state folder.
pub(crate) async fn create(environment: &Environment, new: NewVault) -> Result<CreatedVault, Failure> {
    if let Some(tenant) = &new.tenant {
        must_be_a_tenant(tenant)?;
    }
    let state = StateFolder::locate()?;
    state.prepare()?;
    let operator = OperatorKey::generate().map_err(VaultError::from)?;
    let key_file = state.operator_key(operator.vault_id());
    if let Some(around) = environment.vault_around(&new.url).await? {
        return Err(VaultError::InsideVault { url: new.url, around }.into());
    }
    let store = environment.store_to_make(&new.url)?;
    let options = CreateOptions {
        secondary_url: new.secondary_url,
        tenant: new.tenant,
        soft_delete_days: new.soft_delete_days,
        now: Timestamp::now(),
    };
    // The key is durable before the vault exists, because a vault without its key can never admit a server.
    private_folder(&state.root().join("operator")).context("cannot make the operator's folder")?;
    write_atomically(&key_file, operator.to_text().as_bytes(), 0o600)?;
    match Vault::create(store, &operator, &options).await {
        Ok((vault, probe)) => Ok(CreatedVault { vault, probe, key_file }),
        Err(error) => {
            let _ = std::fs::remove_file(&key_file);
            Err(error.into())
        }
    }
}
