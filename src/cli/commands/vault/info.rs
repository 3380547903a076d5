//! `lockstone vault info`.

use clap::Args;

use super::{damage_documents, warn_of_damage};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::vault::{ProbeDocument, RegionDocument, VaultInfoDocument};
use crate::operator::info::{VaultInfo, info};
use crate::text::{render, units};

/// Options of `vault info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    url: String,
    /// Do not try what the store does, which writes a few small objects and removes them
    #[arg(long)]
    no_probe: bool,
}

pub(super) fn run(context: &Context, args: &InfoArgs) -> Outcome {
    let found = context.block_on(info(&context.environment, &args.url, !args.no_probe))?;
    let descriptor = found.vault.descriptor();
    context.out.document(&VaultInfoDocument {
        id: found.vault.id(),
        url: found.vault.store().url().to_owned(),
        regions: descriptor
            .regions
            .iter()
            .map(|region| RegionDocument {
                name: region.name.clone(),
                url: region.url.clone(),
            })
            .collect(),
        tenant: found.tenant.clone(),
        created: descriptor.created.to_string(),
        soft_delete_days: descriptor.soft_delete_days,
        store: found.probe.as_ref().map(ProbeDocument::from),
        servers: found.servers,
        revoked_servers: found.revoked_servers,
        domains: found.domains,
        points: found.points,
        operator_key: hex::encode(descriptor.operator_key.as_bytes()),
        operator_key_here: found.has_operator_key,
        damaged: damage_documents(&found.damaged),
    });
    show(context, &found);
    Ok(warn_of_damage(context, &found.damaged))
}

fn show(context: &Context, found: &VaultInfo) {
    let (out, descriptor) = (&context.out, found.vault.descriptor());
    out.line(format!(
        "Vault          {} in {}",
        found.vault.id(),
        found.vault.store().url()
    ));
    for region in &descriptor.regions {
        out.line(format!("Region         {}: {}", region.name, region.url));
    }
    let tenant = found.tenant.as_deref().unwrap_or("-");
    out.line(format!("Tenant         {}", render::name(tenant.as_bytes())));
    let created = render::local_time(descriptor.created.as_second());
    out.line(format!("Created        {created}"));
    let days = u64::from(descriptor.soft_delete_days);
    out.line(format!("Soft delete    {}", render::counted(days, "day", "days")));
    out.line(format!(
        "Servers        {}, {} revoked, in {}",
        render::count(found.servers),
        render::count(found.revoked_servers),
        render::counted(found.domains, "domain", "domains")
    ));
    out.line(format!("Points         {}", render::count(found.points)));
    let here = if found.has_operator_key {
        "on this machine"
    } else {
        "not on this machine"
    };
    let key = hex::encode(descriptor.operator_key.as_bytes());
    out.line(format!("Operator's key {key}; the secret half is {here}"));
    for line in found.probe.iter().flat_map(|probe| probe.lines()) {
        out.line(format!("Store          {line}"));
    }
}
