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
use crate::agent::access::open::servers;
use crate::agent::state::folder::StateFolder;
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
    /// The vault of this server is at another place now: stay registered, with this URL
    #[arg(
        long,
        value_name = "URL",
        value_parser = units::vault_url,
        conflicts_with_all = ["credentials", "server_name", "join_domain", "new_domain"]
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
    if let Some(registration) = Registration::load(&state)? {
        return Err(already_registered(&registration));
    }
    let name = name::server_name(args.server_name.as_deref())?;
    let credentials = primary_credentials(args)?;
    let (registration, admitted) = context.block_on(register(context, args, &state, &name, &credentials))?;
    Ok(show(context, registration, admitted))
}

async fn register(
    context: &Context,
    args: &RegisterArgs,
    state: &StateFolder,
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
    };
    let found = admission.to_join()?;
    let admitted = if found.is_empty() {
        admission
            .new_domain(&context.prompt.first()?, args.kdf.params())
            .await?
    } else {
        admission.join(&found).await?
    };
    let registration = admission.register(state, credentials, &admitted).await?;
    Ok((registration, admitted))
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
