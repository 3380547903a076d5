//! `lockstone alerts list`: what somebody should have heard of.

use clap::{Args, Subcommand};

use crate::agent::alerts::{self, Alert, Severity};
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::alerts::AlertsDocument;
use crate::failure::Exit;
use crate::text::render;

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List the alerts of this server, newest first
    List(ListArgs),
}

/// Options of `alerts list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Not more than this many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

pub(crate) fn run(context: &Context, command: &AlertsCommand) -> Outcome {
    let AlertsCommand::List(args) = command;
    let mut alerts = alerts::all(&StateFolder::locate()?)?;
    alerts.truncate(args.limit.unwrap_or(usize::MAX));
    context.out.document(&AlertsDocument { alerts: &alerts });
    if alerts.is_empty() {
        context.out.line("no alerts");
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = alerts.iter().map(row).collect();
    let head = ["TIME", "KIND", "SEVERITY", "MESSAGE"];
    context.out.text(&render::table(&head, &rows, &[]));
    Ok(Exit::Done)
}

fn row(alert: &Alert) -> Vec<String> {
    let severity = match alert.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let mut message = render::name(alert.message.as_bytes());
    if !alert.undelivered.is_empty() {
        message.push_str(" (not delivered)");
    }
    if let Some(ended) = alert.ended {
        message.push_str(&format!(" (over since {})", render::local_time(ended.as_second())));
    }
    vec![
        render::local_time(alert.time.as_second()),
        alert.kind.clone(),
        severity.to_owned(),
        message,
    ]
}
