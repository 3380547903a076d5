//! `lockstone protection stop`, `resume` and `show`.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use lockstone_vault::log::Point;

use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::alerts;
use crate::agent::held_policy::{HeldPolicy, InForce, Protection};
use crate::agent::ids::new_job_id;
use crate::agent::protection::{Changed, delete, note, to_delete, undelete};
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::vault_policy;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::protection::ProtectionDocument;
use crate::failure::{Exit, Failure};
use crate::policy::Occasion;
use crate::text::render;

/// What to do with the protection of this server.
#[derive(Debug, Subcommand)]
pub(crate) enum ProtectionCommand {
    /// Make no more backups by the policy, and keep or delete the recovery points
    Stop(StopArgs),
    /// Go on after `protection stop`; points that it deleted come back
    Resume,
    /// Show whether this server is protected
    Show,
}

/// What becomes of the recovery points.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Keep them, as long as the policy says
    #[arg(long, required_unless_present = "delete_data", conflicts_with = "delete_data")]
    keep_data: bool,
    /// Keep them until they are deleted by hand
    #[arg(long, requires = "keep_data")]
    for_ever: bool,
    /// Delete them; `protection resume` brings them back for the vault's soft-delete days
    #[arg(long)]
    delete_data: bool,
    /// Do not ask before points are deleted
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn run(context: &Context, command: &ProtectionCommand) -> Outcome {
    match command {
        ProtectionCommand::Stop(args) if args.delete_data => delete_data(context, args.yes),
        ProtectionCommand::Stop(args) => keep_data(context, args.for_ever),
        ProtectionCommand::Resume => resume(context),
        ProtectionCommand::Show => {
            let (state, registration) = registered()?;
            let held = HeldPolicy::load(&state, registration.server_id)?;
            if held.is_none() {
                context
                    .out
                    .note("this server has no policy, so it makes no backups by itself");
            }
            let protection = held.map_or(Protection::Active, |held| held.protection);
            Ok(show(context, protection, &Changed::default()))
        }
    }
}

fn keep_data(context: &Context, for_ever: bool) -> Outcome {
    let (state, registration) = registered()?;
    let held = InForce::required(&state, registration.server_id)?.held;
    let protection = if for_ever {
        Protection::StoppedKeepForEver
    } else {
        Protection::StoppedKeepAgeing
    };
    if let Some(held) = note(&state, Some(held), protection)? {
        context.block_on(vault_policy::announce(&context.environment, &held));
    }
    Ok(show(context, protection, &Changed::default()))
}

fn delete_data(context: &Context, yes: bool) -> Outcome {
    let (state, registration) = registered()?;
    let held = HeldPolicy::load(&state, registration.server_id)?;
    let now = Timestamp::now();
    let changed = context.block_on(async {
        let _lock = JobLock::take(&state, new_job_id()?, Purpose::Delete).await?;
        let session = Session::open(&context.environment, &state, &registration).await?;
        let view = session.view(&context.environment).await?;
        if !yes {
            confirm(context, &to_delete(&session, &view, now).0)?;
        }
        // No backup comes in between, even if the deletion fails and has to be done again.
        let held = note(&state, held, Protection::StoppedDeleted)?;
        vault_policy::bring(&context.environment, &session, held.as_ref()).await?;
        delete(&session, &view, now).await
    })?;
    if !changed.deleted.is_empty() {
        let n = render::counted(
            changed.deleted.len() as u64,
            "recovery point was",
            "recovery points were",
        );
        let message = format!("protection was stopped, and {n} deleted");
        let raised = alerts::raise(&context.environment, &state, Occasion::Deletion, message, None);
        context.block_on(raised);
    }
    Ok(show(context, Protection::StoppedDeleted, &changed))
}

/// Asks on a terminal. Elsewhere `--yes` has to be given, since all backups of a server are at stake.
fn confirm(context: &Context, points: &[&Point]) -> Result<(), Failure> {
    let what = render::counted(points.len() as u64, "recovery point", "recovery points");
    if context.out.json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let message = format!("this deletes {what} of this server, and there is no terminal to ask on");
        return Err(Failure::usage(message, "add `--yes` if that is meant"));
    }
    if context
        .prompt
        .confirm(&format!("Delete all {what} of this server? [y/N] "))?
    {
        return Ok(());
    }
    Err(Failure::new(Exit::Cancelled, "cancelled", "nothing was deleted", ""))
}

fn resume(context: &Context) -> Outcome {
    let (state, registration) = registered()?;
    let held = HeldPolicy::load(&state, registration.server_id)?;
    let changed = context.block_on(async {
        let _lock = JobLock::take(&state, new_job_id()?, Purpose::Undelete).await?;
        let session = Session::open(&context.environment, &state, &registration).await?;
        let view = session.view(&context.environment).await?;
        undelete(&context.environment, &session, &view, Timestamp::now()).await
    })?;
    if let Some(held) = note(&state, held, Protection::Active)? {
        context.block_on(vault_policy::announce(&context.environment, &held));
    }
    Ok(show(context, Protection::Active, &changed))
}

fn show(context: &Context, protection: Protection, changed: &Changed) -> Exit {
    let Changed {
        deleted,
        undeleted,
        held,
    } = changed;
    context.out.document(&ProtectionDocument {
        protection: protection.word(),
        deleted: deleted.clone(),
        undeleted: undeleted.clone(),
        held: held.clone(),
    });
    context.out.line(protection.sentence());
    let points = |n: usize| render::counted(n as u64, "recovery point", "recovery points");
    if !deleted.is_empty() {
        let n = points(deleted.len());
        context
            .out
            .line(format!("{n} deleted; `lockstone protection resume` brings them back"));
    }
    if !undeleted.is_empty() {
        context.out.line(format!("{} brought back", points(undeleted.len())));
    }
    if held.is_empty() {
        return Exit::Done;
    }
    let n = points(held.len());
    context.out.warn(format!(
        "{n} not deleted, because somebody holds them: `lockstone points list --held`"
    ));
    Exit::Warnings
}
