//! `lockstone vault servers`.

use clap::Args;

use super::{damage_documents, warn_of_damage};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::server::{LastJobDocument, RevokedDocument, ServerDocument, ServersDocument};
use crate::operator::servers::{self, ServerOverview};
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
        servers: servers.iter().map(document).collect(),
        damaged: damage_documents(&damaged),
    });
    let rows: Vec<Vec<String>> = servers.iter().map(row).collect();
    let head = [
        "SERVER",
        "ID",
        "DOMAIN",
        "REGISTERED",
        "LAST POINT",
        "POINTS",
        "STORED",
        "LAST JOB",
        "HEALTH",
    ];
    context.out.text(&render::table(&head, &rows, &[5, 6]));
    Ok(warn_of_damage(context, &damaged))
}

fn document(found: &ServerOverview) -> ServerDocument {
    let server = &found.server;
    ServerDocument {
        server: server.name.clone(),
        id: server.id,
        domain_id: server.domain,
        registered: server.registered.to_string(),
        credential_id: server.credentials,
        last_point: found.last_point.map(|time| render::utc_time(time, 0)),
        points: found.points,
        stored_bytes: found.stored_bytes,
        expired_points: found.expired_points,
        last_job: found.last_job.as_ref().map(LastJobDocument::from),
        health: found.health.word(),
        revoked: found.ended.as_ref().map(RevokedDocument::from),
    }
}

fn row(found: &ServerOverview) -> Vec<String> {
    let server = &found.server;
    let job = found.last_job.as_ref();
    vec![
        render::name(server.name.as_bytes()),
        server.id.hex(),
        server.domain.hex()[..8].to_owned(),
        render::local_time(server.registered.as_second()),
        found.last_point.map_or_else(|| "-".to_owned(), render::local_time),
        render::count(found.points),
        render::bytes(found.stored_bytes),
        job.map_or_else(|| "-".to_owned(), |job| format!("{} {}", job.kind(), job.state())),
        match found.expired_points {
            0 => found.health.word().to_owned(),
            expired => format!("{}, {} expired", found.health.word(), render::count(expired)),
        },
    ]
}
