//! What this server remembers of its registration: `agent.json` (who it is and which vault it uses) and `machine.key`
//! (what only this machine may know). Registering itself is `lockstone register`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use lockstone_proto::ids::{DomainId, ServerId, SlotId, VaultId};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::home::{Home, remove_if_there, write_atomically};
use crate::failure::{Exit, Failure};

/// The layout of both files.
const VERSION: u32 = 1;

/// `agent.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The layout of this file.
    pub version: u32,
    /// Where the vault is.
    pub vault_url: String,
    /// Its secondary region, if it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secondary_url: String,
    /// Which vault it is.
    pub vault_id: VaultId,
    /// The operator's public key, pinned from the credentials (hex).
    pub operator_key: String,
    /// This server.
    pub server_id: ServerId,
    /// Its name.
    pub server_name: String,
    /// Its domain.
    pub domain_id: DomainId,
    /// When it was registered (RFC 3339).
    pub registered: String,
    /// Where the cache folder is, if it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
}

impl Agent {
    /// The registration, if there is one.
    ///
    /// # Errors
    /// Where the file is there and cannot be read or understood.
    pub fn load(home: &Home) -> anyhow::Result<Option<Agent>> {
        let path = home.agent();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let agent: Agent =
            serde_json::from_slice(&text).with_context(|| format!("{} is not a registration", path.display()))?;
        if agent.version != VERSION {
            bail!(
                "{} is of version {}, this program knows {VERSION}",
                path.display(),
                agent.version
            );
        }
        Ok(Some(agent))
    }

    /// The registration.
    ///
    /// # Errors
    /// `not-registered` (exit 8) where there is none.
    pub fn required(home: &Home) -> Result<Agent, Failure> {
        Agent::load(home)?.ok_or_else(|| {
            let message = format!("this server is not registered (state folder {})", home.root().display());
            let hint = "register it with `lockstone register --credentials FILE`, \
                        or name --credentials and --source-server";
            Failure::new(Exit::NotRegistered, "not-registered", message, hint)
        })
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Where the state folder cannot be written.
    pub fn save(&self, home: &Home) -> anyhow::Result<()> {
        write_atomically(&home.agent(), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// A registration of the current layout.
    #[must_use]
    pub fn version() -> u32 {
        VERSION
    }

    /// Where the cache folder is.
    #[must_use]
    pub fn cache(&self, home: &Home) -> PathBuf {
        self.cache.clone().unwrap_or_else(|| home.cache())
    }

    /// Removes the registration and the machine key.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn remove(home: &Home) -> anyhow::Result<()> {
        // The key last: a registration without a key is reported as such, a key without one is just left over.
        remove_if_there(&home.agent())?;
        remove_if_there(&home.machine_key())?;
        remove_if_there(&home.pin())
    }
}

/// `machine.key`: what opens this machine's key slot, and what it signs with.
pub struct MachineKey {
    /// The machine slot in the vault.
    pub slot: SlotId,
    /// Its secret.
    pub secret: Zeroizing<[u8; 32]>,
    /// The seed of the server's Ed25519 key.
    pub seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineKey")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// The file: secrets as hex, wiped when it is dropped.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    version: u32,
    slot_id: SlotId,
    secret: String,
    signing_seed: String,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.signing_seed.zeroize();
    }
}

impl MachineKey {
    /// The key of this machine.
    ///
    /// # Errors
    /// Where it is missing or damaged: without it only the passphrase opens the backups.
    pub fn load(home: &Home) -> Result<MachineKey, Failure> {
        let path = home.machine_key();
        let read = || -> anyhow::Result<MachineKey> {
            let text = Zeroizing::new(std::fs::read(&path)?);
            let file: KeyFile = serde_json::from_slice(&text)?;
            if file.version != VERSION {
                bail!("it is of version {}, this program knows {VERSION}", file.version);
            }
            Ok(MachineKey {
                slot: file.slot_id,
                secret: secret(&file.secret)?,
                seed: secret(&file.signing_seed)?,
            })
        };
        read().map_err(|error| {
            let message = format!("cannot use this machine's key {}: {error:#}", path.display());
            let hint = "`lockstone unregister` and `lockstone register` make a new one; \
                        the backups stay, and their passphrase opens them";
            Failure::refused("machine-key", message, hint)
        })
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Where the state folder cannot be written.
    pub fn save(&self, home: &Home) -> anyhow::Result<()> {
        let file = KeyFile {
            version: VERSION,
            slot_id: self.slot,
            secret: hex::encode(*self.secret),
            signing_seed: hex::encode(*self.seed),
        };
        let text = Zeroizing::new(serde_json::to_vec_pretty(&file)?);
        write_atomically(&home.machine_key(), &text, 0o600)
    }
}

fn secret(text: &str) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, bytes.as_mut_slice()).context("a secret is not 32 bytes of hex")?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_machine_key_survives_its_file_and_stays_out_of_messages() {
        let key = KeyFile {
            version: VERSION,
            slot_id: SlotId([1; 16]),
            secret: hex::encode([2; 32]),
            signing_seed: hex::encode([3; 32]),
        };
        let text = serde_json::to_vec(&key).unwrap();
        let back: KeyFile = serde_json::from_slice(&text).unwrap();
        assert_eq!(*secret(&back.secret).unwrap(), [2; 32]);
        assert!(secret("00").is_err());
        let shown = MachineKey {
            slot: SlotId([1; 16]),
            secret: secret(&back.secret).unwrap(),
            seed: secret(&back.signing_seed).unwrap(),
        };
        assert!(!format!("{shown:?}").contains("0202"));
    }
}
