//! Ending the right of a server or of credentials.
//!
//! The order stands in the vault, and every agent obeys it. It does not keep a thief from the store: who has the
//! store's keys reads and writes objects, whatever the order says. `docs/operations.md` says what else has to be done.

use std::path::Path;

use jiff::Timestamp;
use lockstone_proto::ids::{CredentialId, ServerId, SlotId};
use lockstone_proto::vault::SlotKind;
use lockstone_vault::access::credentials::OperatorKey;
use lockstone_vault::access::orders::REASON_MAX;
use lockstone_vault::access::registration::{Server, Servers};
use lockstone_vault::crypto::slot_store::{delete_slot, list_slots};
use lockstone_vault::log::DomainOverview;
use lockstone_vault::vault::Vault;

use super::key::operator_key;
use super::open;
use crate::agent::access::credentials::read_credentials;
use crate::agent::access::named;
use crate::agent::environment::Environment;
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;

/// What is to be revoked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// A server: its name or its id. From `since` on (seconds since the epoch), what it wrote does not count; without
    /// it, from now on.
    Server { word: &'a str, since: Option<i64> },
    /// Credentials: their id, or a file that holds them.
    Credentials(&'a str),
}

/// A server whose right has ended.
#[derive(Debug)]
pub(crate) struct RevokedServer {
    pub(crate) server: Server,
    /// The last position of its domain's log at which it counts.
    pub(crate) last_entry: u64,
    /// How many of its key slots were removed.
    pub(crate) slots_removed: u64,
    /// Whether its right had ended before.
    pub(crate) again: bool,
}

/// What was revoked.
#[derive(Debug)]
pub(crate) enum Revocation {
    Servers(Vec<RevokedServer>),
    Credentials {
        id: CredentialId,
        /// The servers that registered with them before, and stay.
        servers: Vec<Server>,
    },
}

/// Revokes a server or credentials.
pub(crate) async fn revoke(
    environment: &Environment,
    url: &str,
    target: Target<'_>,
    reason: &str,
) -> Result<Revocation, Failure> {
    if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        let message = format!("a reason is one line of up to {REASON_MAX} bytes");
        return Err(Failure::usage(message, ""));
    }
    let state = StateFolder::locate()?;
    let vault = open(environment, url).await?;
    let operator = operator_key(&state, vault.id())?;
    let (servers, damaged) = vault.servers().await?;
    for damage in &damaged {
        environment.notices.damaged(damage);
    }
    match target {
        Target::Server { word, since } => {
            let mut revoked = Vec::new();
            for server in chosen(&servers, word)? {
                let ending = EndOfServer {
                    environment,
                    vault: &vault,
                    operator: &operator,
                    servers: &servers,
                    reason,
                };
                revoked.push(ending.end(server, since).await?);
            }
            Ok(Revocation::Servers(revoked))
        }
        Target::Credentials(word) => {
            let id = credentials_id(word)?;
            let (stay, _) = vault.end_credentials(&operator, id, reason, Timestamp::now()).await?;
            let servers = stay.iter().filter_map(|id| servers.get(*id)).cloned().collect();
            Ok(Revocation::Credentials { id, servers })
        }
    }
}

/// The registrations that are meant: all of one name in one domain, which are one server that registered several times.
fn chosen<'s>(servers: &'s Servers, word: &str) -> Result<Vec<&'s Server>, Failure> {
    let mut found = servers.by_name(word);
    if found.is_empty() {
        found = servers.iter().filter(|known| named::is_named(known, word)).collect();
    }
    let Some(first) = found.first() else {
        return Err(named::no_such_server(servers, word));
    };
    if found.iter().any(|known| known.domain != first.domain) {
        return Err(Failure::failed(
            "ambiguous",
            format!("{} servers are named {word}: {}", found.len(), named::list(&found)),
            "name one of them by its id",
        ));
    }
    Ok(found)
}

fn credentials_id(word: &str) -> Result<CredentialId, Failure> {
    if let Ok(id) = word.to_ascii_lowercase().parse() {
        return Ok(id);
    }
    if Path::new(word).is_file() {
        return Ok(read_credentials(Path::new(word))?.id());
    }
    let hint = "`lockstone credentials show FILE` tells the id; a file that holds them will do, too";
    Err(Failure::usage(format!("{word:?} is no id of credentials"), hint))
}

struct EndOfServer<'a> {
    environment: &'a Environment,
    vault: &'a Vault,
    operator: &'a OperatorKey,
    servers: &'a Servers,
    reason: &'a str,
}

impl EndOfServer<'_> {
    async fn end(&self, server: &Server, since: Option<i64>) -> Result<RevokedServer, Failure> {
        let before = self.servers.ended(server.id).map(|ended| ended.last_entry);
        let view = self.vault.overview(server.domain, self.servers).await?;
        let last_entry = last_entry(&view, server.id, since);
        let again = before.is_some_and(|before| before <= last_entry);
        if !again {
            let which = (server.id, server.domain);
            let now = Timestamp::now();
            let ordered = self
                .vault
                .end_server(self.operator, which, last_entry, self.reason, now);
            ordered.await?;
        }
        // The order comes first: without it, a slot that is gone only makes the machine ask for the passphrase.
        let slots_removed = self.remove_slots(server).await;
        Ok(RevokedServer {
            server: server.clone(),
            last_entry: before.map_or(last_entry, |before| before.min(last_entry)),
            slots_removed,
            again,
        })
    }

    /// Removes the machine's key slots, so that its key opens nothing. What cannot be removed is a warning: the order
    /// is given.
    async fn remove_slots(&self, server: &Server) -> u64 {
        let (store, notices) = (self.vault.store(), &self.environment.notices);
        let removed = async {
            let (slots, _) = list_slots(store, server.domain).await?;
            let is_its = |slot: &&lockstone_proto::vault::KeySlot| {
                slot.kind() == SlotKind::Machine && slot.server_id == server.id.as_ref()
            };
            let own: Vec<SlotId> = slots
                .iter()
                .filter(is_its)
                .filter_map(|slot| SlotId::try_from(slot.slot_id.as_ref()).ok())
                .collect();
            if own.len() == slots.len() && !own.is_empty() {
                notices.warn(format!(
                    "the key slot of {} stays: it is the last one that opens these backups",
                    server.name
                ));
                return Ok(0);
            }
            for id in &own {
                delete_slot(store, server.domain, *id).await?;
            }
            Ok::<_, Failure>(own.len() as u64)
        };
        removed.await.unwrap_or_else(|failure| {
            notices.warn(format!(
                "the key slot of {} stays in the vault: {}",
                server.name, failure.message
            ));
            0
        })
    }
}

/// The last position at which the server counts.
fn last_entry(view: &DomainOverview, server: ServerId, since: Option<i64>) -> u64 {
    let Some(since) = since else { return view.end };
    let own = view.entries.iter().filter(|(_, by, _)| *by == server);
    let first = own.filter(|(_, _, time)| *time >= since).map(|(n, _, _)| *n).min();
    first.map_or(view.end, |first| first - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_counts_up_to_the_entry_before_the_first_that_is_too_late() {
        let (one, two) = (ServerId([1; 16]), ServerId([2; 16]));
        let view = DomainOverview {
            points: Vec::new(),
            end: 9,
            entries: vec![(1, one, 10), (2, two, 20), (3, one, 30), (5, one, 50), (6, two, 60)],
            damage: Vec::new(),
        };
        assert_eq!(last_entry(&view, one, None), 9);
        assert_eq!(last_entry(&view, one, Some(31)), 4);
        assert_eq!(last_entry(&view, one, Some(10)), 0);
        assert_eq!(last_entry(&view, one, Some(51)), 9);
        assert_eq!(last_entry(&view, two, Some(0)), 1);
    }
}
