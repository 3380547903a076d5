//! Opening a domain by what a person knows: its passphrase, or its recovery key.

use lockstone_proto::ids::DomainId;
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slot_store::{open_with_passphrase, open_with_recovery};
use lockstone_vault::crypto::slots::Passphrase;
use lockstone_vault::store::Store;

use crate::failure::Failure;

/// The master key of a domain, by its passphrase or its recovery key.
///
/// Fails with `wrong-passphrase` (exit 5) if neither opens it, and with damage (exit 6) if no slot of either kind can
/// be read.
pub(crate) async fn open_domain(store: &Store, domain: DomainId, text: &str) -> Result<MasterKey, Failure> {
    let mut damage = None;
    // A text that breaks the rules was never a passphrase, so deriving a key from it would only take time.
    if let Ok(passphrase) = Passphrase::new(text.to_owned()) {
        match open_with_passphrase(store, domain, &passphrase).await {
            Ok(master) => return Ok(master),
            Err(error) if error.is_key_fault() => {}
            Err(error) if error.is_damage() => damage = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match (open_with_recovery(store, domain, text).await, damage) {
        (Ok(master), _) => Ok(master),
        // The passphrase's slot cannot be read, so it is unknown whether this is the passphrase.
        (Err(_), Some(damage)) => Err(damage.into()),
        (Err(error), None) if error.is_key_fault() || error.is_damage() => Err(wrong()),
        (Err(error), None) => Err(error.into()),
    }
}

fn wrong() -> Failure {
    let hint = "type it again; the recovery key that was printed at registration opens the backups, too";
    Failure::refused("wrong-passphrase", "this is not the passphrase of these backups", hint)
}
