//! `lockstone policy show`. `set`, `pause` and `resume` end with the same document.

use jiff::Timestamp;
use jiff::civil::Weekday;

use crate::agent::held_policy::{HeldPolicy, InForce, Protection};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::policy::{ContentDocument, ItemDocument, PolicyDocument, ScheduleDocument, TierDocument};
use crate::failure::Exit;
use crate::policy::{Item, Occasion, Policy, Source, Tag};
use crate::text::render;

pub(super) fn run(context: &Context) -> Outcome {
    let state = StateFolder::locate()?;
    let registration = Registration::required(&state)?;
    let in_force = InForce::required(&state, registration.server_id)?;
    if !context.out.json {
        context.out.text(&in_force.held.text);
    }
    show(context, &in_force)
}

/// The policy's document, and a line about what is in force.
pub(super) fn show(context: &Context, in_force: &InForce) -> Outcome {
    let InForce { held, policy } = in_force;
    let next = in_force.next_run();
    let generation = held.generation;
    if held.protection != Protection::Active {
        context.out.warn(held.protection.sentence());
    }
    context.out.note(match next {
        _ if held.paused => format!("policy {generation} is paused: no scheduled backups, and nothing is forgotten"),
        Some(at) => format!("policy {generation}; next run {}", render::local_time(at.as_second())),
        None => format!("policy {generation}; it has no scheduled runs"),
    });
    for warning in &policy.warnings {
        context.out.warn(warning);
    }
    context.out.document(&document(held, policy, next));
    Ok(Exit::Done)
}

fn document(held: &HeldPolicy, policy: &Policy, next_run: Option<Timestamp>) -> PolicyDocument {
    let schedule = &policy.schedule;
    let days = (0..7).filter_map(|day| Weekday::from_monday_zero_offset(day).ok());
    let tiers = policy.retention.tiers.iter();
    PolicyDocument {
        generation: held.generation,
        set_at: held.set_at,
        paused: held.paused,
        next_run,
        text: held.text.clone(),
        policy: ContentDocument {
            items: policy.items.iter().map(item).collect(),
            exclude: policy.exclude.clone(),
            system_state: policy.system_state,
            notify_on: policy.notify.on.iter().map(Occasion::to_string).collect(),
            schedule: ScheduleDocument {
                time_zone: schedule.zone.iana_name().map(str::to_owned),
                times: schedule
                    .times
                    .iter()
                    .map(|time| time.strftime("%H:%M").to_string())
                    .collect(),
                days: days
                    .filter(|day| schedule.days.contains(*day))
                    .map(|day| format!("{day:?}").to_ascii_lowercase())
                    .collect(),
                every_weeks: schedule.every_weeks,
                random_delay_seconds: schedule.random_delay.as_secs(),
                catch_up: schedule.catch_up,
            },
            retention: tiers
                .map(|rule| TierDocument {
                    tier: Tag::Tier(rule.tier).to_string(),
                    span: rule.span.to_string(),
                })
                .collect(),
        },
        warnings: policy.warnings.clone(),
    }
}

fn item(item: &Item) -> ItemDocument {
    let (path, name, command) = match &item.source {
        Source::Path(path) => (Some(path.display().to_string()), None, None),
        Source::Command { name, command, .. } => (None, Some(name.clone()), Some(command.clone())),
    };
    ItemDocument {
        path,
        name,
        command,
        exclude: item.exclude.clone(),
        one_file_system: item.one_file_system,
        snapshot: item.snapshot.clone().unwrap_or_else(|| "auto".to_owned()),
        include_caches: item.include_caches,
    }
}
