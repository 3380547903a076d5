//! `lockstone throttle clear`.

use super::show::show;
use crate::agent::settings::throttle::ThrottleSettings;
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// Settings that make no sense are removed, too: they are not read.
pub(super) fn run(context: &Context, state: &StateFolder) -> Outcome {
    let settings = ThrottleSettings::default();
    settings.save(state)?;
    show(context, state, &settings)
}
