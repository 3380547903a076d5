//! `lockstone cache move`.

use std::path::PathBuf;

use clap::Args;

use super::{HeldCache, folder, show};
use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// Options of `cache move`.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The new place; made if it is missing, and empty otherwise
    dir: PathBuf,
}

/// Moving copies nothing: the new folder is rebuilt from the vault. Only when it is whole, the registration names it
/// and the old one is removed. If it cannot be filled, everything stays as it was.
pub(super) fn run(context: &Context, mut cache: HeldCache, args: &MoveArgs) -> Outcome {
    let old = cache.registration.cache_folder(&cache.state);
    let new = folder::new_place(&args.dir, &old)?;
    cache.registration.cache = Some(new.clone());
    let shown = show(context, &cache, &new);
    if shown.is_err() {
        let _ = folder::empty(&new);
        return shown;
    }
    cache.registration.save(&cache.state)?;
    if folder::empty(&old)? {
        let _ = std::fs::remove_dir(&old);
    }
    shown
}
