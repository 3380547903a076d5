//! `lockstone cache check`.

use super::HeldCache;
use super::show::{open, show};
use crate::agent::cache::rules::{Rule, State};
use crate::agent::cache::{look, stamp};
use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// Says what each rule says. A folder that may be another's is not opened: opening it would change it.
pub(super) fn run(context: &Context, mut cache: HeldCache) -> Outcome {
    let findings = look(&cache.state, &cache.registration, cache.protected_bytes)?;
    let is_misplaced = |rule: Rule| matches!(rule, Rule::Place | Rule::Link);
    let may_open = !findings
        .iter()
        .any(|finding| is_misplaced(finding.rule) && finding.state == State::Refuse);
    let mut opened = None;
    if may_open {
        stamp::settle(&cache.state, &mut cache.registration)?;
        opened = Some(open(context, &cache)?);
    }
    show(context, &cache, opened, &findings)
}
