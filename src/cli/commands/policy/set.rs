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
use crate::agent::vault_policy;
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
    let now = Timestamp::now();
    // What is wrong with the policy is said before the vault is asked.
    let next = |known, text| {
        InForce::of(HeldPolicy::next(
            registration.server_id,
            before.as_ref(),
            known,
            text,
            now,
        ))
    };
    let checked = next(0, text.clone())?;
    let throttle = throttle(&checked)?;
    let vault = context.block_on(Vault::ask(context, &state, &registration, &checked));
    let in_force = next(vault.as_ref().map_or(0, |vault| vault.generation), text)?;
    match &vault {
        Ok(vault) if vault.over.is_empty() => {}
        Ok(vault) => say_over(context, &vault.over, in_force.held.paused),
        Err(failure) => context.out.warn(format!(
            "it is not known which recovery points this change deletes: {}",
            failure.message
        )),
    }
    if let Some(throttle) = throttle {
        throttle.save(&state)?;
    }
    in_force.held.save(&state)?;
    let session = vault.map(|vault| vault.session);
    context.block_on(vault_policy::announce_in(&context.environment, session, &in_force.held));
    show(context, &in_force)
}

/// What the vault says to a new policy.
struct Vault {
    session: Session,
    /// The newest generation that it has of this server.
    generation: u64,
    /// The points whose time is over by the new policy.
    over: Vec<PointId>,
}

impl Vault {
    async fn ask(
        context: &Context,
        state: &StateFolder,
        registration: &Registration,
        new: &InForce,
    ) -> Result<Vault, Failure> {
        let environment = &context.environment;
        let session = Session::open(environment, state, registration).await?;
        let view = session.view(environment).await?;
        let over = retention::over(&session, &view, new, Timestamp::now());
        let generation = vault_policy::generation(environment, &session).await?;
        Ok(Vault {
            session,
            generation,
            over,
        })
    }
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
    let (state, registration) = registered()?;
    let _lock = HeldPolicy::lock(&state)?;
    let mut in_force = InForce::required(&state, registration.server_id)?;
    if in_force.held.paused != paused {
        in_force.held.pause(paused, Timestamp::now());
        in_force.held.save(&state)?;
        context.block_on(vault_policy::announce(&context.environment, &in_force.held));
    }
    show(context, &in_force)
}
