//! `orders.json`: how many orders of the vault's operator this server has seen. Whoever holds the store could take an
//! order away, such as the one that ends a stolen machine's right. Then this server says so.

use lockstone_proto::ids::VaultId;
use serde::{Deserialize, Serialize};

use super::files::write_atomically;
use super::folder::StateFolder;

#[derive(Debug, Serialize, Deserialize)]
struct OrdersFile {
    vault_id: VaultId,
    /// The number of the last order.
    last: u64,
}

fn load(state: &StateFolder, vault: VaultId) -> u64 {
    let file = std::fs::read(state.orders()).ok();
    let file = file.and_then(|text| serde_json::from_slice::<OrdersFile>(&text).ok());
    file.filter(|file| file.vault_id == vault).map_or(0, |file| file.last)
}

/// Compares the last order of the vault with what was seen, and remembers it. Returns a warning if orders are gone.
/// What cannot be written is only logged: it only adds safety.
pub(crate) fn compare(state: &StateFolder, vault: VaultId, last: u64) -> Option<String> {
    let seen = load(state, vault);
    if last < seen {
        return Some(format!(
            "the vault lacks orders of its operator: this server has seen {seen}, and the last one there is {last}; \
             somebody removed them, or the vault was put back from a copy"
        ));
    }
    if last > seen {
        let file = OrdersFile { vault_id: vault, last };
        let written = serde_json::to_vec(&file)
            .map_err(anyhow::Error::from)
            .and_then(|text| write_atomically(&state.orders(), &text, 0o600));
        if let Err(error) = written {
            tracing::warn!("the number of the last order is not noted: {error:#}");
        }
    }
    None
}
