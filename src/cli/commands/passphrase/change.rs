//! `lockstone passphrase change`. The data is not encrypted again: a new key slot replaces the old one.

use std::path::PathBuf;

use clap::Args;
use lockstone_vault::crypto::slots::wrap_with_passphrase;

use crate::agent::access::open::registered_vault;
use crate::agent::access::passphrase::PassphraseSource;
use crate::agent::access::right::registered;
use crate::agent::access::slots;
use crate::agent::access::unlock::open_domain;
use crate::cli::commands::kdf::KdfArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::passphrase::ChangedPassphraseDocument;
use crate::failure::{Exit, Failure};

/// Options of `passphrase change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Read the new passphrase from this file (else LOCKSTONE_NEW_PASSPHRASE_FILE, LOCKSTONE_NEW_PASSPHRASE, or a
    /// prompt)
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    kdf: KdfArgs,
}

pub(super) fn run(context: &Context, args: &ChangeArgs) -> Outcome {
    let old_removed = context.block_on(change(context, args))?;
    context.out.document(&ChangedPassphraseDocument {
        changed: true,
        old_removed,
    });
    context
        .out
        .line("The passphrase is changed. This machine needs none, as before; the recovery key stays the same.");
    Ok(if old_removed { Exit::Done } else { Exit::Warnings })
}

/// Returns whether the old passphrase no longer opens the backups.
async fn change(context: &Context, args: &ChangeArgs) -> Result<bool, Failure> {
    let (_, registration) = registered()?;
    let (environment, domain) = (&context.environment, registration.domain_id);
    let vault = registered_vault(environment, &registration).await?;
    let store = vault.store();
    let old = context.prompt.existing()?;
    let master = open_domain(store, domain, &old).await?;
    let new = context.prompt.replacement(args.new_passphrase_file.as_deref())?;
    let slot = wrap_with_passphrase(&master, &new, args.kdf.params(), domain)?;
    slots::replace(environment, store, domain, &slot, "passphrase").await
}
