//! Opening a domain by what a person knows: its passphrase, or its recovery key.

use lockstone_proto::ids::DomainId;
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slot_store::{open_with_passphrase, open_with_recovery};
use lockstone_vault::crypto::slots::Passphrase;
use lockstone_vault::store::Store;

use crate::cli::Context;
use crate::failure::Failure;

/// The master key of a domain, by its passphrase; the recovery key is taken in its place.
///
/// # Errors
/// `wrong-passphrase` (exit 5) where neither opens it; damage (exit 6) where no slot of either kind can be read.
pub fn open_domain(context: &Context, store: &Store, domain: DomainId, text: &str) -> Result<MasterKey, Failure> {
    let mut damage = None;
    // A text that breaks the rules never was a passphrase; the derivation need not be spent on it.
    if let Ok(passphrase) = Passphrase::new(text.to_owned()) {
        match context
            .runtime
            .block_on(open_with_passphrase(store, domain, &passphrase))
        {
            Ok(master) => return Ok(master),
            Err(error) if error.is_key_fault() => {}
            Err(error) if error.is_damage() => damage = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match (
        context.runtime.block_on(open_with_recovery(store, domain, text)),
        damage,
    ) {
        (Ok(master), _) => Ok(master),
        // Whether it was the passphrase can't be said: its slot cannot be read.
        (Err(_), Some(damage)) => Err(damage.into()),
        (Err(error), None) if error.is_key_fault() || error.is_damage() => Err(wrong()),
        (Err(error), None) => Err(error.into()),
    }
}

fn wrong() -> Failure {
    let hint = "type it again; the recovery key that was printed at registration opens the backups, too";
    Failure::refused("wrong-passphrase", "this is not the passphrase of these backups", hint)
}
