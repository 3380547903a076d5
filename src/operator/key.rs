//! The operator's signing key, in the state folder of the machine where the vault was created.

use lockstone_proto::ids::VaultId;
use lockstone_vault::access::credentials::OperatorKey;
use zeroize::Zeroizing;

use crate::agent::state::files::read_text;
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;

/// The operator's key of a vault. Fails with `no-operator-key` (exit 5) if it is not on this machine.
pub(super) fn operator_key(state: &StateFolder, vault: VaultId) -> Result<OperatorKey, Failure> {
    let file = state.operator_key(vault);
    let text = read_text(&file).map(Zeroizing::new).map_err(|error| {
        let message = format!(
            "cannot read the operator's key of this vault, {}: {error}",
            file.display()
        );
        let hint = "run it where the vault was created, or copy the key here";
        Failure::refused("no-operator-key", message, hint)
    })?;
    Ok(OperatorKey::from_text(&text)?)
}
