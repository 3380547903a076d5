//! The documents of the operator's side: a new vault, credentials, and what is damaged.

use std::path::PathBuf;

use lockstone_proto::access::Region;
use lockstone_proto::ids::{CredentialId, VaultId};
use lockstone_proto::limits::FORMAT_VERSION;
use lockstone_vault::access::credentials::VaultCredentials;
use lockstone_vault::damage::{Damage, DamageKind};
use lockstone_vault::store::probe::ProbeReport;
use serde::Serialize;

use super::common::ErrorDocument;
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

impl From<&ProbeReport> for ProbeDocument {
    fn from(probe: &ProbeReport) -> ProbeDocument {
        ProbeDocument {
            create_if_absent: probe.create_if_absent,
            read_after_write: probe.read_after_write,
            listed_after_write: probe.listed_after_write,
        }
    }
}

/// The answer of `vault credentials`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IssuedCredentialsDocument {
    pub(crate) file: PathBuf,
    #[serde(flatten)]
    pub(crate) credentials: CredentialsDocument,
}

/// What credentials say.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CredentialsDocument {
    vault: VaultId,
    /// The vault's URL in their region.
    url: String,
    /// Null if the vault has one region only.
    secondary_url: Option<String>,
    /// The operator's public key, in hex.
    operator_key: String,
    /// Null if the vault has no tenant.
    tenant: Option<String>,
    #[serde(serialize_with = "words::region")]
    region: Region,
    issued: String,
    expires: String,
    id: CredentialId,
    /// The version of their format.
    format: u32,
    /// The oldest agent that understands them.
    least_version: String,
}

impl From<&VaultCredentials> for CredentialsDocument {
    fn from(credentials: &VaultCredentials) -> CredentialsDocument {
        CredentialsDocument {
            vault: credentials.vault_id(),
            url: credentials.url().to_owned(),
            secondary_url: credentials.secondary_url().map(str::to_owned),
            operator_key: hex::encode(credentials.operator_key().as_bytes()),
            tenant: credentials.tenant().map(str::to_owned),
            region: credentials.region(),
            issued: credentials.issued().to_string(),
            expires: credentials.expires().to_string(),
            id: credentials.id(),
            format: FORMAT_VERSION,
            least_version: credentials.least_version().to_string(),
        }
    }
}

/// The answer of `credentials show`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShownCredentialsDocument {
    #[serde(flatten)]
    pub(crate) credentials: CredentialsDocument,
    /// Whether they are good now, as far as this machine knows without asking the vault.
    pub(crate) valid: bool,
    /// Why they are not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorDocument>,
}

/// The answer of `vault tenant`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TenantDocument {
    pub(crate) vault: VaultId,
    /// Null if the vault has none now.
    pub(crate) tenant: Option<String>,
    /// Null if it had none.
    pub(crate) before: Option<String>,
}

/// The answer of `vault info`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VaultInfoDocument {
    pub(crate) id: VaultId,
    pub(crate) url: String,
    pub(crate) regions: Vec<RegionDocument>,
    /// Null if the vault has none.
    pub(crate) tenant: Option<String>,
    pub(crate) created: String,
    pub(crate) soft_delete_days: u32,
    /// What the store was seen to do; null if it was not tried.
    pub(crate) store: Option<ProbeDocument>,
    /// Registered servers whose right was not ended.
    pub(crate) servers: u64,
    pub(crate) revoked_servers: u64,
    pub(crate) domains: u64,
    /// Recovery points that are not deleted.
    pub(crate) points: u64,
    /// The operator's public key, in hex.
    pub(crate) operator_key: String,
    /// Whether the operator's secret key is on this machine.
    pub(crate) operator_key_here: bool,
    pub(crate) damaged: Vec<DamageDocument>,
}

/// A region of a vault.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RegionDocument {
    pub(crate) name: String,
    pub(crate) url: String,
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
