//! The documents of the servers of a vault.

use lockstone_proto::ids::{DomainId, ServerId};
use lockstone_vault::access::registration::Server;
use serde::Serialize;

use super::vault::DamageDocument;

/// The answer of `vault servers`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServersDocument {
    pub(crate) servers: Vec<ServerDocument>,
    pub(crate) damaged: Vec<DamageDocument>,
}

/// A registered server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServerDocument {
    /// Its name.
    server: String,
    id: ServerId,
    domain_id: DomainId,
    registered: String,
}

impl From<&Server> for ServerDocument {
    fn from(server: &Server) -> ServerDocument {
        ServerDocument {
            server: server.name.clone(),
            id: server.id,
            domain_id: server.domain,
            registered: server.registered.to_string(),
        }
    }
}
