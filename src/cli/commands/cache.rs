//! `lockstone cache …`: the local folder of index and tree pages. All of it can be rebuilt from the vault.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::ids::new_job_id;
use crate::agent::state::files::private_folder;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
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
    Move(MoveArgs),
}

/// Options of `cache move`.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The new place; made if it is missing, and empty otherwise
    pub(crate) dir: PathBuf,
}

/// Runs a cache command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn run(context: &Context, command: CacheCommand) -> Outcome {
    let (home, agent) = registered()?;
    let _lock = context.block_on(JobLock::take(&home, new_job_id()?, Purpose::Cache))?;
    let folder = agent.cache_folder(&home);
    match command {
        CacheCommand::Check => {}
        CacheCommand::Rebuild => empty(&folder)?,
        CacheCommand::Move(args) => {
            let new = new_place(&args.dir, &folder)?;
            let mut agent = agent.clone();
            agent.cache = Some(new.clone());
            // What is in the old folder can be rebuilt, so moving is: make the new one, then forget the old.
            agent.save(&home)?;
            empty(&folder)?;
            let _ = fs::remove_dir(&folder);
            return show(context, &home, &agent, &new);
        }
    }
    show(context, &home, &agent, &folder)
}

fn show(
    context: &Context,
    home: &crate::agent::state::folder::StateFolder,
    agent: &crate::agent::state::registration::Registration,
    folder: &Path,
) -> Outcome {
    let session = context.block_on(Session::open(&context.environment, home, agent))?;
    let view = context.block_on(session.view(&context.environment))?;
    let bytes = size(folder);
    context.out.document(&json!({
        "ok": true, "folder": folder, "bytes": bytes, "log_entries": view.head.n, "points": view.points.len(),
    }));
    context.out.line(format!(
        "{} is up to date: {}, log entry {}, {}",
        folder.display(),
        render::bytes(bytes),
        render::count(view.head.n),
        render::counted(view.points.len() as u64, "recovery point", "recovery points")
    ));
    Ok(Exit::Done)
}

fn new_place(dir: &Path, old: &Path) -> Result<PathBuf, Failure> {
    let new = std::path::absolute(dir).context("no such place")?;
    if new.starts_with(old) {
        return Err(Failure::usage(
            format!("{} is within the cache folder", new.display()),
            "name another place",
        ));
    }
    private_folder(&new).with_context(|| format!("cannot make {}", new.display()))?;
    let mut entries = fs::read_dir(&new).with_context(|| format!("cannot read {}", new.display()))?;
    if entries.next().is_some() {
        return Err(Failure::failed(
            "not-empty",
            format!("{} is not empty", new.display()),
            "name an empty folder",
        ));
    }
    Ok(new)
}

/// Removes what is in the folder, and leaves the folder.
fn empty(folder: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
