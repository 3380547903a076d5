//! `lockstone passphrase …`: checking the passphrase of this server's backups, and changing it.

mod change;
mod validate;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// What to do with the passphrase.
#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseCommand {
    /// Change the passphrase (asks for the old one, then for the new one)
    Change(change::ChangeArgs),
    /// Check that a passphrase (or recovery key) opens this server's backups
    Validate,
}

/// A wrong passphrase ends with exit code 5.
pub(crate) fn run(context: &Context, command: PassphraseCommand) -> Outcome {
    match command {
        PassphraseCommand::Change(args) => change::run(context, &args),
        PassphraseCommand::Validate => validate::run(context),
    }
}
