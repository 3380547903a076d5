//! `lockstone vault …`: the operator's side.

mod create;
mod credentials;
mod info;
mod jobs;
mod points;
mod revoke;
mod servers;
mod tenant;

use clap::{Args, Subcommand};
use lockstone_vault::damage::Damage;

use crate::agent::notices::Notices;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::vault::DamageDocument;
use crate::failure::Exit;
use crate::text::units;

/// What to do with a vault.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault: in a folder, which is made too, or in a bucket or container, which must be there
    Create(create::CreateArgs),
    /// Issue credentials by which servers register, and restore
    Credentials(credentials::CredentialsArgs),
    /// List the servers of a vault, and how they are
    Servers(servers::UrlArgs),
    /// List the jobs of a vault's servers, oldest first
    Jobs(jobs::JobsArgs),
    /// List the recovery points of a vault's servers, oldest first
    Points(ServerArgs),
    /// What a vault is, and what its store does
    Info(info::InfoArgs),
    /// End the right of a server, or of credentials
    Revoke(revoke::RevokeArgs),
    /// Move a vault to another tenant
    Tenant(tenant::TenantArgs),
}

/// A vault, and maybe one of its servers.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    url: String,
    /// Only this server (a name, or an id)
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
}

pub(crate) fn run(context: &Context, command: VaultCommand) -> Outcome {
    match command {
        VaultCommand::Create(args) => create::run(context, args),
        VaultCommand::Credentials(args) => credentials::run(context, &args),
        VaultCommand::Servers(args) => servers::run(context, &args),
        VaultCommand::Jobs(args) => jobs::run(context, &args),
        VaultCommand::Points(args) => points::run(context, &args),
        VaultCommand::Info(args) => info::run(context, &args),
        VaultCommand::Revoke(args) => revoke::run(context, &args),
        VaultCommand::Tenant(args) => tenant::run(context, &args),
    }
}

fn damage_documents(damaged: &[Damage]) -> Vec<DamageDocument> {
    damaged.iter().map(DamageDocument::from).collect()
}

/// Warns about everything that could not be read. The list holds the rest, so damage is only a warning.
fn warn_of_damage(context: &Context, damaged: &[Damage]) -> Exit {
    for damage in damaged {
        context.out.damaged(damage);
    }
    if damaged.is_empty() { Exit::Done } else { Exit::Warnings }
}
