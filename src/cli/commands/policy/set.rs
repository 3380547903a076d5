//! `lockstone policy set`, `pause` and `resume`.

use std::path::PathBuf;

use jiff::Timestamp;
use lockstone_proto::ids::PointId;

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
    let _lock = HeldPolicy::lock(&state)?;
    let (before, damaged) = HeldPolicy::load_to_replace(&state, registration.server_id)?;
    if let Some(damaged) = damaged {
        context.out.warn(format!("{damaged:#}; the new policy replaces it"));
    }
    let held = HeldPolicy::next(registration.server_id, before.as_ref(), text, Timestamp::now());
    let in_force = InForce::of(held)?;
    let throttle = throttle(&in_force)?;
    match points_over(context, &state, &registration, &in_force) {
        Ok(over) if over.is_empty() => {}
        Ok(over) => say_over(context, &over, in_force.held.paused),
        Err(failure) => context.out.warn(format!(
            "it is not known which recovery points this change deletes: {}",
            failure.message
        )),
    }
    if let Some(throttle) = throttle {
        throttle.save(&state)?;
    }
    in_force.held.save(&state)?;
    show(context, &in_force)
}

/// The limits that the policy sets, if it sets some.
fn throttle(in_force: &InForce) -> Result<Option<ThrottleSettings>, Failure> {
    let Some(bandwidth) = &in_force.policy.bandwidth else {
        return Ok(None);
    };
    let throttle = ThrottleSettings::of(bandwidth, in_force.policy.schedule.zone.iana_name());
    match throttle.plan() {
        Ok(_) => Ok(Some(throttle)),
        Err(why) => {
            let hint = "`lockstone policy init` prints an example with every key";
            Err(Failure::usage(format!("bandwidth: {why}"), hint))
        }
    }
}

/// The points whose time is over by the new policy.
fn points_over(
    context: &Context,
    state: &StateFolder,
    registration: &Registration,
    in_force: &InForce,
) -> Result<Vec<PointId>, Failure> {
    context.block_on(async {
        let session = Session::open(&context.environment, state, registration).await?;
        let view = session.view(&context.environment).await?;
        Ok(retention::over(&session, &view, in_force, Timestamp::now()))
    })
}

fn say_over(context: &Context, over: &[PointId], paused: bool) {
    let points = render::counted(over.len() as u64, "recovery point", "recovery points");
    let ids: Vec<String> = over.iter().map(short).collect();
    let when = if paused {
        "once it is resumed"
    } else {
        "after the next backup"
    };
    let message = format!("this change deletes {points} {when}: {}", ids.join(" "));
    context.out.warn(message);
}

/// Pauses the policy, or goes on.
pub(super) fn pause(context: &Context, paused: bool) -> Outcome {
    let state = StateFolder::locate()?;
    let registration = Registration::required(&state)?;
    let _lock = HeldPolicy::lock(&state)?;
    let mut in_force = InForce::required(&state, registration.server_id)?;
    in_force.held.paused = paused;
    in_force.held.save(&state)?;
    show(context, &in_force)
}
