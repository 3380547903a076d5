//! The vault's owner: makes vaults, issues credentials and revokes them, and sees servers, jobs and recovery points.
//! The operator has no passphrase, and so sees no content and no name of a file.
//!
//! Called by the `vault` commands. Nothing here knows clap or the terminal.

pub(crate) mod create;
pub(crate) mod credentials;
pub(crate) mod info;
pub(crate) mod jobs;
mod key;
pub(crate) mod points;
pub(crate) mod revoke;
mod rhythm;
mod selection;
pub(crate) mod servers;
pub(crate) mod tenant;

use lockstone_vault::vault::Vault;

use crate::agent::environment::Environment;
use crate::failure::Failure;

/// Opens the vault at a URL.
pub(crate) async fn open(environment: &Environment, url: &str) -> Result<Vault, Failure> {
    Ok(Vault::open(environment.store(url)?).await?)
}
