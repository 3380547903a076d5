//! `lockstone unregister`. The backups of this server stay in the vault.

use clap::Args;

use crate::agent::access::give_up::remove_slot;
use crate::agent::access::right::registered;
use crate::agent::cache::{folder, moving, stamp};
use crate::agent::ids::new_job_id;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::register::UnregisteredDocument;
use crate::failure::Exit;

/// Options of `unregister`.
#[derive(Debug, Args)]
pub(crate) struct UnregisterArgs {
    /// Leave this machine's key slot in the vault (where the vault cannot be reached)
    #[arg(long)]
    offline: bool,
}

pub(crate) fn run(context: &Context, args: &UnregisterArgs) -> Outcome {
    let (state, registration) = registered()?;
    let _lock = context.block_on(JobLock::take(&state, new_job_id()?, Purpose::Registration))?;
    let (mut exit, mut ages) = (Exit::Done, None);
    if !args.offline {
        match context.block_on(remove_slot(&context.environment, &state, &registration)) {
            Ok(has_neighbour) => ages = Some(has_neighbour),
            Err(failure) => {
                let why = failure.message;
                context
                    .out
                    .warn(format!("this machine's key slot stays in the vault: {why}"));
                exit = Exit::Warnings;
            }
        }
    }
    let cache = registration.cache_folder(&state);
    let is_own = !matches!(stamp::compare(&cache, &registration), stamp::Standing::Differs(_));
    Registration::remove(&state)?;
    if let Some(old) = &registration.old_cache
        && let Err(error) = moving::remove_known(old, &registration)
    {
        let warning = format!("the cache folder of before the move was not removed: {error:#}");
        context.out.warn(warning);
        exit = Exit::Warnings;
    }
    match if is_own { folder::empty(&cache) } else { Ok(false) } {
        Ok(true) => {
            let _ = std::fs::remove_dir(&cache);
        }
        Ok(false) => {
            let note = "holds files that are not lockstone's; they stay";
            context.out.note(format!("the folder {} {note}", cache.display()));
        }
        Err(error) => {
            context.out.warn(format!(
                "the cache folder {} was not removed: {error:#}",
                cache.display()
            ));
            exit = Exit::Warnings;
        }
    }
    context.out.line(format!(
        "{} is no longer registered with {}",
        registration.server_name, registration.vault_url
    ));
    context
        .out
        .line("Its backups stay there; their passphrase or recovery key opens them.");
    match ages {
        Some(true) => context.out.line(
            "The servers that share its key delete its recovery points when their time is over by its last policy.",
        ),
        Some(false) => context
            .out
            .line("No other server has its key, so none deletes its recovery points when their time is over."),
        None => {}
    }
    context.out.document(&UnregisteredDocument {
        registered: false,
        server: registration.server_name,
        vault: registration.vault_url,
    });
    Ok(exit)
}
