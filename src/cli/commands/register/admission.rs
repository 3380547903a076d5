//! How a server comes to a vault.
//!
//! A server that registers makes a domain of its own: a master key, wrapped in three slots (passphrase, this machine,
//! recovery key). Or it joins a domain by its passphrase. `--join-domain NAME` joins the domain of another server. A
//! server whose own name is registered already (a machine that was set up anew) joins its old domain, finds its old
//! backups there and adds to them; `--new-domain` prevents this.
//!
//! The order of writes is: slots, machine key, registration in the vault, registration in the state folder. If this is
//! interrupted, it leaves a domain without a server, which costs a few hundred bytes.

use jiff::Timestamp;
use lockstone_proto::ids::{DomainId, ServerId};
use lockstone_proto::vault::{KeySlot, SlotKind};
use lockstone_vault::VaultError;
use lockstone_vault::access::credentials::{VaultCredentials, generate_signing_key};
use lockstone_vault::access::registration::{MachineName, NewServer, Server, Servers, machine_name};
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slot_store::{delete_slot, list_slots, put_slot};
use lockstone_vault::crypto::slots::{
    KdfParams, Passphrase, wrap_with_machine, wrap_with_passphrase, wrap_with_recovery,
};
use lockstone_vault::vault::Vault;
use zeroize::Zeroizing;

use crate::agent::access::named;
use crate::agent::access::slots;
use crate::agent::cache::stamp;
use crate::agent::environment::Environment;
use crate::agent::ids::{new_job_id, random};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::host::Host;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::state::machine_key::MachineKey;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;

/// A server that wants to be admitted to a vault.
pub(super) struct Admission<'a> {
    pub(super) environment: &'a Environment,
    pub(super) vault: &'a Vault,
    pub(super) servers: &'a Servers,
    /// The server's name.
    pub(super) name: &'a str,
    /// The server whose domain is joined.
    pub(super) join_domain: Option<&'a str>,
    /// Whether the server makes a new domain although its name is registered.
    pub(super) new_domain: bool,
    /// Whether the machine takes the place of another one of its name.
    pub(super) replace: bool,
    /// What this machine is called.
    pub(super) host: Host,
    /// The server that this machine has been until now.
    pub(super) before: Option<ServerId>,
}

/// The domain that a server is admitted to.
pub(super) struct Admitted {
    domain: DomainId,
    master: MasterKey,
    /// The recovery key of a new domain; `None` if the server joined a domain.
    pub(super) recovery_key: Option<Zeroizing<String>>,
}

impl Admission<'_> {
    /// The registrations whose domains this server may join, the newest first; none if it makes a new domain.
    pub(super) fn to_join(&self) -> Result<Vec<&Server>, Failure> {
        let same_name = self.servers.by_name(self.name);
        match self.join_domain {
            Some(other) => named::registrations(self.servers, other),
            None if same_name.is_empty() => Ok(Vec::new()),
            None if self.new_domain => {
                self.environment.notices.warn(format!(
                    "the name {} is taken already: {}; its backups stay, by its passphrase and its id",
                    self.name,
                    named::list(&same_name)
                ));
                Ok(Vec::new())
            }
            None => named::registrations(self.servers, self.name),
        }
    }

    /// Joins the first of the domains that the passphrase opens.
    pub(super) async fn join(&self, found: &[&Server]) -> Result<Admitted, Failure> {
        let owner = self.join_domain.unwrap_or(self.name);
        if self.join_domain.is_none() {
            self.environment.notices.note(format!(
                "A server {owner} is registered in this vault; joining its backups by their passphrase."
            ));
        }
        let text = self.environment.passphrases.existing_of(owner)?;
        let opened = named::open_first(self.vault.store(), found, &text).await;
        let (known, master) = opened.map_err(|mut failure| {
            if failure.code == "wrong-passphrase" {
                failure.message =
                    format!("this is not the passphrase of server {owner}, which is registered in this vault");
                if self.join_domain.is_none() {
                    failure
                        .hint
                        .push_str("\nor choose another `--server-name`, or start afresh with `--new-domain`");
                }
            }
            failure
        })?;
        let domain = known.domain;
        self.take_place(domain).await?;
        Ok(Admitted {
            domain,
            master,
            recovery_key: None,
        })
    }

    /// Other machines that are registered under this name and have a key slot in the domain keep their name, unless
    /// this one takes their place. A machine that gave up its registration has no slot.
    async fn take_place(&self, domain: DomainId) -> Result<(), Failure> {
        let Some(own) = self.machine() else { return Ok(()) };
        let store = self.vault.store();
        let (slots, _) = list_slots(store, domain).await?;
        let is_others = |slot: &&KeySlot| {
            let server = ServerId::try_from(slot.server_id.as_ref()).ok();
            let known = server.and_then(|id| self.servers.get(id));
            let other = |known: &Server| known.machine.is_some_and(|machine| machine != own);
            let is_taken = known.is_some_and(|known| known.name == self.name && other(known));
            slot.kind() == SlotKind::Machine && is_taken && server != self.before
        };
        let others: Vec<&KeySlot> = slots.iter().filter(is_others).collect();
        if others.is_empty() {
            return Ok(());
        }
        if !self.replace {
            let message = format!(
                "another machine is registered as {} and has not given that up",
                self.name
            );
            let hint = "choose another `--server-name`\n\
                        if that machine is gone for good, or was installed anew, add `--replace`: its key opens the \
                        backups no longer, and this one goes on with them";
            return Err(Failure::refused("name-taken", message, hint));
        }
        for slot in others {
            delete_slot(store, domain, slots::id(slot)?).await?;
        }
        Ok(())
    }

    /// The name of this machine within the vault.
    fn machine(&self) -> Option<MachineName> {
        let id = self.host.machine_id.as_deref()?;
        Some(machine_name(self.vault.id(), id))
    }

    /// Makes a domain with its passphrase and recovery slots.
    pub(super) async fn new_domain(&self, passphrase: &Passphrase, kdf: KdfParams) -> Result<Admitted, Failure> {
        let domain = DomainId(random()?);
        let master = MasterKey::generate().map_err(VaultError::from)?;
        let by_passphrase = wrap_with_passphrase(&master, passphrase, kdf, domain)?;
        let (by_recovery, recovery_key) = wrap_with_recovery(&master, domain)?;
        for slot in [by_passphrase, by_recovery] {
            put_slot(self.vault.store(), &slot).await?;
        }
        Ok(Admitted {
            domain,
            master,
            recovery_key: Some(recovery_key),
        })
    }

    /// Registers the server in the vault and in the state folder, with a machine slot and a key of its own.
    pub(super) async fn register(
        &self,
        state: &StateFolder,
        credentials: &VaultCredentials,
        admitted: &Admitted,
    ) -> Result<Registration, Failure> {
        state.prepare()?;
        let _lock = JobLock::take(state, new_job_id()?, Purpose::Registration).await?;
        // Another registration may have come first while this one asked for the passphrase.
        if let Some(registration) = Registration::load(state)? {
            return Err(super::already_registered(&registration));
        }
        let (vault, domain, server) = (self.vault, admitted.domain, ServerId(random()?));
        let key = generate_signing_key().map_err(VaultError::from)?;
        let secret = Zeroizing::new(random()?);
        let slot = wrap_with_machine(&admitted.master, &secret, domain, server)?;
        let machine = MachineKey {
            slot: put_slot(vault.store(), &slot).await?,
            secret,
            seed: Zeroizing::new(key.to_bytes()),
        };
        machine.save(state)?;
        let now = Timestamp::now();
        let new = NewServer {
            id: server,
            name: self.name,
            domain,
            key: &key,
            machine: self.machine(),
        };
        vault.register(credentials, &new, now).await?;
        if let Some(hours) = vault.hours_ahead_of_store() {
            self.environment.notices.warn(format!(
                "this server's clock is {hours} h ahead of that of the vault's store: the registration has the store's \
                 time"
            ));
        }
        let registration = Registration {
            version: Registration::version(),
            vault_url: vault.store().url().to_owned(),
            secondary_url: credentials.secondary_url().unwrap_or_default().to_owned(),
            vault_id: vault.id(),
            operator_key: hex::encode(vault.operator_key().to_bytes()),
            server_id: server,
            server_name: self.name.to_owned(),
            domain_id: domain,
            registered: now.to_string(),
            host: self.host.clone(),
            cache: None,
            cache_id: None,
            old_cache: None,
        };
        // The cache of an earlier registration is not another server's: the folder is this machine's own.
        stamp::remove(&state.cache())?;
        registration.save(state)?;
        Ok(registration)
    }
}
