//! `lockstone cache …`: the cache folder. Everything in it can be rebuilt from the vault.

mod check;
mod move_to;
mod rebuild;
mod rules;
mod show;

use clap::Subcommand;

use crate::agent::access::right::registered;
use crate::agent::cache::protected_bytes;
use crate::agent::ids::new_job_id;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// What to do with the cache folder.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Say whether the cache folder is as it must be; open it, and bring it up to date
    Check,
    /// Throw the cache folder away and rebuild it from the vault
    Rebuild,
    /// Move the cache folder to another place
    Move(move_to::MoveArgs),
    /// Show or set how much space must be free for the cache folder
    Rules(rules::RulesArgs),
}

/// The cache folder of this server, held for one command.
struct HeldCache {
    state: StateFolder,
    registration: Registration,
    /// The bytes of the newest recovery point, as far as a job knew.
    protected_bytes: Option<u64>,
    #[expect(dead_code, reason = "held until the command ends")]
    lock: JobLock,
}

pub(crate) fn run(context: &Context, command: CacheCommand) -> Outcome {
    match command {
        CacheCommand::Check => check::run(context, hold(context)?),
        CacheCommand::Rebuild => rebuild::run(context, hold(context)?),
        CacheCommand::Move(args) => move_to::run(context, hold(context)?, &args),
        CacheCommand::Rules(args) => rules::run(context, &args),
    }
}

/// Waits for commands that read. Fails with `busy` (exit 7) while a job runs.
fn hold(context: &Context) -> Result<HeldCache, crate::failure::Failure> {
    let (state, _) = registered()?;
    let lock = context.block_on(JobLock::take(&state, new_job_id()?, Purpose::Cache))?;
    // It may have changed while this waited for the lock.
    let registration = Registration::required(&state)?;
    Ok(HeldCache {
        protected_bytes: protected_bytes(&job_records::all(&state)?),
        state,
        registration,
        lock,
    })
}
