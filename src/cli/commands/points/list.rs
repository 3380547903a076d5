//! `lockstone points list`.

use clap::Args;
use lockstone_proto::vault::Consistency;
use lockstone_vault::log::Point;

use super::reading;
use crate::agent::access::session::Session;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::point::{PointDocument, PointsDocument};
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
    let document = |point: &&Point| PointDocument::new(point, &session.server_name(point.server));
    context.out.document(&PointsDocument {
        points: points.iter().map(document).collect(),
    });
    if points.is_empty() {
        context.out.line("no recovery points yet");
    } else {
        let mut head = point::HEAD.to_vec();
        head.push("SOURCES");
        let rows: Vec<Vec<String>> = points.iter().map(|point| row(&session, point)).collect();
        context.out.text(&render::table(&head, &rows, &point::RIGHT));
    }
    Ok(reading::exit(&view, false))
}

/// The day of a time, for people.
fn day(seconds: i64) -> String {
    let time = render::local_time(seconds);
    time.split(' ').next().unwrap_or_default().to_owned()
}

fn row(session: &Session, point: &Point) -> Vec<String> {
    let mut remarks = Vec::new();
    if point.summary.consistency() == Consistency::Snapshot {
        remarks.push("snapshot");
    }
    let expires = (point.summary.expires_s != 0).then(|| format!("until {}", day(point.summary.expires_s)));
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
