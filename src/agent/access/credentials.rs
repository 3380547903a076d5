//! Credentials files: reading one, whether it is valid now, and opening the vault that it admits to.

use std::path::Path;

use jiff::Timestamp;
use lockstone_vault::access::CredentialsError;
use lockstone_vault::access::credentials::VaultCredentials;
use lockstone_vault::vault::Vault;

use crate::agent::environment::Environment;
use crate::agent::state::files::read_text;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::seen_time;
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

/// Whether the credentials are valid by the latest of three clocks: this machine's, the store's, and the latest time
/// that this machine remembers.
pub(crate) fn check_time(
    credentials: &VaultCredentials,
    local: Timestamp,
    store: Option<Timestamp>,
    seen: Option<Timestamp>,
) -> Result<(), CredentialsError> {
    let latest = [store, seen].into_iter().flatten().fold(local, Timestamp::max);
    if store == Some(latest) && latest > local {
        credentials.check_at_store(latest)
    } else if seen == Some(latest) && latest > local {
        credentials.check_as_seen(latest)
    } else {
        credentials.check(latest)
    }
}

/// Opens the vault that the credentials are for. Fails with exit 5 if the vault does not accept them now.
pub(crate) async fn admitted(environment: &Environment, credentials: &VaultCredentials) -> Result<Vault, Failure> {
    let state = StateFolder::locate()?;
    let (local, seen) = (Timestamp::now(), seen_time::load(&state));
    seen_time::remember_use(&state, local, None, credentials.expires());
    match check_time(credentials, local, None, seen) {
        // This machine's clock may be behind; the store's decides.
        Ok(()) | Err(CredentialsError::NotYetValid(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let vault = Vault::open(environment.store(credentials.url())?).await?;
    credentials.check_vault(vault.descriptor())?;
    vault.ask_time().await;
    let store = vault.clock_of_store(local);
    seen_time::remember_use(&state, local, store, credentials.expires());
    check_time(credentials, local, store, seen)?;
    let (orders, damaged) = vault.orders().await?;
    for damage in &damaged {
        environment.notices.damaged(damage);
    }
    orders.admit(credentials)?;
    Ok(vault)
}
