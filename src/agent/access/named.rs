//! From a server that a person names to the domains it may mean.
//!
//! A name alone never selects: several servers may have it, each with backups of its own. So a passphrase is tried on
//! all domains of a name, the newest registration first. An id of a server or of a domain, or the beginning of one,
//! names exactly one.

use lockstone_proto::ids::DomainId;
use lockstone_vault::access::registration::{Server, Servers};
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::store::Store;

use super::unlock::open_domain;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// The least number of digits by which an id is named.
const PREFIX_MIN: usize = 6;

/// Whether `word` is the server's name or id, or the beginning of its id.
pub(crate) fn is_named(known: &Server, word: &str) -> bool {
    known.name == word || begins(&known.id.hex(), word)
}

fn begins(id: &str, word: &str) -> bool {
    word.len() >= PREFIX_MIN && id.starts_with(&word.to_ascii_lowercase())
}

/// The registrations that `word` may mean, one for each domain, the newest first. `word` is a name, else an id of a
/// server or of a domain. Fails with `no-such-server` if there is none.
pub(crate) fn registrations<'s>(servers: &'s Servers, word: &str) -> Result<Vec<&'s Server>, Failure> {
    let mut found = servers.by_name(word);
    if found.is_empty() {
        found = servers
            .iter()
            .filter(|known| is_named(known, word) || begins(&known.domain.hex(), word))
            .collect();
        found.sort_by_key(|known| std::cmp::Reverse((known.registered, known.id)));
    }
    let mut domains: Vec<DomainId> = Vec::new();
    found.retain(|known| {
        let is_new = !domains.contains(&known.domain);
        domains.push(known.domain);
        is_new
    });
    if found.is_empty() {
        return Err(no_such_server(servers, word));
    }
    Ok(found)
}

pub(crate) fn no_such_server(servers: &Servers, word: &str) -> Failure {
    let mut names: Vec<&str> = servers.iter().map(|known| known.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let hint = if names.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    };
    Failure::failed("no-such-server", format!("this vault has no server {word:?}"), hint)
}

/// One sentence about several servers of one name.
pub(crate) fn list(found: &[&Server]) -> String {
    let each: Vec<String> = found
        .iter()
        .map(|known| {
            let time = render::local_time(known.registered.as_second());
            format!("{} (registered {time})", known.id.hex())
        })
        .collect();
    each.join(", ")
}

/// Opens the newest of these registrations' domains that `text` opens. Fails with `wrong-passphrase` if it opens none,
/// and with damage if one of them cannot be tried.
pub(crate) async fn open_first<'s>(
    store: &Store,
    found: &[&'s Server],
    text: &str,
) -> Result<(&'s Server, MasterKey), Failure> {
    let mut worst: Option<Failure> = None;
    for &known in found {
        match open_domain(store, known.domain, text).await {
            Ok(master) => return Ok((known, master)),
            Err(failure) if failure.code == "wrong-passphrase" => {
                worst.get_or_insert(failure);
            }
            // What one domain lost does not keep the others from being tried.
            Err(failure) if failure.exit == Exit::Damaged => worst = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    let mut failure = worst.unwrap_or_else(|| Failure::failed("no-such-server", "there is no such server", ""));
    if found.len() > 1 {
        failure.hint.push_str(&format!(
            "\nit was tried on all servers of this name: {}; an id names one of them",
            list(found)
        ));
    }
    Err(failure)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ed25519_dalek::SigningKey;
    use jiff::Timestamp;
    use lockstone_proto::ids::{CredentialId, ServerId};

    use super::*;

    fn servers() -> Servers {
        let mut servers = Servers::default();
        for (id, name, domain, time) in [(1, "web", 1, 10), (2, "web", 2, 20), (3, "web", 2, 30), (4, "db", 3, 5)] {
            servers.insert(Server {
                id: ServerId([id; 16]),
                name: name.to_owned(),
                domain: DomainId([domain * 16; 16]),
                key: SigningKey::from_bytes(&[id; 32]).verifying_key(),
                registered: Timestamp::from_second(time).unwrap(),
                credentials: CredentialId::default(),
                machine: None,
            });
        }
        servers
    }

    #[test]
    fn a_name_means_all_its_domains_the_newest_first() {
        let servers = servers();
        let found = registrations(&servers, "web").unwrap();
        assert_eq!(found.iter().map(|known| known.id.0[0]).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(registrations(&servers, "nosuch").unwrap_err().code, "no-such-server");
    }

    #[test]
    fn an_id_or_its_beginning_names_one_server_or_domain() {
        let servers = servers();
        for (word, id) in [("01010101", 1), ("0202020202", 2), ("303030", 4), ("202020", 3)] {
            let found = registrations(&servers, word).unwrap();
            assert_eq!(
                found.iter().map(|known| known.id.0[0]).collect::<Vec<_>>(),
                [id],
                "{word}"
            );
        }
        assert!(registrations(&servers, "0101").is_err());
    }
}
