//! `machine.key`: the secret that opens this machine's key slot, and the key it signs with.

use anyhow::{Context, bail};
use lockstone_proto::ids::SlotId;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::files::write_atomically;
use super::folder::StateFolder;
use crate::failure::Failure;

/// The layout of `machine.key`.
const VERSION: u32 = 1;

/// What only this machine may know.
pub(crate) struct MachineKey {
    /// The machine's key slot in the vault.
    pub(crate) slot: SlotId,
    /// The secret that opens the slot.
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// The seed of the server's Ed25519 key.
    pub(crate) seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineKey")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// The file. Its secrets are in hex, and are wiped from memory when this is dropped.
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
    /// The key of this machine. Fails if the file is missing or damaged; then only the passphrase opens the backups.
    pub(crate) fn load(state: &StateFolder) -> Result<MachineKey, Failure> {
        let path = state.machine_key();
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

    pub(crate) fn save(&self, state: &StateFolder) -> anyhow::Result<()> {
        let file = KeyFile {
            version: VERSION,
            slot_id: self.slot,
            secret: hex::encode(*self.secret),
            signing_seed: hex::encode(*self.seed),
        };
        let text = Zeroizing::new(serde_json::to_vec_pretty(&file)?);
        write_atomically(&state.machine_key(), &text, 0o600)
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
