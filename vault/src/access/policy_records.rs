//! Policies: what a server does by itself, `servers/<server>/policy/<generation>`. The server signs each change of its
//! policy, and writes it under the next number. So whoever reads the vault can tell what to expect of a server, and a
//! server whose state folder was lost or set back can tell that it does not have what the vault has.
//!
//! The schedule and the retention are readable by the operator. The whole text, with the paths of what is backed up, is
//! sealed under a key of the domain.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use jiff::Timestamp;
use lockstone_proto::access::{PolicyRecord, SignedPolicy};
use lockstone_proto::ids::{DomainId, ServerId, VaultId};
use lockstone_proto::limits::{FORMAT_VERSION, RECORD_MAX};
use prost::Message;

use crate::access::registration::Server;
use crate::crypto::keys::{Keys, random};
use crate::crypto::seal::SealKey;
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::store::{Created, Store, names};

const CONTEXT: &[u8] = b"lockstone v1 policy\0";
const NONCE_LEN: usize = 16;

/// The longest text of a policy, bytes.
pub const POLICY_TEXT_MAX: usize = 256 * 1024;

/// A policy that a server is about to write.
#[derive(Debug, Clone, Copy)]
pub struct NewPolicy<'a> {
    /// The vault.
    pub vault: VaultId,
    /// The server.
    pub server: ServerId,
    /// Its number, from 1.
    pub generation: u64,
    /// When it was set.
    pub set: Timestamp,
    /// Whether it is paused.
    pub paused: bool,
    /// What the operator may read: schedule and retention as TOML.
    pub open: &'a str,
    /// The whole policy, as its server has it.
    pub text: &'a str,
}

/// A policy as it was read, with a good signature of its server. The text stays sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerPolicy {
    record: PolicyRecord,
}

impl ServerPolicy {
    /// Its number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.record.generation
    }

    /// When it was set.
    #[must_use]
    pub fn set(&self) -> Timestamp {
        Timestamp::from_second(self.record.set_s).unwrap_or_default()
    }

    /// Whether it is paused.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.record.paused
    }

    /// Schedule and retention as TOML.
    #[must_use]
    pub fn open(&self) -> &str {
        &self.record.open
    }

    /// The whole text. `None` if its seal is broken, or if it is of another domain.
    #[must_use]
    pub fn text(&self, keys: &Keys) -> Option<String> {
        let mut sealed = self.record.sealed.to_vec();
        let nonce: [u8; NONCE_LEN] = self.record.nonce.as_ref().try_into().ok()?;
        let key = SealKey::new(&keys.policy_key(self.record.generation, &nonce));
        key.open_in_place(0, &aad(&self.record), &mut sealed).ok()?;
        String::from_utf8(sealed).ok()
    }
}

/// What a vault has of a server's policies.
#[derive(Debug, Clone, Default)]
pub struct FoundPolicies {
    /// The newest one that can be read.
    pub newest: Option<ServerPolicy>,
    /// The highest number that is taken, by whatever; 0 if none is.
    pub highest: u64,
    /// The damaged ones that are newer than the newest.
    pub damage: Vec<Damage>,
}

/// Signs and writes a policy. Returns false if there is another one with this number.
pub async fn write_policy(
    store: &Store,
    keys: &Keys,
    key: &SigningKey,
    new: &NewPolicy<'_>,
) -> Result<bool, VaultError> {
    let object = seal(keys, key, new)?;
    let name = names::policy(new.server, new.generation);
    match store.create(&name, object).await? {
        Created::New => Ok(true),
        Created::Exists => Ok(false),
    }
}

fn seal(keys: &Keys, key: &SigningKey, new: &NewPolicy<'_>) -> Result<Bytes, VaultError> {
    let nonce = random::<NONCE_LEN>()?;
    let mut record = PolicyRecord {
        version: FORMAT_VERSION,
        vault_id: Bytes::copy_from_slice(new.vault.as_bytes()),
        server_id: Bytes::copy_from_slice(new.server.as_bytes()),
        domain_id: Bytes::copy_from_slice(keys.domain().as_bytes()),
        generation: new.generation,
        set_s: new.set.as_second(),
        paused: new.paused,
        open: new.open.to_owned(),
        nonce: Bytes::copy_from_slice(&nonce),
        sealed: Bytes::new(),
    };
    let mut sealed = new.text.as_bytes().to_vec();
    let sealing = SealKey::new(&keys.policy_key(new.generation, &nonce));
    let failed = |_| VaultError::damaged(DamageKind::Policy, "a new policy", "it cannot be sealed");
    sealing.seal_in_place(0, &aad(&record), &mut sealed).map_err(failed)?;
    record.sealed = sealed.into();
    let encoded = Bytes::from(record.encode_to_vec());
    let signature = key.sign(&[CONTEXT, &encoded].concat()).to_bytes();
    let signed = SignedPolicy {
        record: encoded,
        signature: Bytes::copy_from_slice(&signature),
    };
    Ok(signed.encode_to_vec().into())
}

/// What the seal of the text is bound to: the record without it.
fn aad(record: &PolicyRecord) -> Vec<u8> {
    let open = PolicyRecord {
        sealed: Bytes::new(),
        ..record.clone()
    };
    open.encode_to_vec()
}

/// The newest policy of a server.
pub async fn newest_policy(store: &Store, vault: VaultId, server: &Server) -> Result<FoundPolicies, VaultError> {
    let mut numbers: Vec<u64> = Vec::new();
    for listed in store.list_all(&names::policies(server.id)).await? {
        numbers.extend(names::generation(&listed.path));
    }
    numbers.sort_unstable();
    let mut found = FoundPolicies {
        highest: numbers.last().copied().unwrap_or(0),
        ..FoundPolicies::default()
    };
    for generation in numbers.into_iter().rev() {
        let name = names::policy(server.id, generation);
        let read = match store.get(&name, RECORD_MAX).await {
            Ok(object) => verify(vault, server, generation, &object).map_err(str::to_owned),
            Err(error) if error.is_object_fault() => Err(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        match read {
            Ok(record) => {
                found.newest = Some(ServerPolicy { record });
                break;
            }
            Err(why) => found.damage.push(Damage::new(DamageKind::Policy, name, why)),
        }
    }
    Ok(found)
}

fn verify(vault: VaultId, server: &Server, generation: u64, object: &[u8]) -> Result<PolicyRecord, &'static str> {
    let signed = SignedPolicy::decode(object).map_err(|_| "it cannot be decoded")?;
    let signature = Signature::from_slice(&signed.signature).map_err(|_| "its signature has the wrong length")?;
    server
        .key
        .verify_strict(&[CONTEXT, &signed.record].concat(), &signature)
        .map_err(|_| "the server's signature does not fit")?;
    let record = PolicyRecord::decode(signed.record.clone()).map_err(|_| "it cannot be decoded")?;
    if record.version != FORMAT_VERSION {
        return Err("its version is unknown to this program");
    }
    if signed.encode_to_vec() != object || record.encode_to_vec() != signed.record {
        return Err("it is not encoded as the format wants it");
    }
    let here = record.vault_id == vault.as_ref()
        && record.server_id == server.id.as_ref()
        && DomainId::try_from(record.domain_id.as_ref()) == Ok(server.domain)
        && record.generation == generation
        && record.nonce.len() == NONCE_LEN;
    if here { Ok(record) } else { Err("it belongs elsewhere") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_proto::ids::CredentialId;

    use super::*;
    use crate::access::credentials::generate_signing_key;
    use crate::crypto::keys::MasterKey;

    fn new() -> NewPolicy<'static> {
        NewPolicy {
            vault: VaultId([1; 16]),
            server: ServerId([2; 16]),
            generation: 3,
            set: Timestamp::UNIX_EPOCH,
            paused: false,
            open: "[schedule]\ntimes = [\"02:00\"]\n",
            text: "# the secret path\n[[item]]\npath = \"/srv/secret\"\n",
        }
    }

    fn keys(byte: u8) -> Keys {
        Keys::derive(&MasterKey::from_bytes([byte; 32]), DomainId([4; 16]))
    }

    #[test]
    fn a_policy_is_read_back_whole_and_only_by_its_domain() {
        let key = generate_signing_key().unwrap();
        let server = Server {
            id: ServerId([2; 16]),
            name: "web".to_owned(),
            domain: DomainId([4; 16]),
            key: key.verifying_key(),
            registered: Timestamp::UNIX_EPOCH,
            credentials: CredentialId::default(),
            machine: None,
        };
        let object = seal(&keys(7), &key, &new()).unwrap();
        assert!(!object.windows(6).any(|part| part == b"secret"));
        let record = verify(new().vault, &server, 3, &object).unwrap();
        let policy = ServerPolicy { record };
        assert_eq!(
            (policy.open(), policy.generation(), policy.paused()),
            (new().open, 3, false)
        );
        assert_eq!(policy.text(&keys(7)).unwrap(), new().text);
        assert_eq!(policy.text(&keys(8)), None);
        // Another place, another server, another vault, a flipped bit, a part.
        assert!(verify(new().vault, &server, 4, &object).is_err());
        assert!(verify(VaultId([9; 16]), &server, 3, &object).is_err());
        let other = Server {
            id: ServerId([5; 16]),
            ..server.clone()
        };
        assert!(verify(new().vault, &other, 3, &object).is_err());
        for at in 0..object.len() {
            let mut changed = object.to_vec();
            changed[at] ^= 4;
            assert!(verify(new().vault, &server, 3, &changed).is_err(), "byte {at}");
            assert!(verify(new().vault, &server, 3, &object[..at]).is_err());
        }
    }
}
