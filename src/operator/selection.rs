//! Which of a vault's servers the operator asked for.

use lockstone_proto::ids::ServerId;
use lockstone_vault::access::registration::Servers;

use crate::agent::access::named::is_named;
use crate::failure::Failure;

/// The servers whose records are wanted: one, or all.
pub(super) struct Selection<'a> {
    servers: &'a Servers,
    /// A name or an id.
    only: Option<&'a str>,
}

impl<'a> Selection<'a> {
    /// Fails with `no-such-server` if no server has that name or id.
    pub(super) fn new(servers: &'a Servers, only: Option<&'a str>) -> Result<Selection<'a>, Failure> {
        let is_known = |word: &str| servers.iter().any(|known| is_named(known, word));
        match only {
            Some(name) if !is_known(name) => Err(Failure::failed(
                "no-such-server",
                format!("this vault has no server {name:?}"),
                "`lockstone vault servers URL` lists them",
            )),
            _ => Ok(Selection { servers, only }),
        }
    }

    pub(super) fn contains(&self, server: ServerId) -> bool {
        self.only
            .is_none_or(|word| self.servers.get(server).is_some_and(|known| is_named(known, word)))
    }

    /// A server's name, or its id if its name is not known.
    pub(super) fn name(&self, server: ServerId) -> String {
        match self.servers.get(server) {
            Some(known) => known.name.clone(),
            None => server.hex(),
        }
    }
}
