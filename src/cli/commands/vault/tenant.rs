//! `lockstone vault tenant`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::vault::TenantDocument;
use crate::failure::Exit;
use crate::operator::tenant;
use crate::text::{render, units};

/// Options of `vault tenant`.
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    url: String,
    /// Whose vault it is from now on; an empty text for none
    tenant: String,
}

pub(super) fn run(context: &Context, args: &TenantArgs) -> Outcome {
    let moved = context.block_on(tenant::set(&context.environment, &args.url, &args.tenant))?;
    let word = |tenant: &Option<String>| match tenant {
        Some(tenant) => render::name(tenant.as_bytes()),
        None => "no tenant".to_owned(),
    };
    context.out.line(if moved.before == moved.now {
        format!("Vault {} belongs to {} already", moved.vault, word(&moved.now))
    } else {
        let (before, now) = (word(&moved.before), word(&moved.now));
        format!("Vault {} belongs to {now} now (before: {before})", moved.vault)
    });
    context.out.document(&TenantDocument {
        vault: moved.vault,
        tenant: moved.now,
        before: moved.before,
    });
    Ok(Exit::Done)
}
