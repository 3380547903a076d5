//! `lockstone cache …`: the cache folder. Everything in it can be rebuilt from the vault.

mod check;
pub(in crate::cli::commands) mod folder;
mod move_to;
mod rebuild;

use std::path::Path;

use clap::Subcommand;

use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::ids::new_job_id;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::cache::CacheDocument;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// What to do with the cache folder.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Open the cache folder, bring it up to date, and say what is in it
    Check,
    /// Throw the cache folder away and rebuild it from the vault
    Rebuild,
    /// Move the cache folder to another place
    Move(move_to::MoveArgs),
}

/// The cache folder of this server, held for one command.
struct HeldCache {
    state: StateFolder,
    registration: Registration,
    #[expect(dead_code, reason = "held until the command ends")]
    lock: JobLock,
}

pub(crate) fn run(context: &Context, command: CacheCommand) -> Outcome {
    let (state, registration) = registered()?;
    let lock = context.block_on(JobLock::take(&state, new_job_id()?, Purpose::Cache))?;
    let cache = HeldCache {
        state,
        registration,
        lock,
    };
    match command {
        CacheCommand::Check => check::run(context, &cache),
        CacheCommand::Rebuild => rebuild::run(context, &cache),
        CacheCommand::Move(args) => move_to::run(context, cache, &args),
    }
}

/// Opens the cache folder, which brings it up to date, and shows what is in it.
fn show(context: &Context, cache: &HeldCache, folder: &Path) -> Outcome {
    let (session, view) = context.block_on(async {
        let session = Session::open(&context.environment, &cache.state, &cache.registration).await?;
        let view = session.view(&context.environment).await?;
        Ok::<_, Failure>((session, view))
    })?;
    let bytes = folder::size(folder);
    context.out.document(&CacheDocument {
        ok: true,
        folder: folder.to_owned(),
        bytes,
        log_entries: view.head.n,
        points: view.points.len(),
    });
    context.out.line(format!(
        "{} is up to date: {}, log entry {}, {}",
        folder.display(),
        render::bytes(bytes),
        render::count(view.head.n),
        render::counted(view.points.len() as u64, "recovery point", "recovery points")
    ));
    drop(session);
    Ok(Exit::Done)
}
