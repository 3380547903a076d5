//! `lockstone passphrase …`: checking the passphrase of this server's backups, changing it, and what else opens them.

mod change;
mod recovery_key;
mod regenerate;
mod slots;
mod validate;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// What to do with the passphrase.
#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseCommand {
    /// Change the passphrase (asks for the old one, then for the new one)
    Change(change::ChangeArgs),
    /// Set a new passphrase without the old one, by this machine's key
    Regenerate(regenerate::RegenerateArgs),
    /// Check that a passphrase (or recovery key) opens this server's backups
    Validate,
    /// Make a new recovery key; the old one opens nothing any more
    RecoveryKey,
    /// List what opens these backups: passphrase, recovery key, machines
    Slots,
    /// Remove a key slot: what opened it opens nothing any more
    Revoke(slots::RevokeArgs),
}

/// A wrong passphrase ends with exit code 5.
pub(crate) fn run(context: &Context, command: PassphraseCommand) -> Outcome {
    match command {
        PassphraseCommand::Change(args) => change::run(context, &args),
        PassphraseCommand::Regenerate(args) => regenerate::run(context, &args),
        PassphraseCommand::Validate => validate::run(context),
        PassphraseCommand::RecoveryKey => recovery_key::run(context),
        PassphraseCommand::Slots => slots::list(context),
        PassphraseCommand::Revoke(args) => slots::revoke(context, &args),
    }
}
