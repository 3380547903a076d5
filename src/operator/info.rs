//! What a vault is, as its operator sees it.

use lockstone_vault::damage::Damage;
use lockstone_vault::store::probe::{ProbeReport, probe};
use lockstone_vault::vault::Vault;

use super::open;
use crate::agent::environment::Environment;
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;

/// A vault, summed up.
#[derive(Debug)]
pub(crate) struct VaultInfo {
    pub(crate) vault: Vault,
    pub(crate) tenant: Option<String>,
    /// What the store was seen to do just now; `None` if it could not be tried.
    pub(crate) probe: Option<ProbeReport>,
    /// Registered servers whose right was not ended.
    pub(crate) servers: u64,
    pub(crate) revoked_servers: u64,
    pub(crate) domains: u64,
    /// Recovery points that are not deleted.
    pub(crate) points: u64,
    /// Whether the operator's key is on this machine.
    pub(crate) has_operator_key: bool,
    pub(crate) damaged: Vec<Damage>,
}

/// Looks at a vault. `try_store`: write and remove a few small objects, to see what the store does.
pub(crate) async fn info(environment: &Environment, url: &str, try_store: bool) -> Result<VaultInfo, Failure> {
    let vault = open(environment, url).await?;
    let (servers, mut damaged) = vault.servers().await?;
    let tenant = servers.orders().tenant(vault.descriptor().tenant.as_deref());
    let tenant = tenant.map(str::to_owned);
    let domains = vault.domains().await?;
    let mut points = 0;
    for domain in &domains {
        let view = vault.overview(*domain, &servers).await?;
        points += view.points.iter().filter(|point| point.forgotten.is_none()).count() as u64;
        damaged.extend(view.damage);
    }
    let revoked = servers
        .iter()
        .filter(|server| servers.ended(server.id).is_some())
        .count() as u64;
    let probe = if try_store {
        try_out(environment, &vault).await
    } else {
        None
    };
    let state = StateFolder::locate()?;
    Ok(VaultInfo {
        tenant,
        probe,
        servers: servers.iter().count() as u64 - revoked,
        revoked_servers: revoked,
        domains: domains.len() as u64,
        points,
        has_operator_key: state.operator_key(vault.id()).is_file(),
        vault,
        damaged,
    })
}

async fn try_out(environment: &Environment, vault: &Vault) -> Option<ProbeReport> {
    match probe(vault.store()).await {
        Ok(report) => Some(report),
        Err(error) => {
            let note = format!("the store was not tried: {error}");
            environment.notices.note(note);
            None
        }
    }
}
