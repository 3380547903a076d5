//! An opened domain: its keys, its log and its index. Jobs work with this.
//!
//! # Overview The log decides what exists, and the index follows it. `refresh` reads the log from where this machine
//! stopped last time, and loads the segments that it names. `append` adds an entry and keeps the index in step.
//! `validate` decides whether an entry may be appended. `chunks` reads single chunks.
//!
//! # Consistency Valid entries are kept in the index and not fetched again, except the last one. If the last one is
//! still the same, the vault was not set back. One reader or writer of the log runs at a time in a process; between
//! machines the store decides. A backup notes the entry at which it read the index, and its commit is valid only if
//! nothing was collected since: docs/ARCHITECTURE.md, "Validating a Commit".
//!
//! # Crashes An entry is written only after everything it names is durable, and the index only after the entry. A
//! crash in between leaves objects that no entry names, or an index that is behind the log. The next `refresh` loads
//! what is missing.
//!
//! # Damage Damage is not an error here. `refresh` skips entries, registrations and segments that are not valid,
//! reports them in the view, and goes on with the others, so that undamaged points can be restored. Entries are
//! appended behind what is damaged. Only to a vault that was set back nothing is appended.
//!
//! # Threads
//! The futures do short reads of the index inline. None holds a thread while it waits for the store.

mod append;
mod chunks;
mod data;
mod dates;
mod ended;
mod foreign;
mod load;
mod presence;
mod refresh;
mod repair;
mod segments;
mod validate;

pub use data::Frames;
pub(crate) use refresh::accounted_for;
pub(crate) use repair::RepairNews;
pub use segments::chunk_count;
pub use validate::Relied;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::{SigningKey, VerifyingKey};
use lockstone_proto::ids::{DomainId, ServerId};

use crate::crypto::keys::{Keys, MasterKey};
use crate::damage::Damage;
use crate::error::VaultError;
use crate::index::{Index, Opened};
use crate::log::{LogHead, LogView};
use crate::store::Store;
use crate::vault::Vault;

/// The server that signs what is appended.
pub struct Signer {
    /// This server.
    pub server: ServerId,
    /// Its key.
    pub key: SigningKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, secret)", self.server)
    }
}

/// How a domain is opened.
#[derive(Debug)]
pub struct DomainOptions {
    /// The server that signs; `None` to read only, as for a restore on another machine.
    pub signer: Option<Signer>,
    /// The cache folder of this domain.
    pub cache_dir: PathBuf,
    /// The file that notes the last log entry seen. It lies outside the cache folder.
    pub pin_file: Option<PathBuf>,
    /// Keys of servers that the caller knows, such as its own. Their entries are valid even if the registration is
    /// damaged. The signer's key is added automatically.
    pub trusted: Vec<(ServerId, VerifyingKey)>,
}

/// An opened domain. Shared by `Arc`.
#[derive(Debug)]
pub struct Domain {
    vault: Vault,
    id: DomainId,
    keys: Arc<Keys>,
    index: Arc<Index>,
    signer: Option<Signer>,
    pin_file: Option<PathBuf>,
    /// Registrations that were damaged when the domain was opened.
    damaged_servers: Vec<Damage>,
    /// One reader or writer of the log at a time; the store arbitrates between machines.
    state: tokio::sync::Mutex<refresh::State>,
    view: Mutex<Arc<LogView>>,
}

impl Domain {
    /// Opens a domain of a vault with its master key. Does not read the log: call `refresh` for that. The strings are
    /// notes for the user, one for each unusual thing.
    pub async fn open(
        vault: &Vault,
        domain: DomainId,
        master: &MasterKey,
        options: DomainOptions,
    ) -> Result<(Arc<Self>, Vec<String>), VaultError> {
        let keys = Arc::new(Keys::derive(master, domain));
        let (index, opened) = Index::open(&options.cache_dir, vault.id(), domain)?;
        let mut lines = Vec::new();
        if let Opened::Dropped { reason } = opened {
            let folder = options.cache_dir.display();
            lines.push(format!(
                "the cache in {folder} could not be used ({reason}); it is rebuilt from the vault"
            ));
        }
        let (mut servers, damaged_servers) = vault.servers().await?;
        for (server, key) in &options.trusted {
            servers.trust(*server, domain, *key);
        }
        if let Some(signer) = &options.signer {
            servers.trust(signer.server, domain, signer.key.verifying_key());
            let known = servers.get(signer.server);
            if known.is_none_or(|known| known.domain != domain || known.key != signer.key.verifying_key()) {
                return Err(VaultError::NotRegistered {
                    server: signer.server.hex(),
                    domain: domain.hex(),
                });
            }
        }
        let view = LogView {
            head: LogHead::START,
            points: Vec::new(),
            damage: Vec::new(),
            log_damaged: false,
            behind: Vec::new(),
            lossy: Vec::new(),
        };
        let domain = Self {
            vault: vault.clone(),
            id: domain,
            keys,
            index: Arc::new(index),
            signer: options.signer,
            pin_file: options.pin_file,
            damaged_servers,
            state: tokio::sync::Mutex::new(refresh::State::new(servers)),
            view: Mutex::new(Arc::new(view)),
        };
        Ok((Arc::new(domain), lines))
    }

    /// Its vault.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> DomainId {
        self.id
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The vault's objects.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.vault.store()
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The server that signs; `None` if the domain was opened to read only.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        self.signer.as_ref().map(|signer| signer.server)
    }

    /// The log as it was last read or appended to.
    #[must_use]
    pub fn view(&self) -> Arc<LogView> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_view(&self, view: LogView) -> Arc<LogView> {
        let view = Arc::new(view);
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&view);
        view
    }
}

#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
