//! `lockstone cache rebuild`.

use super::{HeldCache, folder, show};
use crate::cli::context::Context;
use crate::cli::output::Outcome;

pub(super) fn run(context: &Context, cache: &HeldCache) -> Outcome {
    let place = cache.registration.cache_folder(&cache.state);
    folder::empty(&place)?;
    show(context, cache, &place)
}
