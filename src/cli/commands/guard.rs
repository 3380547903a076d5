//! `lockstone guard show` and `guard clear`: the alarm about a strange backup.

use clap::Subcommand;

use crate::agent::guard::Alarm;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::guard::GuardDocument;
use crate::failure::{Exit, Failure};
use crate::text::point::short;

/// What to do with the alarm about a strange backup.
#[derive(Debug, Subcommand)]
pub(crate) enum GuardCommand {
    /// Show whether a backup looked strange
    Show,
    /// Say that somebody has looked: the policy may delete recovery points again
    Clear,
}

pub(crate) fn run(context: &Context, command: &GuardCommand) -> Outcome {
    let state = StateFolder::locate()?;
    let registration = Registration::required(&state)?;
    let alarm = Alarm::load(&state, registration.server_id);
    let alarm = match command {
        GuardCommand::Show => alarm.map_err(|error| {
            let hint = "look at the last backups, then run `lockstone guard clear`";
            Failure::failed("failed", format!("{error:#}"), hint)
        })?,
        // An alarm that cannot be read is cleared as well.
        GuardCommand::Clear => alarm.unwrap_or_default(),
    };
    if matches!(command, GuardCommand::Clear) {
        Alarm::clear(&state)?;
    }
    let is_raised = alarm.is_some() && matches!(command, GuardCommand::Show);
    context.out.document(&GuardDocument {
        raised: is_raised,
        at: alarm.as_ref().map(|alarm| alarm.at),
        job: alarm.as_ref().map(|alarm| alarm.job),
        point: alarm.as_ref().and_then(|alarm| alarm.point),
        reasons: alarm.as_ref().map(|alarm| alarm.reasons.clone()).unwrap_or_default(),
    });
    match (&alarm, command) {
        (None, _) => context.out.line("no backup looked strange"),
        (Some(alarm), GuardCommand::Show) => {
            context.out.line(alarm.sentence());
            if let Some(point) = &alarm.point {
                let id = short(point);
                context
                    .out
                    .line(format!("`lockstone points diff OLD {id}` shows what changed"));
            }
        }
        (Some(alarm), GuardCommand::Clear) => {
            context.out.line(format!("cleared: {}", alarm.reasons.join("; ")));
        }
    }
    Ok(if is_raised { Exit::Warnings } else { Exit::Done })
}
