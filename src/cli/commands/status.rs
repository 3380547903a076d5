//! `lockstone status`: whether this server is registered, and whether its backups are as they should be.

use lockstone_proto::job::{JobKind, JobState};
use lockstone_vault::VaultError;
use lockstone_vault::index::NOT_NEEDED;
use lockstone_vault::log::Point;

use crate::agent::access::right::Access;
use crate::agent::access::session::Session;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::{self, JobRecord};
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::status::{LastPoint, RegistrationIds, StatusDocument};
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::render;

/// A server that is not registered is an answer, not a failure.
pub(crate) fn run(context: &Context) -> Outcome {
    let state = StateFolder::locate()?;
    match Registration::load(&state)? {
        Some(registration) => show(context, &state, registration),
        None => {
            show_unregistered(context, &state);
            Ok(Exit::Done)
        }
    }
}

fn show_unregistered(context: &Context, state: &StateFolder) {
    let out = &context.out;
    out.document(&StatusDocument::default());
    out.line(format!("Not registered (state folder {})", state.root().display()));
    out.line("Register with `lockstone register --credentials FILE`.");
}

fn show(context: &Context, state: &StateFolder, registration: Registration) -> Outcome {
    let mut warnings = Vec::new();
    let last_point = match context.block_on(newest_point(context)) {
        Ok((point, damage)) => {
            if point.is_none() {
                warnings.push("no recovery point yet: run `lockstone backup PATH`".to_owned());
            }
            warnings.extend(damage);
            point
        }
        Err(failure) => {
            warnings.push(format!("the vault cannot be opened: {}", failure.message));
            None
        }
    };
    let jobs = job_records::all(state)?;
    warnings.extend(last_backup_failed(&jobs));
    let running = jobs.iter().find(|job| job.runs());
    let last_line = last_point.as_ref().map_or_else(
        || "none yet".to_owned(),
        |point| format!("{}  {}", short(&point.id), render::local_time(point.summary.started_s)),
    );

    let out = &context.out;
    out.line(format!(
        "Server      {} ({})",
        registration.server_name, registration.server_id
    ));
    out.line(format!(
        "Vault       {} ({})",
        registration.vault_url, registration.vault_id
    ));
    out.line(format!("Cache       {}", registration.cache_folder(state).display()));
    out.line(format!("Last point  {last_line}"));
    if let Some(job) = running {
        out.line(format!("Running     {} {}", job.kind, job.job));
    }
    for warning in &warnings {
        out.line(format!("Warning     {}", render::name(warning.as_bytes())));
    }
    let exit = if warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    out.document(&StatusDocument {
        registered: true,
        server: Some(registration.server_name),
        vault: Some(registration.vault_url),
        registration: Some(RegistrationIds {
            server_id: registration.server_id,
            vault_id: registration.vault_id,
            domain_id: registration.domain_id,
            running_job: running.map(|job| job.job),
        }),
        warnings,
        last_point: last_point.as_ref().map(LastPoint::from),
        next_run: None,
    });
    Ok(exit)
}

/// The newest point, and a warning for each kind of damage to the vault that is known.
async fn newest_point(context: &Context) -> Result<(Option<Point>, Vec<String>), Failure> {
    let session = Session::to_read(&context.environment, &Access::Own).await?;
    let view = session.view(&context.environment).await?;
    let mut damage: Vec<String> = view
        .damage
        .first()
        .map(|first| format!("the vault is damaged: {}", first.line()))
        .into_iter()
        .collect();
    let distrusted = session.domain.index().distrusted().map_err(VaultError::from)?;
    let open: Vec<_> = distrusted.iter().filter(|(_, reason)| reason != NOT_NEEDED).collect();
    if let [(first, reason), ..] = open.as_slice() {
        damage.push(format!(
            "{} packs of the vault are damaged or missing, the first is {first} ({reason}): a backup stores again what \
             the files still have, and `lockstone check` names what is lost",
            open.len()
        ));
    }
    Ok((session.latest(&view).cloned(), damage))
}

/// A warning if the last backup that ended did not succeed.
fn last_backup_failed(jobs: &[JobRecord]) -> Option<String> {
    let job = jobs.iter().find(|job| job.kind == JobKind::Backup && !job.runs())?;
    if !matches!(job.state, JobState::Failed | JobState::Cancelled) {
        return None;
    }
    let message = job.error.as_ref().map(|error| error.message.as_str());
    let warning = format!("the last backup ended as {} {}", job.state, message.unwrap_or(""));
    Some(warning.trim_end().to_owned())
}
