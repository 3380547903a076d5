//! `lockstone register --moved-to URL`: a vault is at another place, and this server follows it.

use lockstone_vault::VaultError;
use lockstone_vault::vault::Vault;

use crate::agent::environment::Environment;
use crate::agent::ids::new_job_id;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::state::registration::Registration;
use crate::failure::Failure;

/// Changes the URL of this server's registration. The vault there must be the one that this server is registered with.
pub(super) async fn follow(environment: &Environment, state: &StateFolder, url: &str) -> Result<Registration, Failure> {
    let mut registration = Registration::required(state)?;
    let _lock = JobLock::take(state, new_job_id()?, Purpose::Registration).await?;
    let (vault, damage) = Vault::open_pinned(environment.store(url)?, &registration.pin()?).await?;
    if let Some(damage) = damage {
        // Only the descriptor says which vault it is.
        return Err(VaultError::from(&damage).into());
    }
    vault.store().url().clone_into(&mut registration.vault_url);
    registration.save(state)?;
    Ok(registration)
}
