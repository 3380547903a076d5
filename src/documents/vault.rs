//! The documents of the operator's side: a new vault, credentials, and what is damaged.

use std::path::PathBuf;

use lockstone_proto::access::Region;
use lockstone_proto::ids::VaultId;
use lockstone_vault::damage::{Damage, DamageKind};
use serde::Serialize;

use super::words;

/// The answer of `vault create`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CreatedVaultDocument {
    pub(crate) vault: VaultId,
    pub(crate) url: String,
    pub(crate) operator_key_file: PathBuf,
    pub(crate) soft_delete_days: u32,
    pub(crate) probe: ProbeDocument,
}

/// What the store was seen to do.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProbeDocument {
    pub(crate) create_if_absent: bool,
    pub(crate) read_after_write: bool,
    pub(crate) listed_after_write: bool,
}

/// The answer of `vault credentials`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IssuedCredentialsDocument {
    pub(crate) vault: VaultId,
    pub(crate) file: PathBuf,
    #[serde(serialize_with = "words::region")]
    pub(crate) region: Region,
    pub(crate) expires: String,
}

/// An object of the vault that could not be read, in the operator's lists.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DamageDocument {
    object: String,
    #[serde(serialize_with = "words::damage_kind")]
    kind: DamageKind,
    reason: String,
}

impl From<&Damage> for DamageDocument {
    fn from(damage: &Damage) -> DamageDocument {
        DamageDocument {
            object: damage.object.clone(),
            kind: damage.kind,
            reason: damage.reason.clone(),
        }
    }
}
