//! `lockstone credentials show`: what a credentials file says, without asking the vault.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use lockstone_proto::access::Region;
use lockstone_vault::access::credentials::{VaultCredentials, region_name};

use crate::agent::access::credentials::{check_time, read_credentials};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::seen_time;
use crate::cli::context::Context;
use crate::cli::log::say;
use crate::cli::output::Outcome;
use crate::documents::common::ErrorDocument;
use crate::documents::vault::{CredentialsDocument, ShownCredentialsDocument};
use crate::failure::{Exit, Failure};
use crate::text::render;

/// What to do with a credentials file.
#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsCommand {
    /// Show what a credentials file admits to, and whether it is good now
    Show(ShowArgs),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The credentials file
    file: PathBuf,
}

/// Credentials that are not good now are shown, and end with exit code 5.
pub(crate) fn run(context: &Context, command: CredentialsCommand) -> Outcome {
    let CredentialsCommand::Show(args) = command;
    let credentials = read_credentials(&args.file)?;
    let seen = seen_time::load(&StateFolder::locate()?);
    let refused = check_time(&credentials, Timestamp::now(), None, seen)
        .err()
        .map(Failure::from);
    context.out.document(&ShownCredentialsDocument {
        credentials: CredentialsDocument::from(&credentials),
        valid: refused.is_none(),
        error: refused.as_ref().map(ErrorDocument::from),
    });
    show(context, &credentials);
    match refused {
        None => Ok(Exit::Done),
        Some(failure) => {
            say(tracing::Level::ERROR, &failure.to_string());
            Ok(failure.exit)
        }
    }
}

fn show(context: &Context, credentials: &VaultCredentials) {
    let out = &context.out;
    let only = match credentials.region() {
        Region::Secondary => "; they restore, and do not register",
        Region::Primary | Region::Unspecified => "",
    };
    let tenant = credentials.tenant().unwrap_or("-");
    out.line(format!(
        "Vault          {} in {}",
        credentials.vault_id(),
        credentials.url()
    ));
    let key = hex::encode(credentials.operator_key().as_bytes());
    out.line(format!("Operator's key {key}"));
    out.line(format!("Tenant         {}", render::name(tenant.as_bytes())));
    out.line(format!("Region         {}{only}", region_name(credentials.region())));
    let time = |time: Timestamp| render::local_time(time.as_second());
    out.line(format!("Issued         {}", time(credentials.issued())));
    out.line(format!("Good until     {}", time(credentials.expires())));
    out.line(format!("Id             {}", credentials.id()));
    out.line(format!(
        "Needs          lockstone {} or newer",
        credentials.least_version()
    ));
}
