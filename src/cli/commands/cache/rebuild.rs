//! `lockstone cache rebuild`.

use super::HeldCache;
use super::show::{open, show};
use crate::agent::cache::{folder, look, stamp};
use crate::cli::context::Context;
use crate::cli::output::Outcome;

pub(super) fn run(context: &Context, mut cache: HeldCache) -> Outcome {
    let place = cache.registration.cache_folder(&cache.state);
    folder::empty(&place)?;
    stamp::renew(&cache.state, &mut cache.registration)?;
    let opened = open(context, &cache)?;
    let findings = look(&cache.state, &cache.registration, cache.protected_bytes)?;
    show(context, &cache, Some(opened), &findings)
}
