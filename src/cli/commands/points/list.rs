//! `lockstone points list`.

use clap::Args;
use jiff::Timestamp;
use lockstone_proto::vault::Consistency;
use lockstone_vault::log::Point;

use super::filter::FilterArgs;
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
use crate::policy::{Expiry, Tag};
use crate::text::{point, render};

/// Options of `points list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this server (a name, or a server id); all servers of the domain otherwise
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(context: &Context, args: &ListArgs) -> Outcome {
    let (session, view) = reading::open(context, &args.access)?;
    if let Some(server) = &args.server {
        session.must_know(&view, server)?;
    }
    let now = Timestamp::now();
    let wanted = |point: &&Point| {
        let server = args.server.as_ref();
        server.is_none_or(|name| session.is_named(point.server, name))
    };
    let points = args.filter.pass(view.points.iter().filter(wanted).collect(), now);
    let in_force = policy(context, &session);
    let expiry = |point: &Point| match &in_force {
        Some(in_force) if session.is_own(point.server) => Some(retention::expiry(in_force, point, now)),
        _ => None,
    };
    let name_of = |server| session.server_name(server);
    let is_lossy = |point: &Point| view.lossy.contains(&point.id);
    let document = |point: &&Point| PointDocument::new(point, name_of, expiry(point), now, is_lossy(point));
    context.out.document(&PointsDocument {
        points: points.iter().map(document).collect(),
    });
    if points.is_empty() {
        let none = if view.points.is_empty() {
            "no recovery points yet"
        } else {
            "no recovery point is like that"
        };
        context.out.line(none);
    } else if args.filter.deleted {
        let rows: Vec<Vec<String>> = points.iter().filter_map(|point| deleted(&session, point)).collect();
        let head = ["POINT", "TIME", "SERVER", "DELETED", "BY", "WHY", "SOURCES"];
        context.out.text(&render::table(&head, &rows, &[]));
    } else {
        let mut head = point::HEAD.to_vec();
        head.push("SOURCES");
        let row = |point: &&Point| row(&session, point, expiry(point), now, is_lossy(point));
        let rows: Vec<Vec<String>> = points.iter().map(row).collect();
        context.out.text(&render::table(&head, &rows, &point::RIGHT));
    }
    Ok(reading::exit(&view, false))
}

/// What is shown of a point that was deleted.
fn deleted(session: &Session, point: &Point) -> Option<Vec<String>> {
    let (at, removal) = (point.forgotten?, point.removal?);
    let name = |server| render::name(session.server_name(server).as_bytes());
    Some(vec![
        point::short(&point.id),
        render::local_time(point.summary.started_s),
        name(point.server),
        render::local_time(at),
        name(removal.server),
        point::forget_words(removal.reason).to_owned(),
        sources(point),
    ])
}

fn sources(point: &Point) -> String {
    let sources: Vec<String> = point.body.sources.iter().map(|source| render::name(source)).collect();
    sources.join(" ")
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

fn row(
    session: &Session,
    point: &Point,
    expiry: Option<(Expiry, Option<Tag>)>,
    now: Timestamp,
    lost_files: bool,
) -> Vec<String> {
    let mut remarks = Vec::new();
    if lost_files {
        remarks.push("lost files".to_owned());
    }
    if point.summary.consistency() == Consistency::Snapshot {
        remarks.push("snapshot".to_owned());
    }
    let expires_s = match expiry {
        Some((Expiry::At(end), _)) => end.as_second(),
        Some((Expiry::Newer | Expiry::Held, _)) => 0,
        None => point.summary.expires_s,
    };
    if point.forgotten.is_some() {
        remarks.push("deleted".to_owned());
    } else if let Some(hold) = point.held(now) {
        let until = (hold.until_s != 0).then(|| format!(" until {}", day(hold.until_s)));
        remarks.push(format!("held{}", until.unwrap_or_default()));
    } else if expires_s != 0 {
        let tag = expiry.and_then(|(_, tag)| tag);
        let tag = tag.map(|tag| format!(" ({tag})")).unwrap_or_default();
        remarks.push(format!("until {}{tag}", day(expires_s)));
    }
    let mut last = sources(point);
    if !point.summary.label.is_empty() {
        last.push_str(&format!("  ({})", render::name(point.summary.label.as_bytes())));
    }
    if let Some(hold) = point.held(now) {
        last.push_str(&format!("  held: {}", render::name(hold.reason.as_bytes())));
    }
    let remarks: Vec<&str> = remarks.iter().map(String::as_str).collect();
    let mut row = point::row(&point.id, &session.server_name(point.server), &point.summary, &remarks);
    row.push(last);
    row
}
