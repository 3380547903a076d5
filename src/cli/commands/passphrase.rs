//! `lockstone passphrase …`: trying it, and changing it. Data is not encrypted again: a new key slot replaces the old.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use lockstone_proto::ids::SlotId;
use lockstone_proto::vault::SlotKind;
use lockstone_vault::crypto::slot_store;
use lockstone_vault::crypto::slots::wrap_with_passphrase;
use serde_json::json;

use super::register::KdfArgs;
use crate::agent::access::open::registered_vault;
use crate::agent::access::passphrase::PassphraseSource;
use crate::agent::access::right::registered;
use crate::agent::access::unlock::open_domain;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::Exit;

/// What to do with the passphrase.
#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseCommand {
    /// Change the passphrase (asks for the old one, then for the new one)
    Change(ChangeArgs),
    /// Check that a passphrase (or recovery key) opens this server's backups
    Validate,
}

/// Options of `passphrase change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Read the new passphrase from this file (else LOCKSTONE_NEW_PASSPHRASE_FILE, LOCKSTONE_NEW_PASSPHRASE, or a prompt)
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kdf: KdfArgs,
}

/// Runs a passphrase command.
///
/// # Errors
/// What failed, in words, with its exit code; a wrong passphrase is exit 5.
pub(crate) fn run(context: &Context, command: PassphraseCommand) -> Outcome {
    match command {
        PassphraseCommand::Change(args) => change(context, &args),
        PassphraseCommand::Validate => validate(context),
    }
}

fn validate(context: &Context) -> Outcome {
    let (_, agent) = registered()?;
    let vault = context.block_on(registered_vault(&context.environment, &agent))?;
    let text = context.prompt.existing()?;
    context.block_on(open_domain(vault.store(), agent.domain_id, &text))?;
    context.out.document(&json!({ "valid": true }));
    context.out.line("This passphrase opens the backups of this server.");
    Ok(Exit::Done)
}

fn change(context: &Context, args: &ChangeArgs) -> Outcome {
    let (_, agent) = registered()?;
    let vault = context.block_on(registered_vault(&context.environment, &agent))?;
    let (store, domain) = (vault.store(), agent.domain_id);
    let old = context.prompt.existing()?;
    let master = context.block_on(open_domain(store, domain, &old))?;
    let new = context.prompt.replacement(args.new_passphrase_file.as_deref())?;
    let (before, damaged) = context.block_on(slot_store::list_slots(store, domain))?;
    for damage in damaged {
        context
            .out
            .warn(format!("the vault is damaged: {}: {}", damage.object, damage.reason));
    }
    let slot = wrap_with_passphrase(&master, &new, args.kdf.params(), domain)?;
    context.block_on(slot_store::put_slot(store, &slot))?;
    // The new one is durable; only now the old ones go.
    let mut exit = Exit::Done;
    for old in before.iter().filter(|slot| slot.kind() == SlotKind::Passphrase) {
        let id = SlotId::try_from(&old.slot_id[..]).context("a key slot has no id")?;
        if let Err(error) = context.block_on(slot_store::delete_slot(store, domain, id)) {
            context
                .out
                .warn(format!("the old passphrase still opens the backups: {error}"));
            exit = Exit::Warnings;
        }
    }
    context
        .out
        .document(&json!({ "changed": true, "old_removed": exit == Exit::Done }));
    context
        .out
        .line("The passphrase is changed. This machine needs none, as before; the recovery key stays the same.");
    Ok(exit)
}
