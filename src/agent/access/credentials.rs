//! Credentials files: reading one, and opening the vault that it admits to.

use std::path::Path;

use jiff::Timestamp;
use lockstone_vault::access::credentials::VaultCredentials;
use lockstone_vault::vault::Vault;

use crate::agent::environment::Environment;
use crate::agent::state::files::read_text;
use crate::failure::Failure;

/// Reads a credentials file. Fails with exit 5 if it holds no credentials.
pub(crate) fn read_credentials(file: &Path) -> Result<VaultCredentials, Failure> {
    let text = read_text(file).map_err(|error| {
        let message = format!("cannot read the credentials {}: {error}", file.display());
        let hint = "the operator makes them with `lockstone vault credentials`";
        Failure::failed("credentials", message, hint)
    })?;
    Ok(VaultCredentials::parse(&text)?)
}

/// Opens the vault that the credentials are for. Fails with exit 5 if the vault does not accept them now.
pub(crate) async fn admitted(environment: &Environment, credentials: &VaultCredentials) -> Result<Vault, Failure> {
    credentials.check(Timestamp::now())?;
    let vault = Vault::open(environment.store(credentials.url())?).await?;
    credentials.check_vault(vault.descriptor())?;
    Ok(vault)
}
