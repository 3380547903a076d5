//! A vault and a domain, opened for a command or a job: by this machine's registration, or by credentials and a
//! passphrase.
//!
//! A session by the registration uses the local cache folder, which only one process can have at a time. A job holds
//! the job lock while it does. A command that only reads takes the lock too if it is free. If a job holds it, the
//! command reads with a temporary cache folder, so that reading is always possible.
//!
//! A session never prints or asks. What it has to say goes to the environment's notices.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use lockstone_proto::ids::ServerId;
use lockstone_vault::VaultError;
use lockstone_vault::access::orders::Ended;
use lockstone_vault::access::registration::{Server, Servers};
use lockstone_vault::domain::{Domain, DomainOptions, Signer};
use lockstone_vault::log::{LogView, Point};
use lockstone_vault::points;
use lockstone_vault::vault::Vault;

use super::credentials::{admitted, read_credentials};
use super::named;
use super::open::{own_master_key, registered_vault, servers};
use super::right::{Access, Right, registered};
use super::scratch::Scratch;
use super::signs::Signs;
use crate::agent::environment::Environment;
use crate::agent::ids::new_job_id;
use crate::agent::state::files::private_folder;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::lock::{JobLock, ToRead};
use crate::agent::state::machine_key::MachineKey;
use crate::agent::state::registration::Registration;
use crate::agent::state::seen_orders;
use crate::failure::{Exit, Failure};

/// An opened vault and domain.
pub(crate) struct Session {
    pub(crate) vault: Vault,
    pub(crate) domain: Arc<Domain>,
    /// The server whose backups are meant: this one, or the one that was named.
    pub(crate) server: ServerId,
    name: String,
    servers: Servers,
    /// What records of jobs are signed with.
    signs: Signs,
    #[expect(dead_code, reason = "held until the session ends: the cache is in this folder")]
    scratch: Option<Scratch>,
    #[expect(
        dead_code,
        reason = "held until the session ends: the cache folder is this process's"
    )]
    lock: Option<JobLock>,
}

impl Session {
    /// Opens the vault by either right. The caller holds the job lock.
    pub(crate) async fn open_by(
        environment: &Environment,
        state: &StateFolder,
        right: &Right,
    ) -> Result<Session, Failure> {
        match right {
            Right::Own(registration) => Session::open(environment, state, registration).await,
            Right::Borrowed { credentials, server } => Session::borrowed(environment, credentials, server).await,
        }
    }

    /// Opens the vault by the registration. The caller holds the job lock.
    pub(crate) async fn open(
        environment: &Environment,
        state: &StateFolder,
        registration: &Registration,
    ) -> Result<Session, Failure> {
        let cache = registration.cache_folder(state);
        private_folder(&cache).with_context(|| format!("cannot make the cache folder {}", cache.display()))?;
        Session::own(environment, state, registration, &cache).await
    }

    /// Opens the vault to read from it, whether or not a job runs.
    pub(crate) async fn to_read(environment: &Environment, access: &Access) -> Result<Session, Failure> {
        if let Access::Borrowed { credentials, server } = access {
            return Session::borrowed(environment, credentials, server).await;
        }
        let (state, registration) = registered()?;
        let note = match JobLock::take_to_read(&state, new_job_id()?)? {
            ToRead::Free(lock) => match Session::open(environment, &state, &registration).await {
                Ok(session) => {
                    return Ok(Session {
                        lock: Some(lock),
                        ..session
                    });
                }
                Err(failure) if failure.code == "shortage" => {
                    "the cache folder cannot be used now, as its disk is full or this machine is short of something: \
                     reading without it, which may take longer"
                }
                Err(failure) => return Err(failure),
            },
            ToRead::Held => "a job runs: reading without the cache folder, which may take longer",
            ToRead::NotWritable => {
                "the state folder is full or read-only: reading without the cache folder, which may take longer"
            }
        };
        environment.notices.note(note.to_owned());
        let scratch = Scratch::new()?;
        let session = Session::own(environment, &state, &registration, scratch.path()).await?;
        Ok(Session {
            scratch: Some(scratch),
            ..session
        })
    }

    async fn own(
        environment: &Environment,
        state: &StateFolder,
        registration: &Registration,
        cache: &Path,
    ) -> Result<Session, Failure> {
        let machine = MachineKey::load(state)?;
        let key = SigningKey::from_bytes(&machine.seed);
        let vault = registered_vault(environment, registration).await?;
        let servers = servers(environment, &vault).await?;
        let ended = servers.ended(registration.server_id).map(revoked);
        if let Some(warning) = seen_orders::compare(state, vault.id(), servers.orders().last()) {
            environment.notices.warn(warning);
        }
        let options = DomainOptions {
            signer: Some(Signer {
                server: registration.server_id,
                key: key.clone(),
            }),
            cache_dir: cache.to_owned(),
            pin_file: Some(state.pin()),
            // This server's own entries can be read even if its registration in the vault is damaged.
            trusted: vec![(registration.server_id, key.verifying_key())],
        };
        if let Some(ended) = &ended {
            // Before a passphrase is asked for: the machine's key slot is gone with its right.
            environment.notices.warn(ended.message.clone());
        }
        let master = own_master_key(environment, &vault, registration, &machine).await;
        let master = match (master, ended) {
            (Err(failure), Some(ended)) if failure.exit == Exit::Refused => return Err(ended),
            (master, _) => master?,
        };
        let (domain, notes) = Domain::open(&vault, registration.domain_id, &master, options).await?;
        for note in notes {
            environment.notices.note(note);
        }
        Ok(Session {
            vault,
            domain,
            server: registration.server_id,
            name: registration.server_name.clone(),
            servers,
            signs: Signs::Server(Box::new(key)),
            scratch: None,
            lock: None,
        })
    }

    async fn borrowed(environment: &Environment, credentials: &Path, name: &str) -> Result<Session, Failure> {
        let credentials = read_credentials(credentials)?;
        let vault = admitted(environment, &credentials).await?;
        let servers = servers(environment, &vault).await?;
        let found = named::registrations(&servers, name)?;
        let text = environment.passphrases.existing()?;
        let (known, master) = named::open_first(vault.store(), &found, &text).await?;
        if found.len() > 1 {
            environment.notices.note(format!(
                "{} servers are named {name}: {}; these are the backups of {}, an id names another",
                found.len(),
                named::list(&found),
                known.id.hex()
            ));
        }
        let (domain, server, name) = (known.domain, known.id, known.name.clone());
        let scratch = Scratch::new()?;
        let options = DomainOptions {
            signer: None,
            cache_dir: scratch.path().to_owned(),
            pin_file: None,
            trusted: Vec::new(),
        };
        let (domain, _) = Domain::open(&vault, domain, &master, options).await?;
        Ok(Session {
            vault,
            domain,
            server,
            name,
            servers,
            signs: Signs::Credentials(Arc::new(credentials)),
            scratch: Some(scratch),
            lock: None,
        })
    }

    /// The registration of the server whose backups are meant; `None` if it could not be read.
    pub(crate) fn registered(&self) -> Option<&Server> {
        self.servers.get(self.server)
    }

    /// The registrations of this domain, also those that ended.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = &Server> {
        let domain = self.domain.id();
        self.servers.iter().filter(move |server| server.domain == domain)
    }

    /// Whether the operator ended the right of a server to write.
    pub(crate) fn ended(&self, server: ServerId) -> bool {
        self.servers.ended(server).is_some()
    }

    /// What records of jobs are signed with.
    pub(crate) fn signs(&self) -> &Signs {
        &self.signs
    }

    /// Fails with `revoked` (exit 5) if the operator ended this server's right to write.
    pub(crate) fn must_write(&self) -> Result<(), Failure> {
        self.servers
            .ended(self.server)
            .map_or(Ok(()), |ended| Err(revoked(ended)))
    }

    /// Whose vault it is now; `None` if it has no tenant.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.servers.orders().tenant(self.vault.descriptor().tenant.as_deref())
    }

    /// The log as it is now. Warns about damage; the view holds everything that could be read.
    pub(crate) async fn view(&self, environment: &Environment) -> Result<Arc<LogView>, Failure> {
        let view = self.domain.refresh().await?;
        for damage in &view.damage {
            environment.notices.damaged(damage);
        }
        Ok(view)
    }

    /// A server's name, or its id if its name is not known.
    pub(crate) fn server_name(&self, server: ServerId) -> String {
        match self.servers.get(server) {
            Some(known) => known.name.clone(),
            None if server == self.server => self.name.clone(),
            None => server.hex(),
        }
    }

    /// Whether a server is the one that is meant. A server that was registered again has several ids and one name.
    pub(crate) fn is_own(&self, server: ServerId) -> bool {
        let same = |known: &Server| known.domain == self.domain.id() && known.name == self.name;
        server == self.server || self.servers.get(server).is_some_and(same)
    }

    /// Whether `word` is this server's name or id, or the beginning of its id.
    pub(crate) fn is_named(&self, server: ServerId, word: &str) -> bool {
        let is_known = self
            .servers
            .get(server)
            .is_some_and(|known| named::is_named(known, word));
        is_known || server.hex() == word || self.server_name(server) == word
    }

    /// Fails with `no-such-server` if neither a server of the vault nor one with a recovery point is named so.
    pub(crate) fn must_know(&self, view: &LogView, word: &str) -> Result<(), Failure> {
        let has_points = view.points.iter().any(|point| self.is_named(point.server, word));
        if has_points || self.servers.iter().any(|known| named::is_named(known, word)) {
            return Ok(());
        }
        Err(named::no_such_server(&self.servers, word))
    }

    /// The newest recovery point of the server that is meant. Deleted points do not count.
    pub(crate) fn latest<'v>(&self, view: &'v LogView) -> Option<&'v Point> {
        view.points
            .iter()
            .rev()
            .find(|point| self.is_own(point.server) && point.forgotten.is_none())
    }

    /// The recovery point that a user means: by its id, a unique prefix of it, or `latest` (of this server, not
    /// deleted). Fails if there is none, or more than one.
    pub(crate) fn point<'v>(&self, view: &'v LogView, word: &str) -> Result<&'v Point, Failure> {
        let found = if word == "latest" {
            self.latest(view).ok_or_else(|| {
                let message = format!("{} has no recovery point", self.name);
                Failure::failed(
                    "no-such-point",
                    message,
                    "`lockstone backup` makes one; `lockstone points list` shows those of all servers",
                )
            })
        } else {
            points::resolve(view, word, None).map_err(Failure::from)
        };
        found.map_err(|mut failure| {
            if view.log_damaged {
                failure.exit = Exit::Damaged;
                failure
                    .message
                    .push_str("; the log is damaged, so there may be points that cannot be seen");
                "`lockstone check` names what is damaged".clone_into(&mut failure.hint);
            }
            failure
        })
    }
}

/// The failure of a server whose right to write was ended.
fn revoked(ended: &Ended) -> Failure {
    let error = VaultError::Revoked {
        at: ended.at,
        reason: ended.reason.clone(),
    };
    error.into()
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.server)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
