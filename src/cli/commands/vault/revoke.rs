//! `lockstone vault revoke`.

use clap::{ArgGroup, Args};

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::server::{RevocationDocument, RevokedServerDocument, StayingServerDocument};
use crate::failure::Exit;
use crate::operator::revoke::{Revocation, RevokedServer, Target, revoke};
use crate::text::{render, units};

/// Options of `vault revoke`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(crate) struct RevokeArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    url: String,
    /// End this server's right to write (a name, or an id): nothing that it writes from now on counts
    #[arg(long, value_name = "SERVER", group = "what")]
    server: Option<String>,
    /// End these credentials (their id, or the file)
    #[arg(long, value_name = "ID", group = "what")]
    credential: Option<String>,
    /// What the server wrote at that time or later does not count either
    #[arg(long, value_name = "DATE", value_parser = units::since, conflicts_with = "credential")]
    since: Option<i64>,
    /// Why; the agents show it
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

pub(super) fn run(context: &Context, args: &RevokeArgs) -> Outcome {
    let target = match (&args.server, &args.credential) {
        (Some(word), _) => Target::Server {
            word,
            since: args.since,
        },
        (None, word) => Target::Credentials(word.as_deref().unwrap_or_default()),
    };
    let revoked = revoke(&context.environment, &args.url, target, &args.reason);
    let revoked = context.block_on(revoked)?;
    context.out.document(&document(&revoked));
    show(context, &revoked);
    Ok(Exit::Done)
}

fn document(revoked: &Revocation) -> RevocationDocument {
    match revoked {
        Revocation::Servers(servers) => RevocationDocument::Servers {
            revoked: servers.iter().map(server_document).collect(),
        },
        Revocation::Credentials { id, servers } => RevocationDocument::Credentials {
            credential_id: *id,
            servers: servers
                .iter()
                .map(|server| StayingServerDocument {
                    server: server.name.clone(),
                    id: server.id,
                })
                .collect(),
        },
    }
}

fn server_document(revoked: &RevokedServer) -> RevokedServerDocument {
    RevokedServerDocument {
        server: revoked.server.name.clone(),
        id: revoked.server.id,
        domain_id: revoked.server.domain,
        last_entry: revoked.last_entry,
        slots_removed: revoked.slots_removed,
        again: revoked.again,
    }
}

fn show(context: &Context, revoked: &Revocation) {
    let out = &context.out;
    match revoked {
        Revocation::Servers(servers) => {
            for RevokedServer {
                server,
                last_entry,
                slots_removed,
                again,
            } in servers
            {
                let name = render::name(server.name.as_bytes());
                let had = if *again { "had been" } else { "is" };
                out.line(format!(
                    "{name} ({}) {had} revoked: its entries behind {last_entry} of the log of domain {} do not count",
                    server.id,
                    &server.domain.hex()[..8]
                ));
                if *slots_removed > 0 {
                    out.line("  its machine's key opens the backups no longer");
                }
            }
            out.line(
                "If the machine is in other hands: change the store's keys, and register the other servers of the domain \
                 in a new one (docs/operations.md, \"A stolen machine\").",
            );
        }
        Revocation::Credentials { id, servers } => {
            out.line(format!(
                "The credentials {id} are revoked: nobody registers or restores with them any more"
            ));
            for server in servers {
                out.line(format!(
                    "  {} ({}) registered with them and stays; `--server` revokes it, too",
                    render::name(server.name.as_bytes()),
                    server.id
                ));
            }
        }
    }
}
