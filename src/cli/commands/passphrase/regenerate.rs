//! `lockstone passphrase regenerate`: a new passphrase without the old one, by this machine's key.

use std::path::PathBuf;

use clap::Args;
use lockstone_vault::crypto::slots::wrap_with_passphrase;

use crate::agent::access::open::{by_machine_key, registered_vault};
use crate::agent::access::right::registered;
use crate::agent::access::slots;
use crate::agent::state::machine_key::MachineKey;
use crate::cli::commands::kdf::KdfArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::passphrase::ChangedPassphraseDocument;
use crate::failure::{Exit, Failure};

/// Options of `passphrase regenerate`.
#[derive(Debug, Args)]
pub(crate) struct RegenerateArgs {
    /// Read the new passphrase from this file (else LOCKSTONE_NEW_PASSPHRASE_FILE, LOCKSTONE_NEW_PASSPHRASE, or where
    /// other commands have it from)
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    kdf: KdfArgs,
}

pub(super) fn run(context: &Context, args: &RegenerateArgs) -> Outcome {
    let old_removed = context.block_on(regenerate(context, args))?;
    context.out.document(&ChangedPassphraseDocument {
        changed: true,
        old_removed,
    });
    context
        .out
        .line("There is a new passphrase. This machine needs none, as before; the recovery key stays the same.");
    Ok(if old_removed { Exit::Done } else { Exit::Warnings })
}

const NO_OTHER_WAY: &str = "a passphrase that is lost is replaced by the key of a registered machine and by nothing else; \
                            where that is lost, too, the recovery key is the only way to the backups";

/// Returns whether the old passphrase no longer opens the backups.
async fn regenerate(context: &Context, args: &RegenerateArgs) -> Result<bool, Failure> {
    let (state, registration) = registered().map_err(|mut failure| {
        // There is no other way, and who has lost both should know.
        if failure.exit == Exit::NotRegistered {
            failure.hint.push('\n');
            failure.hint.push_str(NO_OTHER_WAY);
        }
        failure
    })?;
    let (environment, domain) = (&context.environment, registration.domain_id);
    let machine = MachineKey::load(&state)?;
    let vault = registered_vault(environment, &registration).await?;
    let master = by_machine_key(&vault, &registration, &machine)
        .await
        .map_err(|mut failure| {
            failure.hint =
                "only this machine's key can replace a passphrase that is lost; the recovery key does what a \
                        passphrase does: `lockstone passphrase change` takes it"
                    .to_owned();
            failure
        })?;
    let new = context.prompt.anew(args.new_passphrase_file.as_deref())?;
    let slot = wrap_with_passphrase(&master, &new, args.kdf.params(), domain)?;
    slots::replace(environment, vault.store(), domain, &slot, "passphrase").await
}
