//! `lockstone points list`.

use clap::Args;
use lockstone_proto::vault::Consistency;
use lockstone_vault::log::Point;

use super::reading;
use crate::agent::access::session::Session;
use crate::agent::held_policy::InForce;
use crate::agent::retention;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::point::{PointDocument, PointsDocument};
use crate::failure::Failure;
use crate::policy::Expiry;
use crate::text::{point, render};

/// Options of `points list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this server (a name, or a server id); all servers of the domain otherwise
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(context: &Context, args: &ListArgs) -> Outcome {
    let (session, view) = reading::open(context, &args.access)?;
    if let Some(server) = &args.server {
        session.must_know(&view, server)?;
    }
    let wanted = |point: &&Point| {
        let server = args.server.as_ref();
        server.is_none_or(|name| session.is_named(point.server, name))
    };
    let points: Vec<&Point> = view.points.iter().filter(wanted).collect();
    let in_force = policy(context, &session);
    let expiry = |point: &Point| match &in_force {
        Some(in_force) if session.is_own(point.server) => Some(retention::expiry(in_force, point)),
        _ => None,
    };
    let document = |point: &&Point| PointDocument::new(point, &session.server_name(point.server), expiry(point));
    context.out.document(&PointsDocument {
        points: points.iter().map(document).collect(),
    });
    if points.is_empty() {
        context.out.line("no recovery points yet");
    } else {
        let mut head = point::HEAD.to_vec();
        head.push("SOURCES");
        let rows: Vec<Vec<String>> = points.iter().map(|point| row(&session, point, expiry(point))).collect();
        context.out.text(&render::table(&head, &rows, &point::RIGHT));
    }
    Ok(reading::exit(&view, false))
}

/// The day of a time, for people.
fn day(seconds: i64) -> String {
    let time = render::local_time(seconds);
    time.split(' ').next().unwrap_or_default().to_owned()
}

/// The policy of this server, if the points are of this server's vault. A policy that cannot be read is a warning.
fn policy(context: &Context, session: &Session) -> Option<InForce> {
    let load = || {
        let state = StateFolder::locate()?;
        match Registration::load(&state)? {
            Some(registration) if registration.vault_id == session.vault.id() => {
                InForce::load(&state, registration.server_id)
            }
            _ => Ok(None),
        }
    };
    load().unwrap_or_else(|failure: Failure| {
        context.out.warn(failure.message);
        None
    })
}

fn row(session: &Session, point: &Point, expiry: Option<Expiry>) -> Vec<String> {
    let mut remarks = Vec::new();
    if point.summary.consistency() == Consistency::Snapshot {
        remarks.push("snapshot");
    }
    let expires_s = match expiry {
        Some(Expiry::At(end)) => end.as_second(),
        Some(Expiry::Newer | Expiry::Held) => 0,
        None => point.summary.expires_s,
    };
    let expires = (expires_s != 0).then(|| format!("until {}", day(expires_s)));
    remarks.extend(expires.as_deref());
    if point.forgotten.is_some() {
        remarks.push("deleted");
    }
    let sources: Vec<String> = point.body.sources.iter().map(|source| render::name(source)).collect();
    let mut last = sources.join(" ");
    if !point.summary.label.is_empty() {
        last.push_str(&format!("  ({})", render::name(point.summary.label.as_bytes())));
    }
    let mut row = point::row(&point.id, &session.server_name(point.server), &point.summary, &remarks);
    row.push(last);
    row
}
