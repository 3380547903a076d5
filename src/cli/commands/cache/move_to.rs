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

/// Moving copies nothing: the new folder is rebuilt from the vault, and the old one is removed.
pub(super) fn run(context: &Context, mut cache: HeldCache, args: &MoveArgs) -> Outcome {
    let old = cache.registration.cache_folder(&cache.state);
    let new = folder::new_place(&args.dir, &old)?;
    cache.registration.cache = Some(new.clone());
    cache.registration.save(&cache.state)?;
    folder::empty(&old)?;
    let _ = std::fs::remove_dir(&old);
    show(context, &cache, &new)
}
