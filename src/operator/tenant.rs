//! Whose vault it is. The tenant is a name for the operator. No server is disturbed by a new one: the vault's id, its
//! keys and all registrations stay.

use jiff::Timestamp;
use lockstone_proto::ids::VaultId;
use lockstone_vault::access::credentials::check_tenant;

use super::key::operator_key;
use super::open;
use crate::agent::environment::Environment;
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;

/// A vault that has a tenant now.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) vault: VaultId,
    pub(crate) before: Option<String>,
    pub(crate) now: Option<String>,
}

/// Moves the vault to another tenant; an empty name means none.
pub(crate) async fn set(environment: &Environment, url: &str, tenant: &str) -> Result<Moved, Failure> {
    must_be_a_tenant(tenant)?;
    let state = StateFolder::locate()?;
    let vault = open(environment, url).await?;
    let operator = operator_key(&state, vault.id())?;
    let (orders, damaged) = vault.orders().await?;
    for damage in &damaged {
        environment.notices.damaged(damage);
    }
    let before = orders.tenant(vault.descriptor().tenant.as_deref()).map(str::to_owned);
    let now = Some(tenant.to_owned()).filter(|tenant| !tenant.is_empty());
    if before != now {
        vault.set_tenant(&operator, now.clone(), Timestamp::now()).await?;
    }
    Ok(Moved {
        vault: vault.id(),
        before,
        now,
    })
}

/// Fails with `usage` (exit 2) if it cannot be the name of a tenant.
pub(super) fn must_be_a_tenant(tenant: &str) -> Result<(), Failure> {
    check_tenant(tenant).map_err(|_| {
        let hint = "up to 255 bytes, without control characters";
        Failure::usage(format!("{tenant:?} cannot be the name of a tenant"), hint)
    })
}
