//! `lockstone throttle …`: how fast the agent may send and fetch, and when. A change acts on a job that runs.

mod clear;
mod set;
mod show;

use clap::Subcommand;

use crate::agent::settings::throttle::ThrottleSettings;
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::Failure;

/// What to do with the throttle.
#[derive(Debug, Subcommand)]
pub(crate) enum ThrottleCommand {
    /// What is set, and what is in force now
    Show,
    /// Set limits; what is not named stays. Acts on a running job within a second
    #[command(
        after_help = "RATE: 512Kbps, 20Mbps (bits), 8MiB/s (bytes), unlimited, or 0, a pause.\nWINDOW: days, times and a rate, \
                      such as 'mon-fri 08:00-18:00 2Mbps', or 'sat,sun 22:00-06:00 up=unlimited down=8MiB/s'. While it is \
                      open its rates count instead of the others; of several, the first."
    )]
    Set(set::SetArgs),
    /// Remove all limits and windows
    Clear,
}

pub(crate) fn run(context: &Context, command: ThrottleCommand) -> Outcome {
    let state = StateFolder::locate()?;
    match command {
        ThrottleCommand::Show => show::run(context, &state),
        ThrottleCommand::Set(args) => set::run(context, &state, args),
        ThrottleCommand::Clear => clear::run(context, &state),
    }
}

fn load(state: &StateFolder) -> Result<ThrottleSettings, Failure> {
    ThrottleSettings::load(&state.throttle_settings()).map_err(|why| not_understood(state, &why))
}

/// The failure if the settings make no sense.
fn not_understood(state: &StateFolder, why: &str) -> Failure {
    let message = format!("{}: {why}", state.throttle_settings().display());
    Failure::usage(message, "`lockstone throttle clear` removes all limits")
}
