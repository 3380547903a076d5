//! `agent.json`: who this server is, and which vault it uses. `lockstone register` writes it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use ed25519_dalek::VerifyingKey;
use lockstone_proto::ids::{DomainId, ServerId, VaultId};
use lockstone_vault::vault::VaultPin;
use serde::{Deserialize, Serialize};

use super::files::{remove_if_there, write_atomically};
use super::folder::StateFolder;
use super::host::Host;
use crate::failure::{Exit, Failure};

/// The layout of `agent.json`.
const VERSION: u32 = 1;

/// This server's registration with a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The layout of this file.
    pub(crate) version: u32,
    pub(crate) vault_url: String,
    /// The vault's secondary region; empty if it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) secondary_url: String,
    pub(crate) vault_id: VaultId,
    /// The operator's public key in hex, taken from the credentials. A vault with another key is refused.
    pub(crate) operator_key: String,
    pub(crate) server_id: ServerId,
    pub(crate) server_name: String,
    pub(crate) domain_id: DomainId,
    /// When the server was registered (RFC 3339).
    pub(crate) registered: String,
    /// What this machine was called when it was registered.
    #[serde(default)]
    pub(crate) host: Host,
    /// The cache folder, if it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<PathBuf>,
    /// The id in the stamp of the cache folder, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_id: Option<String>,
    /// Where the cache folder was before it was moved. It is removed after the next good backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old_cache: Option<PathBuf>,
}

impl Registration {
    /// The registration; `None` if this server is not registered. Fails if the file cannot be read or understood.
    pub(crate) fn load(state: &StateFolder) -> anyhow::Result<Option<Registration>> {
        let path = state.registration();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let registration: Registration =
            serde_json::from_slice(&text).with_context(|| format!("{} is not a registration", path.display()))?;
        if registration.version != VERSION {
            bail!(
                "{} is of version {}, this program knows {VERSION}",
                path.display(),
                registration.version
            );
        }
        Ok(Some(registration))
    }

    /// The registration; the failure `not-registered` (exit 8) if there is none.
    pub(crate) fn required(state: &StateFolder) -> Result<Registration, Failure> {
        Registration::load(state)?.ok_or_else(|| {
            let message = format!(
                "this server is not registered (state folder {})",
                state.root().display()
            );
            let hint = "register it with `lockstone register --credentials FILE`";
            Failure::new(Exit::NotRegistered, "not-registered", message, hint)
        })
    }

    pub(crate) fn save(&self, state: &StateFolder) -> anyhow::Result<()> {
        write_atomically(&state.registration(), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// The layout of a new registration.
    pub(crate) fn version() -> u32 {
        VERSION
    }

    pub(crate) fn cache_folder(&self, state: &StateFolder) -> PathBuf {
        self.cache.clone().unwrap_or_else(|| state.cache())
    }

    /// What a vault must prove before this server uses it.
    pub(crate) fn pin(&self) -> anyhow::Result<VaultPin> {
        let mut key = [0; 32];
        let decoded = hex::decode_to_slice(&self.operator_key, &mut key).map_err(anyhow::Error::from);
        let operator_key = decoded
            .and_then(|()| Ok(VerifyingKey::from_bytes(&key)?))
            .context("the registration holds no operator key")?;
        Ok(VaultPin {
            vault_id: self.vault_id,
            operator_key,
        })
    }

    /// Removes the registration, the machine key and the pin of the log.
    pub(crate) fn remove(state: &StateFolder) -> anyhow::Result<()> {
        // The registration goes first. Without its key it would be reported as broken; a key without a registration is
        // only left over.
        remove_if_there(&state.registration())?;
        remove_if_there(&state.machine_key())?;
        remove_if_there(&state.pin())
    }
}
