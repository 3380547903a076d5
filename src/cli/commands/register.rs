//! `lockstone register` and `unregister`: how a server comes to a vault, and leaves it.
//!
//! A server that registers makes a domain of its own: a master key, wrapped in three slots (passphrase, this machine,
//! recovery key). Or it joins one, by its passphrase: `--join-domain NAME` joins that of another server; a server whose
//! own name is already registered (a machine that was set up anew) joins its old domain, so that it finds its backups
//! and adds to them, unless `--new-domain` says to start afresh.
//!
//! Order: slots, machine key, registration in the vault, registration here. What an interruption leaves behind is a
//! domain without a server, which costs a few hundred bytes.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use lockstone_proto::access::Region;
use lockstone_proto::ids::{DomainId, ServerId};
use lockstone_vault::VaultError;
use lockstone_vault::access::credentials::generate_signing_key;
use lockstone_vault::access::registration::{NAME_MAX, NewServer, Servers};
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slot_store::{delete_slot, put_slot};
use lockstone_vault::crypto::slots::{KdfParams, wrap_with_machine, wrap_with_passphrase, wrap_with_recovery};
use lockstone_vault::vault::Vault;
use serde_json::json;
use zeroize::Zeroizing;

use crate::agent::access::credentials::{admitted, read_credentials};
use crate::agent::access::open::{newest_registration, registered_vault, servers};
use crate::agent::access::passphrase::PassphraseSource;
use crate::agent::access::unlock::open_domain;
use crate::agent::ids::{new_job_id, random};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::state::machine_key::MachineKey;
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};

/// Options of `register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The credentials file from the vault's operator
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials: PathBuf,
    /// The name of this server in the vault [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Share key and deduplication with this server; asks for its passphrase
    #[arg(long, value_name = "NAME", conflicts_with = "new_domain")]
    pub(crate) join_domain: Option<String>,
    /// Start afresh, even though a server of this name is registered
    #[arg(long)]
    pub(crate) new_domain: bool,
    #[command(flatten)]
    pub(crate) kdf: KdfArgs,
}

/// What deriving the key of a new passphrase slot costs. The defaults are right for servers; tests take less.
#[derive(Debug, Clone, Args)]
pub(crate) struct KdfArgs {
    /// Memory of the passphrase's key derivation, MiB
    #[arg(long, value_name = "N", hide = true, default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=2048))]
    pub(crate) kdf_memory_mib: u32,
    /// Passes of the passphrase's key derivation
    #[arg(long, value_name = "N", hide = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) kdf_passes: u32,
}

impl KdfArgs {
    /// For the slot.
    pub(crate) fn params(&self) -> KdfParams {
        KdfParams {
            memory_kib: self.kdf_memory_mib * 1024,
            passes: self.kdf_passes,
            ..KdfParams::default()
        }
    }
}

/// Options of `unregister`.
#[derive(Debug, Args)]
pub(crate) struct UnregisterArgs {
    /// Leave this machine's key slot in the vault (where the vault cannot be reached)
    #[arg(long)]
    pub(crate) offline: bool,
}

/// Runs `register`.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn register(context: &Context, args: RegisterArgs) -> Outcome {
    let home = StateFolder::locate()?;
    if let Some(agent) = Registration::load(&home)? {
        let message = format!(
            "this server is registered already, as {} with {}",
            agent.server_name, agent.vault_url
        );
        let hint = "to register it anew, first `lockstone unregister` (its backups stay in the vault)";
        return Err(Failure::new(Exit::NotRegistered, "already-registered", message, hint));
    }
    let name = server_name(args.server_name.as_deref())?;
    let credentials = read_credentials(&args.credentials)?;
    if credentials.region() != Region::Primary {
        let hint = "use credentials of the primary region; these are good for `lockstone restore --credentials`";
        return Err(Failure::refused(
            "bad-credentials",
            "these credentials are for the secondary region",
            hint,
        ));
    }
    let vault = context.block_on(admitted(&context.environment, &credentials))?;
    let servers = context.block_on(servers(&context.environment, &vault))?;
    let joins = joins(&args, &servers, &name)?;
    let admission = Admission {
        context,
        args: &args,
        vault: &vault,
    };
    let (domain, master, recovery) = match joins {
        Some(domain) => (domain, admission.join(domain, &name)?, None),
        None => admission.new_domain()?,
    };

    home.prepare()?;
    let _lock = context.block_on(JobLock::take(&home, new_job_id()?, Purpose::Registration))?;
    let server = ServerId(random()?);
    let key = generate_signing_key().map_err(VaultError::from)?;
    let secret = Zeroizing::new(random()?);
    let slot = wrap_with_machine(&master, &secret, domain, server)?;
    let slot = context.block_on(put_slot(vault.store(), &slot))?;
    MachineKey {
        slot,
        secret,
        seed: Zeroizing::new(key.to_bytes()),
    }
    .save(&home)?;
    let now = Timestamp::now();
    let new = NewServer {
        id: server,
        name: &name,
        domain,
        key: &key,
    };
    context.block_on(vault.register(&credentials, &new, now))?;
    let agent = Registration {
        version: Registration::version(),
        vault_url: vault.store().url().to_owned(),
        secondary_url: credentials.secondary_url().unwrap_or_default().to_owned(),
        vault_id: vault.id(),
        operator_key: hex::encode(vault.operator_key().to_bytes()),
        server_id: server,
        server_name: name.clone(),
        domain_id: domain,
        registered: now.to_string(),
        cache: None,
    };
    agent.save(&home)?;

    context.out.document(&json!({
        "registered": true,
        "server": name,
        "server_id": server,
        "vault": agent.vault_url,
        "vault_id": agent.vault_id,
        "domain_id": domain,
        "joined": joins.is_some(),
        "recovery_key": recovery.as_ref().map(|key| key.as_str()),
    }));
    if let (Some(recovery), false) = (&recovery, context.global.json) {
        eprintln!(
            "Recovery key, shown this once. Keep it away from this machine; it opens the backups like the passphrase:"
        );
        eprintln!("\n    {}\n", recovery.as_str());
    }
    context
        .out
        .line(format!("Registered as {name} with {}", agent.vault_url));
    context.out.line("Back up with `lockstone backup PATH…`");
    Ok(Exit::Done)
}

/// Which domain this server joins, if any.
fn joins(args: &RegisterArgs, servers: &Servers, name: &str) -> Result<Option<DomainId>, Failure> {
    if let Some(other) = &args.join_domain {
        return newest_registration(servers, other).map(|(domain, _)| Some(domain));
    }
    if args.new_domain || servers.by_name(name).is_empty() {
        return Ok(None);
    }
    newest_registration(servers, name).map(|(domain, _)| Some(domain))
}

/// What the two ways into a vault share.
struct Admission<'a> {
    context: &'a Context,
    args: &'a RegisterArgs,
    vault: &'a Vault,
}

impl Admission<'_> {
    /// The master key of a domain that exists.
    fn join(&self, domain: DomainId, name: &str) -> Result<MasterKey, Failure> {
        let of = self.args.join_domain.as_deref().unwrap_or(name);
        if self.args.join_domain.is_none() {
            self.context.out.note(format!(
                "A server {name} is registered in this vault; joining its backups by their passphrase."
            ));
        }
        let text = self.context.prompt.existing()?;
        let opened = self.context.block_on(open_domain(self.vault.store(), domain, &text));
        opened.map_err(|mut failure| {
            if failure.code == "wrong-passphrase" {
                failure.message =
                    format!("this is not the passphrase of server {of}, which is registered in this vault");
                if self.args.join_domain.is_none() {
                    failure
                        .hint
                        .push_str("\nor choose another --server-name, or start afresh with --new-domain");
                }
            }
            failure
        })
    }

    /// A new domain, with its passphrase and recovery slots.
    fn new_domain(&self) -> Result<(DomainId, MasterKey, Option<Zeroizing<String>>), Failure> {
        let passphrase = self.context.prompt.first()?;
        let domain = DomainId(random()?);
        let master = MasterKey::generate().map_err(VaultError::from)?;
        let by_passphrase = wrap_with_passphrase(&master, &passphrase, self.args.kdf.params(), domain)?;
        let (by_recovery, recovery) = wrap_with_recovery(&master, domain)?;
        for slot in [by_passphrase, by_recovery] {
            self.context.block_on(put_slot(self.vault.store(), &slot))?;
        }
        Ok((domain, master, Some(recovery)))
    }
}

fn server_name(asked: Option<&str>) -> Result<String, Failure> {
    let name = match asked {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .to_owned(),
    };
    let bad = name.is_empty() || name.len() > NAME_MAX || name.trim() != name || name.chars().any(char::is_control);
    if bad {
        let hint = format!("1 to {NAME_MAX} bytes, on one line, without blanks at the ends");
        return Err(Failure::usage(format!("{name:?} is no name for a server"), hint));
    }
    Ok(name)
}

/// Runs `unregister`.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn unregister(context: &Context, args: &UnregisterArgs) -> Outcome {
    let home = StateFolder::locate()?;
    let agent = Registration::required(&home)?;
    home.prepare()?;
    let _lock = context.block_on(JobLock::take(&home, new_job_id()?, Purpose::Registration))?;
    let mut exit = Exit::Done;
    if !args.offline
        && let Err(failure) = remove_slot(context, &home, &agent)
    {
        context.out.warn(format!(
            "this machine's key slot stays in the vault: {}",
            failure.message
        ));
        exit = Exit::Warnings;
    }
    let cache = agent.cache_folder(&home);
    Registration::remove(&home)?;
    if let Err(error) = std::fs::remove_dir_all(&cache)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        context
            .out
            .warn(format!("the cache folder {} was not removed: {error}", cache.display()));
        exit = Exit::Warnings;
    }
    context
        .out
        .document(&json!({ "registered": false, "server": agent.server_name, "vault": agent.vault_url }));
    context.out.line(format!(
        "{} is no longer registered with {}",
        agent.server_name, agent.vault_url
    ));
    context
        .out
        .line("Its backups stay there; their passphrase or recovery key opens them.");
    Ok(exit)
}

/// Without its slot, a copy of this machine's key opens nothing.
fn remove_slot(context: &Context, home: &StateFolder, agent: &Registration) -> Result<(), Failure> {
    let key = MachineKey::load(home)?;
    let vault = context.block_on(registered_vault(&context.environment, agent))?;
    Ok(context.block_on(delete_slot(vault.store(), agent.domain_id, key.slot))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_name_that_fits_on_a_line() {
        assert!(matches!(server_name(Some("web-1")).as_deref(), Ok("web-1")));
        for bad in ["", " a", "a\nb", &"x".repeat(NAME_MAX + 1)] {
            assert!(server_name(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
