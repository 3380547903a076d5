//! A vault opened for a command: by this machine's registration, or by credentials and a passphrase.
//!
//! Who opens it by the registration uses the local cache folder, which only one process can have at a time. Jobs hold
//! the lock while they do. Commands that only read take the lock too when it is free; where a job holds it they read with
//! a cache folder of their own, which is thrown away, so that looking is always possible.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use lockstone_proto::ids::{JobId, ServerId};
use lockstone_proto::job::{JobKind, JobRecord, JobState};
use lockstone_proto::limits::FORMAT_VERSION;
use lockstone_vault::access::credentials::VaultCredentials;
use lockstone_vault::access::job_records;
use lockstone_vault::access::registration::Servers;
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slot_store;
use lockstone_vault::domain::{Domain, DomainOptions, Signer};
use lockstone_vault::log::{LogView, Point};
use lockstone_vault::points;
use lockstone_vault::vault::{Vault, VaultPin};
use tempfile::TempDir;

use super::home::{Home, private_folder};
use super::jobs::Job;
use super::lock::JobLock;
use super::registration::{Agent, MachineKey};
use super::{passphrase, slots};
use crate::cli::Context;
use crate::cli::args::Access;
use crate::cli::commands::report::Ending;
use crate::failure::{Exit, Failure};

/// Under which right a vault is opened.
#[derive(Debug)]
pub enum Whose {
    /// This machine's own registration.
    Own(Box<Agent>),
    /// Another machine's backups: the credentials, and that server's name.
    Other(PathBuf, String),
}

/// An opened vault and domain.
pub struct Session {
    /// The vault.
    pub vault: Vault,
    /// The domain.
    pub domain: Arc<Domain>,
    /// The server whose backups are meant: this one, or the one that was named.
    pub server: ServerId,
    name: String,
    servers: Servers,
    /// What this machine signs with, where it has a registration.
    key: Option<SigningKey>,
    _scratch: Option<TempDir>,
    _lock: Option<JobLock>,
}

/// Sixteen random bytes, for a new id.
///
/// # Errors
/// Where the system has no random numbers.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed("failed", format!("no random numbers: {error}"), ""))?;
    Ok(bytes)
}

/// A new job id.
///
/// # Errors
/// Where the system has no random numbers.
pub fn fresh_id() -> Result<JobId, Failure> {
    Ok(JobId(random()?))
}

impl Session {
    /// The state folder and the registration of this machine.
    ///
    /// # Errors
    /// `not-registered` (exit 8) where there is none.
    pub fn registered() -> Result<(Home, Agent), Failure> {
        let home = Home::locate()?;
        let agent = Agent::required(&home)?;
        home.prepare()?;
        Ok((home, agent))
    }

    /// The state folder for a job, and under which right it opens the vault.
    ///
    /// # Errors
    /// `not-registered` (exit 8) where this machine is not registered and no credentials are given.
    pub fn for_job(access: &Access) -> Result<(Home, Whose), Failure> {
        if let (Some(file), Some(server)) = (&access.credentials, &access.source_server) {
            let home = Home::locate()?;
            home.prepare()?;
            return Ok((home, Whose::Other(file.clone(), server.clone())));
        }
        let (home, agent) = Session::registered()?;
        Ok((home, Whose::Own(Box::new(agent))))
    }

    /// Opens the vault under either right. The caller holds the job lock.
    ///
    /// # Errors
    /// Whatever keeps it shut, with its exit code.
    pub fn open_for(context: &Context, home: &Home, whose: &Whose) -> Result<Session, Failure> {
        match whose {
            Whose::Own(agent) => Session::open(context, home, agent),
            Whose::Other(file, server) => Session::by_credentials(context, file, server),
        }
    }

    /// Opens the vault by the registration. The caller holds the job lock.
    ///
    /// # Errors
    /// Whatever keeps it shut, with its exit code.
    pub fn open(context: &Context, home: &Home, agent: &Agent) -> Result<Session, Failure> {
        let cache = agent.cache(home);
        private_folder(&cache).with_context(|| format!("cannot make the cache folder {}", cache.display()))?;
        Session::own(context, home, agent, &cache)
    }

    /// Opens the vault to look into it, whether or not a job runs.
    ///
    /// # Errors
    /// Whatever keeps it shut, with its exit code.
    pub fn to_read(context: &Context, access: &Access) -> Result<Session, Failure> {
        if let (Some(file), Some(server)) = (&access.credentials, &access.source_server) {
            return Session::by_credentials(context, file, server);
        }
        let (home, agent) = Session::registered()?;
        if let Some(lock) = JobLock::take_to_read(&home, fresh_id()?)? {
            let mut session = Session::open(context, &home, &agent)?;
            session._lock = Some(lock);
            return Ok(session);
        }
        context
            .out
            .note("a job runs: reading without the cache folder, which may take longer");
        let scratch = scratch()?;
        let mut session = Session::own(context, &home, &agent, scratch.path())?;
        session._scratch = Some(scratch);
        Ok(session)
    }

    fn own(context: &Context, home: &Home, agent: &Agent, cache: &Path) -> Result<Session, Failure> {
        let machine = MachineKey::load(home)?;
        let key = SigningKey::from_bytes(&machine.seed);
        let vault = vault_of(context, agent)?;
        let options = DomainOptions {
            signer: Some(Signer {
                server: agent.server_id,
                key: key.clone(),
            }),
            cache_dir: cache.to_owned(),
            pin_file: Some(home.pin()),
            // Its own entries can be read even where its registration in the vault is damaged.
            trusted: vec![(agent.server_id, key.verifying_key())],
        };
        let master = own_master(context, &vault, agent, &machine)?;
        let (domain, said) = context
            .runtime
            .block_on(Domain::open(&vault, agent.domain_id, &master, options))?;
        for line in said {
            context.out.note(line);
        }
        let servers = servers(context, &vault)?;
        let (server, name) = (agent.server_id, agent.server_name.clone());
        Ok(Session {
            vault,
            domain,
            server,
            name,
            servers,
            key: Some(key),
            _scratch: None,
            _lock: None,
        })
    }

    fn by_credentials(context: &Context, file: &Path, name: &str) -> Result<Session, Failure> {
        let credentials = read_credentials(file)?;
        let vault = admitted(context, &credentials)?;
        let servers = servers(context, &vault)?;
        let (domain, server) = newest(&servers, name)?;
        let text = passphrase::existing(context.global.passphrase_file.as_deref())?;
        let master = slots::open_domain(context, vault.store(), domain, &text)?;
        let scratch = scratch()?;
        let options = DomainOptions {
            signer: None,
            cache_dir: scratch.path().to_owned(),
            pin_file: None,
            trusted: Vec::new(),
        };
        let (domain, _) = context
            .runtime
            .block_on(Domain::open(&vault, domain, &master, options))?;
        let name = name.to_owned();
        Ok(Session {
            vault,
            domain,
            server,
            name,
            servers,
            key: None,
            _scratch: Some(scratch),
            _lock: None,
        })
    }

    /// The log as it is now. Damage that was met is said on stderr: what is listed is what could be read.
    ///
    /// # Errors
    /// Where the vault cannot be read.
    pub fn view(&self, context: &Context) -> Result<Arc<LogView>, Failure> {
        let view = context.runtime.block_on(self.domain.refresh())?;
        for damage in &view.damage {
            context
                .out
                .warn(format!("the vault is damaged: {}: {}", damage.object, damage.reason));
        }
        Ok(view)
    }

    /// A server's name, or its id where it has none.
    #[must_use]
    pub fn server_name(&self, server: ServerId) -> String {
        match self.servers.get(server) {
            Some(known) => known.name.clone(),
            None if server == self.server => self.name.clone(),
            None => server.hex(),
        }
    }

    /// Whether a server is the one that is meant. A server that was registered again has several ids and one name.
    #[must_use]
    pub fn is_own(&self, server: ServerId) -> bool {
        let same = |known: &lockstone_vault::access::registration::Server| {
            known.domain == self.domain.id() && known.name == self.name
        };
        server == self.server || self.servers.get(server).is_some_and(same)
    }

    /// Whether a server is the one that a name or an id means.
    #[must_use]
    pub fn is_named(&self, server: ServerId, name: &str) -> bool {
        server.hex() == name || self.server_name(server) == name
    }

    /// The newest recovery point of the server that is meant, but for deleted ones.
    #[must_use]
    pub fn latest<'v>(&self, view: &'v LogView) -> Option<&'v Point> {
        view.points
            .iter()
            .rev()
            .find(|point| self.is_own(point.server) && point.forgotten.is_none())
    }

    /// The recovery point that a user's word means: an id, a unique prefix, or `latest` (of this server, not deleted).
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn point<'v>(&self, view: &'v LogView, word: &str) -> Result<&'v Point, Failure> {
        let found = if word == "latest" {
            self.latest(view).ok_or_else(|| {
                let message = format!("{} has no recovery point", self.name);
                Failure::failed("no-such-point", message, "see `lockstone points list`")
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
                "see what `lockstone check` says".clone_into(&mut failure.hint);
            }
            failure
        })
    }

    /// Writes a job's signed record for the operator, where this machine may write.
    ///
    /// # Errors
    /// Where the vault does not take it.
    pub fn write_job_record(
        &self,
        context: &Context,
        job: &Job,
        kind: JobKind,
        ending: Option<&Ending<'_>>,
    ) -> Result<(), Failure> {
        let Some(key) = &self.key else { return Ok(()) };
        let mut record = JobRecord {
            version: FORMAT_VERSION,
            vault_id: self.vault.id().as_bytes().to_vec().into(),
            server_id: self.server.as_bytes().to_vec().into(),
            job_id: job.job.as_bytes().to_vec().into(),
            kind: kind.into(),
            state: JobState::Running.into(),
            started_s: job.started.parse::<Timestamp>().map_or(0, Timestamp::as_second),
            ..JobRecord::default()
        };
        if let Some(ending) = ending {
            record.number = 1;
            record.set_state(state_of(ending.status));
            record.ended_s = Timestamp::now().as_second();
            [record.files, record.bytes, record.stored_bytes, record.warnings] = ending.figures;
            record.restarts = ending.restarts;
            record.point_id = ending
                .point
                .map(|point| point.as_bytes().to_vec().into())
                .unwrap_or_default();
            record.error_code = ending.error.map(|failure| failure.code.to_owned()).unwrap_or_default();
        }
        Ok(context
            .runtime
            .block_on(job_records::write_job(self.vault.store(), &record, key))?)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.server)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn state_of(status: lockstone_actors::JobStatus) -> JobState {
    match status {
        lockstone_actors::JobStatus::Completed => JobState::Completed,
        lockstone_actors::JobStatus::CompletedWithWarnings => JobState::CompletedWithWarnings,
        lockstone_actors::JobStatus::Cancelled => JobState::Cancelled,
        lockstone_actors::JobStatus::Failed => JobState::Failed,
    }
}

/// A folder that is thrown away, for the cache of a machine that keeps none.
fn scratch() -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("lockstone-cache-").tempdir();
    Ok(made.with_context(|| format!("cannot make a folder in {}", std::env::temp_dir().display()))?)
}

/// The master key by this machine's slot; where that is damaged or gone, by the passphrase, if somebody gives it.
fn own_master(context: &Context, vault: &Vault, agent: &Agent, machine: &MachineKey) -> Result<MasterKey, Failure> {
    let (store, domain) = (vault.store(), agent.domain_id);
    let opened = slot_store::open_with_machine(store, domain, agent.server_id, &machine.secret);
    let error = match context.runtime.block_on(opened) {
        Ok(master) => return Ok(master),
        Err(error) if error.is_key_fault() || error.is_damage() => error,
        Err(error) => return Err(error.into()),
    };
    let mut failure = Failure::from(error);
    let Ok(text) = passphrase::existing(context.global.passphrase_file.as_deref()) else {
        failure.hint = "give the passphrase (LOCKSTONE_PASSPHRASE_FILE) to go on without this machine's key; \
                        `lockstone unregister` and `register` make a new one"
            .to_owned();
        return Err(failure);
    };
    context.out.warn(format!(
        "this machine's key does not open its backups ({}); using the passphrase",
        failure.message
    ));
    slots::open_domain(context, store, domain, &text)
}

/// The vault that this machine is registered with, and no other. A damaged descriptor does not keep it shut.
///
/// # Errors
/// Whatever keeps it shut, with its exit code.
pub fn vault_of(context: &Context, agent: &Agent) -> Result<Vault, Failure> {
    let mut key = [0; 32];
    let decoded = hex::decode_to_slice(&agent.operator_key, &mut key).map_err(anyhow::Error::from);
    let operator_key = decoded
        .and_then(|()| Ok(VerifyingKey::from_bytes(&key)?))
        .context("the registration holds no operator key")?;
    let store = context.store(&agent.vault_url)?;
    let pin = VaultPin {
        vault_id: agent.vault_id,
        operator_key,
    };
    let (vault, damage) = context.runtime.block_on(Vault::open_pinned(store, &pin))?;
    if let Some(damage) = damage {
        context
            .out
            .warn(format!("the vault is damaged: {}: {}", damage.object, damage.reason));
    }
    Ok(vault)
}

/// The servers of a vault; damaged registrations are said on stderr.
///
/// # Errors
/// Where the vault cannot be read.
pub fn servers(context: &Context, vault: &Vault) -> Result<Servers, Failure> {
    let (servers, damage) = context.runtime.block_on(vault.servers())?;
    for damage in damage {
        context
            .out
            .warn(format!("the vault is damaged: {}: {}", damage.object, damage.reason));
    }
    Ok(servers)
}

/// The newest registration of a name: its domain and its id.
///
/// # Errors
/// `no-such-server` where there is none.
pub fn newest(servers: &Servers, name: &str) -> Result<(lockstone_proto::ids::DomainId, ServerId), Failure> {
    let found = servers.by_name(name).into_iter().max_by_key(|known| known.registered);
    found.map(|known| (known.domain, known.id)).ok_or_else(|| {
        let mut names: Vec<&str> = servers.iter().map(|known| known.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let hint = if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        Failure::failed("no-such-server", format!("this vault has no server {name:?}"), hint)
    })
}

/// The credentials of a file.
///
/// # Errors
/// Where it cannot be read, or holds none (exit 5).
pub fn read_credentials(file: &Path) -> Result<VaultCredentials, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let message = format!("cannot read the credentials {}: {error}", file.display());
        Failure::failed(
            "credentials",
            message,
            "the operator makes them with `lockstone vault credentials`",
        )
    })?;
    Ok(VaultCredentials::parse(&text)?)
}

/// Opens the vault that credentials are for, and checks that they are good for it, now.
///
/// # Errors
/// Where they are not (exit 5), or the vault cannot be opened.
pub fn admitted(context: &Context, credentials: &VaultCredentials) -> Result<Vault, Failure> {
    credentials.check(Timestamp::now())?;
    let vault = context
        .runtime
        .block_on(Vault::open(context.store(credentials.url())?))?;
    credentials.check_vault(vault.descriptor())?;
    Ok(vault)
}
