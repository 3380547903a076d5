//! Issuing credentials, by which servers register and restore.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lockstone_proto::access::Region;
use lockstone_proto::ids::VaultId;
use lockstone_vault::access::credentials::{Issue, VaultCredentials};
use lockstone_vault::vault::Vault;

use super::key::operator_key;
use super::open;
use crate::agent::environment::Environment;
use crate::agent::state::files::write_atomically;
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;

/// The end of a credentials file's name.
const SUFFIX: &str = "vaultcredentials";

/// Which credentials are wanted.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The vault.
    pub(crate) url: &'a str,
    /// The file to write, or a folder for it.
    pub(crate) out: &'a Path,
    pub(crate) region: Region,
    pub(crate) valid_days: u32,
}

/// Credentials that were written to a file.
#[derive(Debug)]
pub(crate) struct IssuedCredentials {
    pub(crate) credentials: VaultCredentials,
    pub(crate) file: PathBuf,
}

/// Issues credentials with the operator's key in the state folder, and writes them to a file.
pub(crate) async fn issue(environment: &Environment, wanted: &Wanted<'_>) -> Result<IssuedCredentials, Failure> {
    let state = StateFolder::locate()?;
    let vault = open(environment, wanted.url).await?;
    let operator = operator_key(&state, vault.id())?;
    let secondary_url = secondary_url(&vault);
    let url = if wanted.region == Region::Secondary {
        secondary_url.clone().ok_or_else(|| {
            let hint = "only a vault created with `--secondary` has one";
            Failure::failed("no-secondary", "this vault has no secondary region", hint)
        })?
    } else {
        vault.store().url().to_owned()
    };
    let (orders, damaged) = vault.orders().await?;
    for damage in &damaged {
        environment.notices.damaged(damage);
    }
    let tenant = orders.tenant(vault.descriptor().tenant.as_deref());
    let credentials = operator.issue(&Issue {
        region: wanted.region,
        url,
        secondary_url,
        tenant: tenant.map(str::to_owned),
        now: Timestamp::now(),
        valid_days: wanted.valid_days,
    })?;
    let file = credentials_file(wanted.out, vault.id());
    write_atomically(&file, credentials.to_text().as_bytes(), 0o600)?;
    Ok(IssuedCredentials { credentials, file })
}

fn secondary_url(vault: &Vault) -> Option<String> {
    let regions = &vault.descriptor().regions;
    let secondary = regions.iter().find(|region| region.name == "secondary");
    secondary.map(|region| region.url.clone())
}

/// The file for a vault's credentials. `out` is the file, with or without its suffix, or a folder.
fn credentials_file(out: &Path, vault: VaultId) -> PathBuf {
    if out.is_dir() {
        return out.join(format!("lockstone-{}.{SUFFIX}", &vault.hex()[..8]));
    }
    if out.extension().is_some_and(|extension| extension == SUFFIX) {
        return out.to_owned();
    }
    let mut name = out.as_os_str().to_owned();
    name.push(".");
    name.push(SUFFIX);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_ends_as_it_should() {
        let id = VaultId([0xab; 16]);
        assert_eq!(
            credentials_file(Path::new("/x/web"), id),
            Path::new("/x/web.vaultcredentials")
        );
        assert_eq!(
            credentials_file(Path::new("/x/a.vaultcredentials"), id),
            Path::new("/x/a.vaultcredentials")
        );
        assert_eq!(
            credentials_file(Path::new("/"), id),
            Path::new("/lockstone-abababab.vaultcredentials")
        );
    }
}
