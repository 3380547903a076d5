//! `cache.json` in the state folder: how much space must be free where the cache folder is. `cache rules` writes it.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::agent::state::files::write_atomically;
use crate::agent::state::folder::StateFolder;

/// How much space must be free. Percentages are of the bytes that are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// With less than this, no backup is made.
    pub(crate) refuse_percent: u8,
    /// With less than this, there is a warning.
    pub(crate) warn_percent: u8,
    /// So much more where the system state is protected.
    pub(crate) system_state_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            refuse_percent: 5,
            warn_percent: 10,
            system_state_bytes: 35 << 30,
        }
    }
}

impl Limits {
    /// The limits that are set, or the usual ones. Fails if the file cannot be read or understood.
    pub(crate) fn load(state: &StateFolder) -> anyhow::Result<Limits> {
        let path = state.cache_limits();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} does not say how much space must be free", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Limits::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn save(&self, state: &StateFolder) -> anyhow::Result<()> {
        write_atomically(&state.cache_limits(), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}
