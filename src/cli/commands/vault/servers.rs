//! `lockstone vault servers`.

use clap::Args;
use lockstone_vault::access::registration::Server;

use super::{damage_documents, warn_of_damage};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::server::{ServerDocument, ServersDocument};
use crate::operator::servers;
use crate::text::{render, units};

/// A vault.
#[derive(Debug, Args)]
pub(crate) struct UrlArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    url: String,
}

pub(super) fn run(context: &Context, args: &UrlArgs) -> Outcome {
    let (servers, damaged) = context.block_on(servers::list(&context.environment, &args.url))?;
    context.out.document(&ServersDocument {
        servers: servers.iter().map(ServerDocument::from).collect(),
        damaged: damage_documents(&damaged),
    });
    let row = |server: &Server| {
        vec![
            render::name(server.name.as_bytes()),
            server.id.hex(),
            server.domain.hex()[..8].to_owned(),
            render::local_time(server.registered.as_second()),
        ]
    };
    let rows: Vec<Vec<String>> = servers.iter().map(row).collect();
    let head = ["SERVER", "ID", "DOMAIN", "REGISTERED"];
    context.out.text(&render::table(&head, &rows, &[]));
    Ok(warn_of_damage(context, &damaged))
}
