//! The operator's orders: what the operator decided after the vault was made. `orders/<n>` is a `SignedOrder`, signed
//! with the operator's key, and created only if there is none of that number. An order ends the right of a server or of
//! credentials, or names the vault's tenant. It is never changed and never taken back.
//!
//! Agents read the orders where they read the registrations. An order that ends a server's right names the last
//! position of the log at which that server counts. So every reader agrees on which entries count, and what the server
//! wrote before stays. An order that ends credentials names the servers that registered with them before: nothing else
//! tells them from one that registers later with a date of its choice.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use lockstone_proto::access::{Order, OrderKind, SignedOrder};
use lockstone_proto::ids::{CredentialId, DomainId, ServerId, VaultId};
use lockstone_proto::limits::{FORMAT_VERSION, RECORD_MAX};
use prost::Message;

use crate::access::credentials::{CredentialsError, OperatorKey, VaultCredentials, check_tenant};
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::store::{Created, Store, names};

const CONTEXT: &[u8] = b"lockstone v1 order\0";
/// The longest reason, bytes.
pub const REASON_MAX: usize = 1024;
/// How many orders are read at the same time.
const READ_AHEAD: usize = 8;
/// How many numbers may be taken, one after the other, while an order is given.
const TRIES: u32 = 1000;

/// What an order says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Entries of this server behind that position of its domain's log do not count.
    EndServer {
        /// The server.
        server: ServerId,
        /// Its domain.
        domain: DomainId,
        /// The last position at which it counts.
        last_entry: u64,
    },
    /// Nothing is admitted by these credentials any more.
    EndCredentials {
        /// Which.
        credentials: CredentialId,
        /// The servers that registered with them before.
        servers: Vec<ServerId>,
    },
    /// The vault belongs to this tenant from now on, or to none.
    SetTenant(Option<String>),
}

/// The end of a server's right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The server's domain.
    pub domain: DomainId,
    /// The last position of the domain's log at which the server counts.
    pub last_entry: u64,
    /// When the operator decided it.
    pub at: Timestamp,
    /// What the operator said about it; may be empty.
    pub reason: String,
}

/// The end of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCredentials {
    /// The servers that registered with them before.
    pub servers: Vec<ServerId>,
    /// When the operator decided it.
    pub at: Timestamp,
    /// What the operator said about it; may be empty.
    pub reason: String,
}

/// What the operator ordered, summed up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    servers: BTreeMap<ServerId, Ended>,
    credentials: BTreeMap<CredentialId, EndedCredentials>,
    tenant: Option<Option<String>>,
    last: u64,
}

impl Orders {
    /// The end of a server's right, if it was ended.
    #[must_use]
    pub fn ended(&self, server: ServerId) -> Option<&Ended> {
        self.servers.get(&server)
    }

    /// The end of credentials, if they were revoked.
    #[must_use]
    pub fn ended_credentials(&self, credentials: CredentialId) -> Option<&EndedCredentials> {
        self.credentials.get(&credentials)
    }

    /// Fails if the credentials were revoked.
    pub fn admit(&self, credentials: &VaultCredentials) -> Result<(), CredentialsError> {
        match self.ended_credentials(credentials.id()) {
            Some(ended) => Err(CredentialsError::Revoked {
                at: ended.at,
                reason: ended.reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Whether an entry of the server counts at that position of the domain's log.
    pub(crate) fn counts(&self, server: ServerId, domain: DomainId, n: u64) -> bool {
        self.ended(server)
            .is_none_or(|ended| ended.domain != domain || n <= ended.last_entry)
    }

    /// The vault's tenant. `first` is the one that the descriptor names.
    #[must_use]
    pub fn tenant<'a>(&'a self, first: Option<&'a str>) -> Option<&'a str> {
        match &self.tenant {
            Some(tenant) => tenant.as_deref(),
            None => first,
        }
    }

    /// The number of the last order; 0 if there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// A registration was made with these credentials. If they were revoked before, the server counts nowhere.
    pub(crate) fn registered(&mut self, server: ServerId, domain: DomainId, credentials: CredentialId) {
        let Some(ended) = self.credentials.get(&credentials) else {
            return;
        };
        if !ended.servers.contains(&server) {
            let ended = Ended {
                domain,
                last_entry: 0,
                at: ended.at,
                reason: ended.reason.clone(),
            };
            self.servers.insert(server, ended);
        }
    }

    /// Adds the next order.
    fn add(&mut self, number: u64, at: Timestamp, reason: String, decision: Decision) {
        match decision {
            Decision::EndServer {
                server,
                domain,
                last_entry,
            } => {
                let ended = Ended {
                    domain,
                    last_entry,
                    at,
                    reason,
                };
                // A right that was ended does not come back: the first position counts.
                match self.servers.get(&server) {
                    Some(before) if before.last_entry <= last_entry => {}
                    _ => {
                        self.servers.insert(server, ended);
                    }
                }
            }
            Decision::EndCredentials { credentials, servers } => {
                let ended = EndedCredentials { servers, at, reason };
                self.credentials.entry(credentials).or_insert(ended);
            }
            Decision::SetTenant(tenant) => self.tenant = Some(tenant),
        }
        self.last = number;
    }

    /// Reads all orders of a vault. Objects that are no orders are named and left out, and so are numbers without one.
    /// Fails if an order is of a newer version: what it says must not be missed.
    pub(crate) async fn load(
        store: &Store,
        vault: VaultId,
        operator: &VerifyingKey,
    ) -> Result<(Self, Vec<Damage>), VaultError> {
        let listed = store.list_all(names::ORDERS).await?;
        let numbers = listed.iter().filter_map(|object| {
            let number = names::log_position(&object.path)?;
            (object.path == names::order(number)).then_some(number)
        });
        let numbers: Vec<u64> = numbers.collect();
        let read = futures::stream::iter(numbers).map(|number| async move {
            let name = names::order(number);
            match store.get(&name, RECORD_MAX).await {
                Ok(object) => match verify(vault, operator, number, &object) {
                    Ok(order) => Ok((number, Ok(order))),
                    Err(Refused::Newer(found)) => Err(VaultError::NewerFormat {
                        object: name,
                        found,
                        known: FORMAT_VERSION,
                    }),
                    Err(Refused::UnknownKind(kind)) => Err(VaultError::NewerFeature {
                        object: name,
                        word: format!("order kind {kind}"),
                    }),
                    Err(Refused::Broken(why)) => Ok((number, Err(Damage::new(DamageKind::Order, name, why)))),
                },
                Err(error) if error.is_object_fault() => Ok((number, Err(Damage::new(DamageKind::Order, name, error)))),
                Err(error) => Err(error.into()),
            }
        });
        let read: Vec<_> = read.buffered(READ_AHEAD).try_collect().await?;
        let (mut orders, mut damage) = (Self::default(), Vec::new());
        let mut expected = 1;
        for (number, found) in read {
            match found {
                Ok(Read { at, reason, decision }) => {
                    if number > expected {
                        let missing = format!("it is missing, although order {number} is there");
                        damage.push(Damage::new(DamageKind::Order, names::order(expected), missing));
                    }
                    orders.add(number, at, reason, decision);
                    expected = number.saturating_add(1);
                }
                Err(damaged) => {
                    damage.push(damaged);
                    // What stands there may have been an order. Behind the last order it is only junk.
                    if number == expected {
                        expected = expected.saturating_add(1);
                    }
                }
            }
        }
        Ok((orders, damage))
    }
}

/// Gives an order. Returns its number. It is durable then.
pub(crate) async fn give(
    store: &Store,
    operator: &OperatorKey,
    decision: &Decision,
    reason: &str,
    now: Timestamp,
) -> Result<u64, VaultError> {
    let (before, _) = Orders::load(store, operator.vault_id(), &operator.public()).await?;
    let mut number = before.last;
    for _ in 0..TRIES {
        number = number.saturating_add(1);
        let object = sign(operator, number, decision, reason, now);
        // Another one may give an order at the same time, and what is no order may stand there: the next number is as
        // good.
        if store.create(&names::order(number), object).await? == Created::New {
            return Ok(number);
        }
    }
    Err(VaultError::TooManyAttempts)
}

fn sign(operator: &OperatorKey, number: u64, decision: &Decision, reason: &str, now: Timestamp) -> Bytes {
    let mut order = Order {
        version: FORMAT_VERSION,
        vault_id: bytes_of(&operator.vault_id()),
        number,
        time_s: now.as_second(),
        reason: reason.to_owned(),
        ..Order::default()
    };
    match decision {
        Decision::EndServer {
            server,
            domain,
            last_entry,
        } => {
            order.set_kind(OrderKind::EndServer);
            order.server_id = bytes_of(server);
            order.domain_id = bytes_of(domain);
            order.last_entry = *last_entry;
        }
        Decision::EndCredentials { credentials, servers } => {
            order.set_kind(OrderKind::EndCredentials);
            order.credential_id = bytes_of(credentials);
            order.servers = servers.iter().map(bytes_of).collect();
        }
        Decision::SetTenant(tenant) => {
            order.set_kind(OrderKind::SetTenant);
            order.tenant = tenant.clone().unwrap_or_default();
        }
    }
    let order = Bytes::from(order.encode_to_vec());
    let signature = operator.signing().sign(&[CONTEXT, &order].concat());
    let signature = Bytes::copy_from_slice(&signature.to_bytes());
    SignedOrder { order, signature }.encode_to_vec().into()
}

fn bytes_of(id: &impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(id.as_ref())
}

/// An order that was read.
#[derive(Debug)]
pub struct Read {
    at: Timestamp,
    reason: String,
    /// What it says.
    pub decision: Decision,
}

/// Why an object is not taken for an order.
#[derive(Debug)]
pub enum Refused {
    /// It is none, or not encoded as the format prescribes.
    Broken(&'static str),
    /// The operator signed it, in a newer version.
    Newer(u32),
    /// The operator signed it, and its kind is not known here.
    UnknownKind(i32),
}

impl From<&'static str> for Refused {
    fn from(why: &'static str) -> Self {
        Self::Broken(why)
    }
}

/// Checks an object at `orders/<number>`.
pub fn verify(vault: VaultId, operator: &VerifyingKey, number: u64, object: &[u8]) -> Result<Read, Refused> {
    let signed = SignedOrder::decode(object).map_err(|_| "it cannot be decoded")?;
    let signature = Signature::from_slice(&signed.signature).map_err(|_| "its signature has the wrong length")?;
    operator
        .verify_strict(&[CONTEXT, &signed.order].concat(), &signature)
        .map_err(|_| "the operator's signature does not fit")?;
    let order = Order::decode(signed.order.clone()).map_err(|_| "it cannot be decoded")?;
    if order.version > FORMAT_VERSION {
        return Err(Refused::Newer(order.version));
    }
    if order.version != FORMAT_VERSION || signed.encode_to_vec() != object || order.encode_to_vec() != signed.order {
        return Err("it is not encoded as the format wants it".into());
    }
    if order.vault_id != vault.as_ref() || order.number != number {
        return Err("it belongs elsewhere".into());
    }
    if order.reason.len() > REASON_MAX {
        return Err("its reason is too long".into());
    }
    let at = Timestamp::from_second(order.time_s).map_err(|_| "its time is impossible")?;
    let decision = decision(&order)?;
    // A field that the kind has no use for is a mistake, and must not be taken for something else.
    let bare = Order {
        version: order.version,
        vault_id: order.vault_id.clone(),
        number: order.number,
        time_s: order.time_s,
        kind: order.kind,
        reason: order.reason.clone(),
        ..Order::default()
    };
    let used = match &decision {
        Decision::EndServer { .. } => Order {
            server_id: order.server_id.clone(),
            domain_id: order.domain_id.clone(),
            last_entry: order.last_entry,
            ..bare
        },
        Decision::EndCredentials { .. } => Order {
            credential_id: order.credential_id.clone(),
            servers: order.servers.clone(),
            ..bare
        },
        Decision::SetTenant(_) => Order {
            tenant: order.tenant.clone(),
            ..bare
        },
    };
    if used != order {
        return Err("it has fields that its kind has no use for".into());
    }
    Ok(Read {
        at,
        reason: order.reason,
        decision,
    })
}

fn decision(order: &Order) -> Result<Decision, Refused> {
    let server = |id: &Bytes| ServerId::try_from(id.as_ref()).map_err(|_| "a server's id has the wrong length");
    match OrderKind::try_from(order.kind) {
        Ok(OrderKind::EndServer) => Ok(Decision::EndServer {
            server: server(&order.server_id)?,
            domain: DomainId::try_from(order.domain_id.as_ref()).map_err(|_| "its domain is not an id")?,
            last_entry: order.last_entry,
        }),
        Ok(OrderKind::EndCredentials) => Ok(Decision::EndCredentials {
            credentials: CredentialId::try_from(order.credential_id.as_ref())
                .map_err(|_| "its credentials have no id")?,
            servers: order.servers.iter().map(server).collect::<Result<_, _>>()?,
        }),
        Ok(OrderKind::SetTenant) => {
            check_tenant(&order.tenant)?;
            let tenant = Some(order.tenant.clone()).filter(|tenant| !tenant.is_empty());
            Ok(Decision::SetTenant(tenant))
        }
        Ok(OrderKind::Unspecified) => Err("it has no kind".into()),
        Err(_) => Err(Refused::UnknownKind(order.kind)),
    }
}

#[cfg(test)]
mod tests;
