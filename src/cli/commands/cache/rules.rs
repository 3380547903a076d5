//! `lockstone cache rules`.

use clap::Args;

use crate::agent::cache::limits::Limits;
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::cache::CacheRulesDocument;
use crate::failure::{Exit, Failure};
use crate::text::{render, units};

/// Options of `cache rules`. Without any, they are shown.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// With less free space than this share of the protected bytes, make no backup
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    refuse_percent: Option<u8>,
    /// With less free space than this share of the protected bytes, warn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    warn_percent: Option<u8>,
    /// Ask for so much more where the system state is protected
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    system_state_bytes: Option<u64>,
}

impl RulesArgs {
    fn is_empty(&self) -> bool {
        self.refuse_percent.is_none() && self.warn_percent.is_none() && self.system_state_bytes.is_none()
    }
}

pub(super) fn run(context: &Context, args: &RulesArgs) -> Outcome {
    let state = StateFolder::locate()?;
    let limits = if args.is_empty() {
        Limits::load(&state)?
    } else {
        state.prepare()?;
        // What cannot be read is written anew.
        let limits = changed(Limits::load(&state).unwrap_or_default(), args)?;
        limits.save(&state)?;
        limits
    };
    context.out.document(&CacheRulesDocument {
        refuse_percent: limits.refuse_percent,
        warn_percent: limits.warn_percent,
        system_state_bytes: limits.system_state_bytes,
    });
    let more = render::bytes(limits.system_state_bytes);
    context.out.line(format!(
        "Refuse          below {} % of the protected bytes",
        limits.refuse_percent
    ));
    context.out.line(format!(
        "Warn            below {} % of the protected bytes",
        limits.warn_percent
    ));
    context.out.line(format!("System state    {more} more"));
    Ok(Exit::Done)
}

/// The limits with what was named. Fails if the warning would come after the refusal.
fn changed(limits: Limits, args: &RulesArgs) -> Result<Limits, Failure> {
    let limits = Limits {
        refuse_percent: args.refuse_percent.unwrap_or(limits.refuse_percent),
        warn_percent: args.warn_percent.unwrap_or(limits.warn_percent),
        system_state_bytes: args.system_state_bytes.unwrap_or(limits.system_state_bytes),
    };
    if limits.warn_percent < limits.refuse_percent {
        let message = format!(
            "a warning below {} % comes too late: below {} % no backup is made",
            limits.warn_percent, limits.refuse_percent
        );
        return Err(Failure::usage(
            message,
            "set `--warn-percent` as high as `--refuse-percent`, or higher",
        ));
    }
    Ok(limits)
}
