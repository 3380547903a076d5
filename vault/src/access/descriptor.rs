//! The descriptor `lockstone.json`: what a vault is. `vault create` writes it once; it is the first object that is
//! read.
//!
//! It is JSON, written exactly as `to_json` does (two spaces, this order, a newline at the end), so that every changed
//! byte is noticed. The operator signs, with Ed25519, `"lockstone v1 descriptor\0"` followed by a line for each field
//! in this order:
//!
//! ```text
//! format=<len>:<value>\n  vault_id=…  operator_key=…  created=…  region=…  url=…  (both for each region)  tenant=…
//! soft_delete_days=…  read-feature=…  (each)  write-feature=…  (each)
//! ```
//!
//! where `<value>` is the field as it stands in the JSON (numbers in decimal, an absent tenant as the empty string) and
//! `<len>` its length in bytes, so that no value can pass for another field.

use std::fmt::Write;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::Timestamp;
use lockstone_proto::ids::VaultId;
use lockstone_proto::limits::FORMAT_VERSION;
use serde::{Deserialize, Serialize};

use crate::access::features;
use crate::damage::DamageKind;
use crate::error::VaultError;
use crate::store::names;

const CONTEXT: &str = "lockstone v1 descriptor\0";

/// The default number of soft-delete days.
pub const SOFT_DELETE_DAYS: u32 = 14;

/// What a vault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The vault.
    pub vault_id: VaultId,
    /// The operator's public key, which admits servers.
    pub operator_key: VerifyingKey,
    /// When it was made.
    pub created: Timestamp,
    /// The primary region first.
    pub regions: Vec<RegionUrl>,
    /// The customer whose backups these are, if the operator has several.
    pub tenant: Option<String>,
    /// How long a deleted point can be brought back, days.
    pub soft_delete_days: u32,
    /// What a program must understand to use the vault.
    pub features: Features,
}

/// Words for what a program must understand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// To read.
    pub read: Vec<String>,
    /// To write.
    pub write: Vec<String>,
}

impl Features {
    /// What a new vault asks for.
    #[must_use]
    pub fn of_new_vault() -> Self {
        Self {
            read: Vec::new(),
            write: vec![features::CONDEMN.to_owned()],
        }
    }

    /// Refuses to write to a vault if this program does not know a word that its writers must understand.
    pub(crate) fn check_write(&self) -> Result<(), VaultError> {
        refuse_unknown(&self.write)
    }

    fn check_read(&self) -> Result<(), VaultError> {
        refuse_unknown(&self.read)
    }
}

fn refuse_unknown(words: &[String]) -> Result<(), VaultError> {
    match features::unknown(words) {
        Some(word) => Err(VaultError::NewerFeature {
            object: names::DESCRIPTOR.to_owned(),
            word: word.clone(),
        }),
        None => Ok(()),
    }
}

/// A region of the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionUrl {
    /// `primary` or `secondary`.
    pub name: String,
    /// Its vault URL.
    pub url: String,
}

/// The JSON form. Field order is part of the format.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: u32,
    vault_id: VaultId,
    operator_key: String,
    created: String,
    regions: Vec<RegionUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    soft_delete_days: u32,
    features: Features,
    signature: String,
}

impl Json {
    fn signed_text(&self) -> String {
        let mut text = CONTEXT.to_owned();
        let mut field = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}={}:{value}", value.len());
        };
        field("format", &self.format.to_string());
        field("vault_id", &self.vault_id.hex());
        field("operator_key", &self.operator_key);
        field("created", &self.created);
        for region in &self.regions {
            field("region", &region.name);
            field("url", &region.url);
        }
        field("tenant", self.tenant.as_deref().unwrap_or_default());
        field("soft_delete_days", &self.soft_delete_days.to_string());
        for word in &self.features.read {
            field("read-feature", word);
        }
        for word in &self.features.write {
            field("write-feature", word);
        }
        text
    }

    fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl Descriptor {
    /// The object, signed by the operator.
    pub(crate) fn to_json(&self, operator: &SigningKey) -> Result<String, VaultError> {
        let mut json = Json {
            format: FORMAT_VERSION,
            vault_id: self.vault_id,
            operator_key: hex::encode(self.operator_key.as_bytes()),
            created: self.created.to_string(),
            regions: self.regions.clone(),
            // An empty name and no name are signed alike, so only one of them may be written.
            tenant: self.tenant.clone().filter(|tenant| !tenant.is_empty()),
            soft_delete_days: self.soft_delete_days,
            features: self.features.clone(),
            signature: String::new(),
        };
        json.signature = hex::encode(operator.sign(json.signed_text().as_bytes()).to_bytes());
        json.text().map_err(damaged)
    }

    /// Reads the object and checks its signature with the operator's key that stands in it. Only a pin can tell whether
    /// that is the right operator.
    pub fn parse(object: &[u8]) -> Result<Self, VaultError> {
        let any: serde_json::Value = serde_json::from_slice(object).map_err(damaged)?;
        let format = any
            .get("format")
            .and_then(serde_json::Value::as_u64)
            .ok_or_else(|| damaged("it has no format"))?;
        if format > u64::from(FORMAT_VERSION) {
            return Err(VaultError::NewerFormat {
                object: names::DESCRIPTOR.to_owned(),
                found: u32::try_from(format).unwrap_or(u32::MAX),
                known: FORMAT_VERSION,
            });
        }
        let json: Json = serde_json::from_slice(object).map_err(damaged)?;
        if json.format != FORMAT_VERSION {
            return Err(damaged("its format is impossible"));
        }
        let mut key = [0; 32];
        hex::decode_to_slice(&json.operator_key, &mut key).map_err(damaged)?;
        let operator_key = VerifyingKey::from_bytes(&key).map_err(damaged)?;
        let mut signature = [0; 64];
        hex::decode_to_slice(&json.signature, &mut signature).map_err(damaged)?;
        operator_key
            .verify_strict(json.signed_text().as_bytes(), &Signature::from_bytes(&signature))
            .map_err(|_| damaged("the operator's signature does not fit"))?;
        let lower = json.signature == hex::encode(signature) && json.operator_key == hex::encode(key);
        let created: Timestamp = json.created.parse().map_err(damaged)?;
        let exact = created.to_string() == json.created && json.tenant.as_deref() != Some("");
        if !lower || !exact || json.text().map_err(damaged)?.as_bytes() != object {
            return Err(damaged("it is not written as the format wants it"));
        }
        json.features.check_read()?;
        Ok(Self {
            vault_id: json.vault_id,
            operator_key,
            created,
            regions: json.regions,
            tenant: json.tenant,
            soft_delete_days: json.soft_delete_days,
            features: json.features,
        })
    }
}

fn damaged(reason: impl std::fmt::Display) -> VaultError {
    VaultError::damaged(DamageKind::Descriptor, names::DESCRIPTOR, reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    fn descriptor(key: &SigningKey) -> Descriptor {
        Descriptor {
            vault_id: VaultId([7; 16]),
            operator_key: key.verifying_key(),
            created: "2026-11-22T03:00:00Z".parse().unwrap(),
            regions: vec![RegionUrl {
                name: "primary".into(),
                url: "/srv/vault".into(),
            }],
            tenant: Some("an \"odd\" tenant\n".into()),
            soft_delete_days: 14,
            features: Features::of_new_vault(),
        }
    }

    #[test]
    fn a_program_refuses_what_it_does_not_understand() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let mut newer = descriptor(&key);
        newer.features.write.push("fold".into());
        let read = Descriptor::parse(newer.to_json(&key).unwrap().as_bytes()).unwrap();
        let refused = read.features.check_write();
        assert!(matches!(refused, Err(VaultError::NewerFeature { word, .. }) if word == "fold"));
        newer.features.read.push("shards".into());
        let refused = Descriptor::parse(newer.to_json(&key).unwrap().as_bytes());
        assert!(matches!(refused, Err(VaultError::NewerFeature { word, .. }) if word == "shards"));
    }

    #[test]
    fn a_descriptor_survives_its_text_form() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let mut wanted = descriptor(&key);
        assert_eq!(
            Descriptor::parse(wanted.to_json(&key).unwrap().as_bytes()).unwrap(),
            wanted
        );
        wanted.tenant = None;
        let text = wanted.to_json(&key).unwrap();
        assert_eq!(Descriptor::parse(text.as_bytes()).unwrap(), wanted);
        wanted.tenant = Some(String::new());
        assert_eq!(wanted.to_json(&key).unwrap(), text);
        // Its signature fits, but there is one way to write it.
        let empty = text.replace("  \"soft_delete", "  \"tenant\": \"\",\n  \"soft_delete");
        assert!(Descriptor::parse(empty.as_bytes()).is_err());
    }

    #[test]
    fn any_changed_byte_of_a_descriptor_shows() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let object = descriptor(&key).to_json(&key).unwrap().into_bytes();
        for at in 0..object.len() {
            for bit in 0..8 {
                let mut changed = object.clone();
                changed[at] ^= 1 << bit;
                assert!(Descriptor::parse(&changed).is_err(), "byte {at} bit {bit}");
            }
            assert!(Descriptor::parse(&object[..at]).is_err());
        }
    }

    #[test]
    fn another_operators_signature_is_refused() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let object = descriptor(&key).to_json(&SigningKey::from_bytes(&[2; 32])).unwrap();
        assert!(Descriptor::parse(object.as_bytes()).is_err());
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let newer = Descriptor::parse(br#"{"format": 2, "something": "new"}"#);
        assert!(matches!(newer, Err(VaultError::NewerFormat { found: 2, .. })));
    }
}
