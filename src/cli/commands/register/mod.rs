//! `lockstone register`.

mod admission;
mod moved;
mod name;

use std::path::{Path, PathBuf};

use clap::Args;
use lockstone_proto::access::Region;
use lockstone_vault::access::credentials::VaultCredentials;
use zeroize::Zeroizing;

use self::admission::{Admission, Admitted};
use super::kdf::KdfArgs;
use crate::agent::access::credentials::{admitted, read_credentials};
use crate::agent::access::give_up::remove_slot;
use crate::agent::access::open::servers;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::host::{Host, renamed};
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::log::write_line;
use crate::cli::output::Outcome;
use crate::documents::register::RegisteredDocument;
use crate::failure::{Exit, Failure};
use crate::text::units;

/// Options of `register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The credentials file from the vault's operator
    #[arg(long, value_name = "FILE", required_unless_present = "moved_to")]
    credentials: Option<PathBuf>,
    /// The name of this server in the vault [default: its host name]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Share key and deduplication with this server (a name or an id); asks for its passphrase
    #[arg(long, value_name = "NAME", conflicts_with = "new_domain")]
    join_domain: Option<String>,
    /// Start afresh, even though a server of this name is registered
    #[arg(long)]
    new_domain: bool,
    /// Take the place of another machine of this name, which is gone for good or was installed anew
    #[arg(long, conflicts_with = "new_domain")]
    replace: bool,
    /// The vault of this server is at another place now: stay registered, with this URL
    #[arg(
        long,
        value_name = "URL",
        value_parser = units::vault_url,
        conflicts_with_all = ["credentials", "server_name", "join_domain", "new_domain", "replace"]
    )]
    moved_to: Option<String>,
    #[command(flatten)]
    kdf: KdfArgs,
}

pub(crate) fn run(context: &Context, args: &RegisterArgs) -> Outcome {
    let state = StateFolder::locate()?;
    if let Some(url) = &args.moved_to {
        let registration = context.block_on(moved::follow(&context.environment, &state, url))?;
        show_registered(context, registration, true, None);
        return Ok(Exit::Done);
    }
    let before = Registration::load(&state)?;
    if let Some(registration) = &before
        && renamed(&registration.host, &registration.server_name).is_none()
    {
        return Err(already_registered(registration));
    }
    let name = name::server_name(args.server_name.as_deref())?;
    let credentials = primary_credentials(args)?;
    let registering = register(context, args, (&state, before.as_ref()), &name, &credentials);
    let (registration, admitted) = context.block_on(registering)?;
    if !rustix::process::geteuid().is_root() {
        context.out.warn(NOT_ROOT);
    }
    Ok(show(context, registration, admitted))
}

/// What a registration by another user than root is good for.
const NOT_ROOT: &str = "registered for the files of this user only: without root, backups lack what this user cannot \
                        read, they read files live and take no snapshots, and a restore sets no owners; register as \
                        root to protect the whole system";

async fn register(
    context: &Context,
    args: &RegisterArgs,
    (state, before): (&StateFolder, Option<&Registration>),
    name: &str,
    credentials: &VaultCredentials,
) -> Result<(Registration, Admitted), Failure> {
    let vault = admitted(&context.environment, credentials).await?;
    let servers = servers(&context.environment, &vault).await?;
    let admission = Admission {
        environment: &context.environment,
        vault: &vault,
        servers: &servers,
        name,
        join_domain: args.join_domain.as_deref(),
        new_domain: args.new_domain,
        replace: args.replace,
        host: Host::now(),
        before: before.map(|before| before.server_id),
    };
    let found = admission.to_join()?;
    let admitted = if found.is_empty() {
        let passphrase = context.prompt.first().map_err(incomplete)?;
        admission.new_domain(&passphrase, args.kdf.params()).await?
    } else {
        admission.join(&found).await?
    };
    if let Some(before) = before {
        give_up(context, state, before).await?;
    }
    let registration = admission.register(state, credentials, &admitted).await?;
    Ok((registration, admitted))
}

/// Gives up the registration under the old name of a machine that is called otherwise now.
async fn give_up(context: &Context, state: &StateFolder, before: &Registration) -> Result<(), Failure> {
    context
        .out
        .note(format!("giving up the registration as {}", before.server_name));
    if let Err(failure) = remove_slot(&context.environment, state, before).await {
        let why = failure.message;
        context.out.warn(format!(
            "the key slot of {} stays in the vault: {why}",
            before.server_name
        ));
    }
    Ok(Registration::remove(state)?)
}

/// Without a passphrase there is no registration, and nothing can be configured.
fn incomplete(mut failure: Failure) -> Failure {
    failure
        .hint
        .push_str("\nthis server is not registered until it has a passphrase");
    failure
}

fn already_registered(registration: &Registration) -> Failure {
    let message = format!(
        "this server is registered already, as {} with {}",
        registration.server_name, registration.vault_url
    );
    let hint = "to register it anew, first `lockstone unregister` (its backups stay in the vault)";
    Failure::new(Exit::NotRegistered, "already-registered", message, hint)
}

fn primary_credentials(args: &RegisterArgs) -> Result<VaultCredentials, Failure> {
    let file = args.credentials.as_deref().unwrap_or(Path::new(""));
    let credentials = read_credentials(file)?;
    if credentials.region() != Region::Primary {
        let message = "these credentials are for the secondary region";
        let hint = "use credentials of the primary region; these are good for `lockstone restore --credentials`";
        return Err(Failure::refused("bad-credentials", message, hint));
    }
    Ok(credentials)
}

/// Returns `Warnings` if the recovery key could not be shown.
fn show(context: &Context, registration: Registration, admitted: Admitted) -> Exit {
    let mut exit = Exit::Done;
    if let (Some(recovery_key), false) = (&admitted.recovery_key, context.global.json) {
        let head = "Recovery key, shown this once. Keep it away from this machine; it opens the backups like the \
                    passphrase:";
        let text = Zeroizing::new(format!("{head}\n\n    {}\n", recovery_key.as_str()));
        if !write_line(&text) {
            exit = Exit::Warnings;
        }
    }
    show_registered(
        context,
        registration,
        admitted.recovery_key.is_none(),
        admitted.recovery_key,
    );
    exit
}

fn show_registered(
    context: &Context,
    registration: Registration,
    joined: bool,
    recovery_key: Option<Zeroizing<String>>,
) {
    context.out.line(format!(
        "Registered as {} with {}",
        registration.server_name, registration.vault_url
    ));
    context.out.line("Back up with `lockstone backup PATH…`");
    context.out.document(&RegisteredDocument {
        registered: true,
        server: registration.server_name,
        server_id: registration.server_id,
        vault: registration.vault_url,
        vault_id: registration.vault_id,
        domain_id: registration.domain_id,
        joined,
        recovery_key,
    });
}
