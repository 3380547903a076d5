//! `lockstone policy set`, `pause` and `resume`.

use std::path::PathBuf;

use jiff::Timestamp;

use super::show::show;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::held_policy::{HeldPolicy, InForce};
use crate::agent::retention;
use crate::agent::settings::throttle::ThrottleSettings;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::Failure;
use crate::text::point::short;
use crate::text::render;

/// The new policy.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The policy file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(context: &Context, args: &SetArgs) -> Outcome {
    let (state, registration) = registered()?;
    let (text, _) = super::read(&args.file)?;
    let before = HeldPolicy::load(&state, registration.server_id)?;
    let held = HeldPolicy::next(registration.server_id, before.as_ref(), text, Timestamp::now());
    let in_force = InForce::of(held)?;
    let over = context.block_on(async {
        let session = Session::open(&context.environment, &state, &registration).await?;
        let view = session.view(&context.environment).await?;
        Ok::<_, Failure>(retention::over(&session, &view, &in_force, Timestamp::now()))
    })?;
    if !over.is_empty() {
        let points = render::counted(over.len() as u64, "recovery point", "recovery points");
        let ids: Vec<String> = over.iter().map(short).collect();
        let when = if in_force.held.paused {
            "once it is resumed"
        } else {
            "after the next backup"
        };
        context
            .out
            .warn(format!("this change deletes {points} {when}: {}", ids.join(" ")));
    }
    if let Some(bandwidth) = &in_force.policy.bandwidth {
        let zone = in_force.policy.schedule.zone.iana_name();
        let throttle = ThrottleSettings::of(bandwidth, zone);
        throttle
            .plan()
            .map_err(|why| Failure::usage(format!("bandwidth: {why}"), ""))?;
        throttle.save(&state)?;
    }
    in_force.held.save(&state)?;
    show(context, &in_force)
}

/// Pauses the policy, or goes on.
pub(super) fn pause(context: &Context, paused: bool) -> Outcome {
    let state = StateFolder::locate()?;
    let registration = Registration::required(&state)?;
    let mut in_force = InForce::required(&state, registration.server_id)?;
    in_force.held.paused = paused;
    in_force.held.save(&state)?;
    show(context, &in_force)
}
