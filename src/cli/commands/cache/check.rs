//! `lockstone cache check`.

use super::{HeldCache, show};
use crate::cli::context::Context;
use crate::cli::output::Outcome;

pub(super) fn run(context: &Context, cache: &HeldCache) -> Outcome {
    show(context, cache, &cache.registration.cache_folder(&cache.state))
}
