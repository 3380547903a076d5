//! `lockstone policy …`: what this server backs up by itself, when, and for how long recovery points are kept.

mod init;
mod preview;
mod set;
mod show;

use std::path::Path;

use clap::Subcommand;
use jiff::tz::TimeZone;

use crate::agent::held_policy::InForce;
use crate::agent::state::files::read_text;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::Failure;
use crate::policy::{Policy, parse};

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print an example of a policy file, with comments
    Init(init::InitArgs),
    /// Show the policy of this server
    Show,
    /// Check a policy file and put it in force
    Set(set::SetArgs),
    /// Stop scheduled backups and forgetting, until `policy resume`
    Pause,
    /// Go on after `policy pause`
    Resume,
    /// Show what a policy does: its runs, their tags, and which recovery points are left at the end
    Preview(preview::PreviewArgs),
}

pub(crate) fn run(context: &Context, command: PolicyCommand) -> Outcome {
    match command {
        PolicyCommand::Init(args) => init::run(context, &args),
        PolicyCommand::Show => show::run(context),
        PolicyCommand::Set(args) => set::run(context, &args),
        PolicyCommand::Pause => set::pause(context, true),
        PolicyCommand::Resume => set::pause(context, false),
        PolicyCommand::Preview(args) => preview::run(context, &args),
    }
}

/// Reads a policy file. Everything that is wrong with it is said, with line and column.
fn read(file: &Path) -> Result<(String, Policy), Failure> {
    let shown = file.display();
    let text = read_text(file).map_err(|error| {
        let message = format!("the policy {shown} cannot be read: {error}");
        Failure::usage(message, "`lockstone policy init` prints an example")
    })?;
    let policy = parse(&text, &TimeZone::system()).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(|error| format!("{shown}: {error}")).collect();
        Failure::usage(
            errors.join("\n"),
            "`lockstone policy init` prints an example with every key",
        )
    })?;
    Ok((text, policy))
}

/// The policy of a file, or the one in force here.
fn policy_of(file: Option<&Path>) -> Result<Policy, Failure> {
    if let Some(file) = file {
        return Ok(read(file)?.1);
    }
    let state = StateFolder::locate()?;
    let registration = Registration::required(&state)?;
    Ok(InForce::required(&state, registration.server_id)?.policy)
}
