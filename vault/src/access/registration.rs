//! Registrations: which servers may write to the vault, and with which keys. `servers/<server>/registration` is a
//! `SignedRegistration`: the server's name, domain and key, signed with that key and with an admission key that the
//! operator signed. So a reader who knows the operator's key can trust every server's key.
//!
//! `Servers` is the directory with which signatures of log entries and job records are checked. It knows the operator's
//! orders as well, so it also says which entries count.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use lockstone_proto::access::{Registration, SignedRegistration};
use lockstone_proto::ids::{CredentialId, DomainId, ServerId, VaultId};
use lockstone_proto::limits::{FORMAT_VERSION, RECORD_MAX};
use prost::Message;

use crate::access::credentials::{Admitted, CredentialsError, VaultCredentials};
use crate::access::orders::{Ended, Orders};
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::store::{Store, StoreError, names};

const CONTEXT: &[u8] = b"lockstone v1 registration\0";
const MACHINE_CONTEXT: &str = "lockstone v1 machine";
/// The longest server name, bytes.
pub const NAME_MAX: usize = 255;
/// How many registrations are read at the same time.
const READ_AHEAD: usize = 8;

/// Names a machine within one vault, without telling what the operating system calls it.
pub type MachineName = [u8; 16];

/// The name of a machine within a vault, made of the operating system's own id of it.
#[must_use]
pub fn machine_name(vault: VaultId, machine_id: &str) -> MachineName {
    let material = [vault.as_bytes(), machine_id.as_bytes()].concat();
    let mut name = MachineName::default();
    let hashed = blake3::derive_key(MACHINE_CONTEXT, &material);
    name.copy_from_slice(&hashed[..MachineName::default().len()]);
    name
}

/// A registered server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The server.
    pub id: ServerId,
    /// Its name, as it registered; empty for a key that is only trusted (`Servers::trust`).
    pub name: String,
    /// Its domain.
    pub domain: DomainId,
    /// Its public key.
    pub key: VerifyingKey,
    /// When it registered.
    pub registered: Timestamp,
    /// The credentials by which it was admitted; zeros for a key that is only trusted.
    pub credentials: CredentialId,
    /// The machine that registered, if it said so.
    pub machine: Option<MachineName>,
}

/// A server that wants to register.
#[derive(Debug)]
pub struct NewServer<'a> {
    /// Its new id.
    pub id: ServerId,
    /// Its name: 1 to `NAME_MAX` bytes, no control characters.
    pub name: &'a str,
    /// The domain it joins or begins.
    pub domain: DomainId,
    /// Its signing key.
    pub key: &'a SigningKey,
    /// The machine that it is, if that is known.
    pub machine: Option<MachineName>,
}

/// Makes a registration, signed with the server's key and the admission key. Fails if the credentials are not valid
/// now, or not for the primary region.
pub(crate) fn register(
    credentials: &VaultCredentials,
    server: &NewServer<'_>,
    now: Timestamp,
) -> Result<Bytes, CredentialsError> {
    credentials.check(now)?;
    credentials.check_region(lockstone_proto::access::Region::Primary)?;
    check_name(server.name).map_err(|why| CredentialsError::Malformed {
        what: "server name",
        why: why.to_owned(),
    })?;
    let registration = Registration {
        version: FORMAT_VERSION,
        vault_id: Bytes::copy_from_slice(credentials.vault_id().as_bytes()),
        server_id: Bytes::copy_from_slice(server.id.as_bytes()),
        name: server.name.to_owned(),
        domain_id: Bytes::copy_from_slice(server.domain.as_bytes()),
        signing_key: Bytes::copy_from_slice(server.key.verifying_key().as_bytes()),
        registered_s: now.as_second(),
        machine: server.machine.map(Bytes::from_owner).unwrap_or_default(),
    };
    let encoded = Bytes::from(registration.encode_to_vec());
    let message = [CONTEXT, &encoded].concat();
    let sign = |key: &SigningKey| Bytes::copy_from_slice(&key.sign(&message).to_bytes());
    let signed = SignedRegistration {
        registration: encoded,
        admission: credentials.admission().cloned(),
        admission_signature: sign(credentials.secret()),
        server_signature: sign(server.key),
    };
    Ok(signed.encode_to_vec().into())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err("it has no character, or more than 255 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("it has control characters");
    }
    Ok(())
}

/// Checks a registration object of that server: both signatures, the operator's admission, and that the server
/// registered while it was valid. The error says what is wrong.
pub fn verify(vault: VaultId, operator: &VerifyingKey, server: ServerId, object: &[u8]) -> Result<Server, String> {
    let signed = SignedRegistration::decode(object).map_err(|_| "it cannot be decoded")?;
    let record = Registration::decode(signed.registration.clone()).map_err(|_| "it cannot be decoded")?;
    if record.version != FORMAT_VERSION {
        return Err(format!("its version {} is unknown to this program", record.version));
    }
    if signed.encode_to_vec() != object || record.encode_to_vec() != signed.registration {
        return Err("it is not encoded as the format wants it".to_owned());
    }
    let admission = signed.admission.as_ref().ok_or("it has no admission")?;
    let admitted = Admitted::verify(admission, operator).map_err(|error| error.to_string())?;
    admitted
        .check_time(record.registered_s)
        .map_err(|_| "the server registered outside the credentials' validity")?;
    let key: &[u8; 32] = record
        .signing_key
        .as_ref()
        .try_into()
        .map_err(|_| "its key has the wrong length")?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| "its key is not a valid key")?;
    let message = [CONTEXT, &signed.registration].concat();
    let check = |key: &VerifyingKey, signature: &Bytes| {
        Signature::from_slice(signature).and_then(|signature| key.verify_strict(&message, &signature))
    };
    check(&admitted.key, &signed.admission_signature).map_err(|_| "the admission's signature does not fit")?;
    check(&key, &signed.server_signature).map_err(|_| "the server's signature does not fit")?;
    if admitted.region != lockstone_proto::access::Region::Primary {
        return Err("its credentials do not admit servers".to_owned());
    }
    if admitted.vault_id != vault || record.vault_id != vault.as_ref() || record.server_id != server.as_ref() {
        return Err("it belongs elsewhere".to_owned());
    }
    check_name(&record.name)?;
    let machine = match record.machine.as_ref() {
        [] => None,
        name => Some(name.try_into().map_err(|_| "its machine's name has the wrong length")?),
    };
    Ok(Server {
        id: server,
        name: record.name,
        domain: DomainId::try_from(record.domain_id.as_ref()).map_err(|error| error.to_string())?,
        key,
        registered: Timestamp::from_second(record.registered_s).map_err(|error| error.to_string())?,
        credentials: admitted.id,
        machine,
    })
}

/// What a registered machine knows of its vault, so that no other can take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VaultPin {
    /// The vault.
    pub vault_id: VaultId,
    /// Its operator.
    pub operator_key: VerifyingKey,
}

/// The servers of a vault, by their ids, and what the operator ordered about them.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    by_id: BTreeMap<ServerId, Server>,
    orders: Orders,
}

impl Servers {
    /// The server of that id.
    #[must_use]
    pub fn get(&self, id: ServerId) -> Option<&Server> {
        self.by_id.get(&id)
    }

    /// All servers, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Server> {
        self.by_id.values()
    }

    /// The operator's orders.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// The end of a server's right to write, if the operator ended it.
    #[must_use]
    pub fn ended(&self, id: ServerId) -> Option<&Ended> {
        self.orders.ended(id)
    }

    /// The servers of that name, newest registration first. A server that registers again gets a new id.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Vec<&Server> {
        let mut found: Vec<&Server> = self.iter().filter(|server| server.name == name).collect();
        found.sort_by_key(|server| std::cmp::Reverse((server.registered, server.id)));
        found
    }

    /// Adds a server.
    pub fn insert(&mut self, server: Server) {
        self.orders.registered(server.id, server.domain, server.credentials);
        self.by_id.insert(server.id, server);
    }

    /// Adds a key that the caller knows to be the server's, such as the agent's own, unless the server's registration
    /// was read. So a damaged registration does not hide a server's points.
    pub fn trust(&mut self, id: ServerId, domain: DomainId, key: VerifyingKey) {
        let server = Server {
            id,
            name: String::new(),
            domain,
            key,
            registered: Timestamp::UNIX_EPOCH,
            credentials: CredentialId::default(),
            machine: None,
        };
        self.by_id.entry(id).or_insert(server);
    }

    /// Reads and checks all registrations of a vault. Those that are damaged or forged are named and left out.
    pub(crate) async fn load(store: &Store, pin: &VaultPin) -> Result<(Self, Vec<Damage>), VaultError> {
        let folders = store.folders(names::SERVERS).await?;
        let read = futures::stream::iter(folders).map(|folder| async move {
            let Ok(id) = folder.parse::<ServerId>() else {
                return Ok(None);
            };
            match load_one(store, pin, id).await {
                Ok(found) => Ok(Some(found)),
                Err(error) => Err(error),
            }
        });
        let read: Vec<_> = read.buffered(READ_AHEAD).try_collect().await?;
        let (orders, mut damage) = Orders::load(store, pin.vault_id, &pin.operator_key).await?;
        let mut servers = Self {
            by_id: BTreeMap::new(),
            orders,
        };
        for found in read.into_iter().flatten() {
            match found {
                Ok(server) => servers.insert(server),
                Err(damaged) => damage.push(damaged),
            }
        }
        Ok((servers, damage))
    }

    /// Reads the operator's orders anew.
    pub(crate) async fn refresh_orders(&mut self, store: &Store, pin: &VaultPin) -> Result<(), VaultError> {
        let (mut orders, _) = Orders::load(store, pin.vault_id, &pin.operator_key).await?;
        for server in self.by_id.values() {
            orders.registered(server.id, server.domain, server.credentials);
        }
        self.orders = orders;
        Ok(())
    }

    /// Looks for a server that may have registered since the servers were listed; says whether it is known now.
    pub(crate) async fn look_for(
        &mut self,
        store: &Store,
        pin: &VaultPin,
        server: ServerId,
    ) -> Result<bool, StoreError> {
        match load_one(store, pin, server).await? {
            Ok(found) => {
                self.insert(found);
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }
}

/// Reads one registration. Returns the server, or the damage to the object.
async fn load_one(store: &Store, pin: &VaultPin, id: ServerId) -> Result<Result<Server, Damage>, StoreError> {
    let name = names::registration(id);
    let object = match store.get(&name, RECORD_MAX).await {
        Ok(object) => object,
        Err(error) if error.is_object_fault() => {
            return Ok(Err(Damage::new(DamageKind::Registration, name, error)));
        }
        Err(error) => return Err(error),
    };
    let read = verify(pin.vault_id, &pin.operator_key, id, &object);
    Ok(read.map_err(|why| Damage::new(DamageKind::Registration, name, why)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::access::credentials::{Issue, OperatorKey, generate_signing_key};
    use lockstone_proto::access::Region;

    fn now() -> Timestamp {
        "2026-11-22T03:00:00Z".parse().unwrap()
    }

    fn credentials(operator: &OperatorKey, region: Region) -> VaultCredentials {
        let issue = Issue {
            region,
            url: String::new(),
            secondary_url: None,
            tenant: None,
            now: now(),
            valid_days: 1,
        };
        operator.issue(&issue).unwrap()
    }

    #[test]
    fn a_registration_proves_the_servers_key() {
        let operator = OperatorKey::generate().unwrap();
        let key = generate_signing_key().unwrap();
        let id = ServerId([1; 16]);
        let new = NewServer {
            id,
            name: "web 1",
            domain: DomainId([2; 16]),
            key: &key,
            machine: Some([7; 16]),
        };
        let object = register(&credentials(&operator, Region::Primary), &new, now()).unwrap();
        let server = verify(operator.vault_id(), &operator.public(), id, &object).unwrap();
        assert_eq!((server.key, server.name.as_str()), (key.verifying_key(), "web 1"));
        assert_eq!(server.machine, Some([7; 16]));

        for at in 0..object.len() {
            for bit in [0, 3, 7] {
                let mut changed = object.to_vec();
                changed[at] ^= 1 << bit;
                assert!(
                    verify(operator.vault_id(), &operator.public(), id, &changed).is_err(),
                    "byte {at}"
                );
            }
            assert!(verify(operator.vault_id(), &operator.public(), id, &object[..at]).is_err());
        }
        assert!(verify(VaultId([0; 16]), &operator.public(), id, &object).is_err());
        assert!(verify(operator.vault_id(), &operator.public(), ServerId([3; 16]), &object).is_err());
        let other = OperatorKey::generate().unwrap();
        assert!(verify(operator.vault_id(), &other.public(), id, &object).is_err());
    }

    #[test]
    fn only_valid_credentials_of_the_primary_region_register() {
        let operator = OperatorKey::generate().unwrap();
        let key = generate_signing_key().unwrap();
        let new = NewServer {
            id: ServerId([1; 16]),
            name: "web",
            domain: DomainId([2; 16]),
            key: &key,
            machine: Some([7; 16]),
        };
        let late = now() + jiff::SignedDuration::from_hours(24);
        assert!(matches!(
            register(&credentials(&operator, Region::Primary), &new, late),
            Err(CredentialsError::Expired(_))
        ));
        assert!(matches!(
            register(&credentials(&operator, Region::Secondary), &new, now()),
            Err(CredentialsError::WrongRegion { .. })
        ));
        let nameless = NewServer { name: "", ..new };
        assert!(register(&credentials(&operator, Region::Primary), &nameless, now()).is_err());
    }
}
