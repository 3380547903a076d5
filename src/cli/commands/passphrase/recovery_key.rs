//! `lockstone passphrase recovery-key`: a new recovery key, in place of the old one.

use lockstone_vault::crypto::slots::wrap_with_recovery;
use zeroize::Zeroizing;

use crate::agent::access::open::{own_master_key, registered_vault};
use crate::agent::access::right::registered;
use crate::agent::access::slots;
use crate::agent::state::machine_key::MachineKey;
use crate::cli::context::Context;
use crate::cli::log::write_line;
use crate::cli::output::Outcome;
use crate::documents::passphrase::RecoveryKeyDocument;
use crate::failure::{Exit, Failure};

pub(super) fn run(context: &Context) -> Outcome {
    let (recovery_key, old_removed) = context.block_on(renew(context))?;
    let mut exit = if old_removed { Exit::Done } else { Exit::Warnings };
    if !context.out.json {
        let head = "Recovery key, shown this once. Keep it away from this machine; it opens the backups like the \
                    passphrase, and the one before it no longer does:";
        let text = Zeroizing::new(format!("{head}\n\n    {}\n", recovery_key.as_str()));
        if !write_line(&text) {
            exit = Exit::Warnings;
        }
    }
    context.out.document(&RecoveryKeyDocument {
        recovery_key,
        old_removed,
    });
    Ok(exit)
}

/// The new recovery key, and whether the old one no longer opens the backups.
async fn renew(context: &Context) -> Result<(Zeroizing<String>, bool), Failure> {
    let (state, registration) = registered()?;
    let (environment, domain) = (&context.environment, registration.domain_id);
    let machine = MachineKey::load(&state)?;
    let vault = registered_vault(environment, &registration).await?;
    let master = own_master_key(environment, &vault, &registration, &machine).await?;
    let (slot, printed) = wrap_with_recovery(&master, domain)?;
    let removed = slots::replace(environment, vault.store(), domain, &slot, "recovery key").await?;
    Ok((printed, removed))
}
