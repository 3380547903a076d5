//! `lockstone cache move`.

use std::path::PathBuf;

use clap::Args;

use super::HeldCache;
use super::show::{open, show};
use crate::agent::cache::moving::move_to;
use crate::agent::sources::keep_target_out;
use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// Options of `cache move`.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The new place; made if it is missing, and empty otherwise
    dir: PathBuf,
}

/// Copies the folder, and says where it is now. The vault is not needed for that. If it is away, the folder is
/// brought up to date by the next job.
pub(super) fn run(context: &Context, mut cache: HeldCache, args: &MoveArgs) -> Outcome {
    let vault = context.environment.store(&cache.registration.vault_url);
    if let Some(root) = vault.as_ref().ok().and_then(|vault| vault.local_root()) {
        keep_target_out(&args.dir, &[("the vault", root)])?;
    }
    let findings = move_to(&cache.state, &mut cache.registration, &args.dir, cache.protected_bytes)?;
    let opened = match open(context, &cache) {
        Ok(opened) => Some(opened),
        Err(failure) => {
            let why = failure.message;
            context.out.warn(format!(
                "the cache folder was moved, and could not be brought up to date: {why}"
            ));
            None
        }
    };
    show(context, &cache, opened, &findings)
}
