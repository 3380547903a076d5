//! `lockstone vault create`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::vault::{CreatedVaultDocument, ProbeDocument};
use crate::failure::Exit;
use crate::operator::create::{NewVault, create};
use crate::text::units;

/// Options of `vault create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Where: a path, file:///dir, s3://bucket/prefix or az://container/prefix
    #[arg(value_parser = units::vault_url)]
    url: String,
    /// Where its secondary region is
    #[arg(long, value_name = "URL", value_parser = units::vault_url)]
    secondary: Option<String>,
    /// Whose vault it is; a note for the operator, which `vault tenant` changes
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// For so many days a deleted recovery point can be brought back
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(0..=3650))]
    soft_delete_days: u32,
}

pub(super) fn run(context: &Context, args: CreateArgs) -> Outcome {
    let new = NewVault {
        url: args.url,
        secondary_url: args.secondary,
        tenant: args.tenant,
        soft_delete_days: args.soft_delete_days,
    };
    let created = context.block_on(create(&context.environment, new))?;
    let (vault, probe, out) = (&created.vault, &created.probe, &context.out);
    out.document(&CreatedVaultDocument {
        vault: vault.id(),
        url: vault.store().url().to_owned(),
        operator_key_file: created.key_file.clone(),
        soft_delete_days: vault.descriptor().soft_delete_days,
        probe: ProbeDocument::from(probe),
    });
    out.line(format!("Vault {} in {}", vault.id(), vault.store().url()));
    for line in probe.lines() {
        out.line(format!("  {line}"));
    }
    out.line(format!(
        "  operator's key: {} (keep a copy: it alone admits servers)",
        created.key_file.display()
    ));
    Ok(Exit::Done)
}
