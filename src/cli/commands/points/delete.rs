//! `lockstone points delete` and `points undelete`.

use clap::Args;
use jiff::Timestamp;
use lockstone_proto::ids::PointId;
use lockstone_vault::log::{LogView, Point};

use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::alerts;
use crate::agent::ids::new_job_id;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::point::ChangedPointsDocument;
use crate::failure::{Exit, Failure};
use crate::policy::Occasion;
use crate::text::point::short;
use crate::text::render;

/// Options of `points delete` and `points undelete`.
#[derive(Debug, Args)]
pub(crate) struct ChooseArgs {
    /// Recovery points: ids, unique prefixes of 6 or more digits, or `latest`
    #[arg(required = true, value_name = "POINT")]
    points: Vec<String>,
    /// Do not ask on a terminal before points are deleted
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Delete,
    Undelete,
}

impl Choice {
    fn purpose(self) -> Purpose {
        match self {
            Choice::Delete => Purpose::Delete,
            Choice::Undelete => Purpose::Undelete,
        }
    }

    /// Whether the point is as it shall be already.
    fn is_done(self, point: &Point) -> bool {
        point.forgotten.is_some() == (self == Choice::Delete)
    }
}

pub(super) fn run(context: &Context, args: &ChooseArgs, choice: Choice) -> Outcome {
    if choice == Choice::Undelete && args.points.iter().any(|name| name == "latest") {
        let message = "`latest` is never a deleted point, so it cannot be undeleted";
        return Err(Failure::usage(
            message,
            "name the point by its id: `lockstone points list` shows it",
        ));
    }
    let (state, registration) = registered()?;
    let _lock = context.block_on(JobLock::take(&state, new_job_id()?, choice.purpose()))?;
    let (session, view) = context.block_on(async {
        let session = Session::open(&context.environment, &state, &registration).await?;
        let view = session.view(&context.environment).await?;
        Ok::<_, Failure>((session, view))
    })?;
    // Every point is found before any is changed.
    let chosen = choose(&session, &view, &args.points, &choice.purpose())?;
    if choice == Choice::Delete {
        refuse_held(&chosen, Timestamp::now())?;
    }
    let to_change = chosen.iter().filter(|point| !choice.is_done(point));
    let changed: Vec<PointId> = to_change.map(|point| point.id).collect();
    if choice == Choice::Delete && !args.yes && !context.out.json && !confirmed(context, &chosen, &changed)? {
        return Err(Failure::new(Exit::Cancelled, "cancelled", "nothing was deleted", ""));
    }
    context.block_on(change(&session, &changed, choice))?;
    show(context, &chosen, &changed, choice);
    if choice == Choice::Delete && !changed.is_empty() {
        context.block_on(raise(context, &state, &changed));
        let days = session.vault.descriptor().soft_delete_days;
        let until = Timestamp::now().as_second() + i64::from(days) * 86_400;
        let until = render::local_time(until);
        let ids: Vec<String> = changed.iter().map(short).collect();
        let ids = ids.join(" ");
        context
            .out
            .line(format!("`lockstone points undelete {ids}` undoes this until {until}."));
    }
    Ok(Exit::Done)
}

/// Tells whom it concerns that points were deleted.
async fn raise(context: &Context, state: &StateFolder, points: &[PointId]) {
    let number = render::counted(points.len() as u64, "recovery point was", "recovery points were");
    let ids: Vec<String> = points.iter().map(short).collect();
    let message = format!("{number} deleted: {}", ids.join(" "));
    alerts::raise(&context.environment, state, Occasion::Deletion, message, None).await;
}

/// Asks on a terminal whether these points shall be deleted. Without a terminal there is nobody to ask.
fn confirmed(context: &Context, chosen: &[&Point], changed: &[PointId]) -> Result<bool, Failure> {
    let points = chosen.iter().filter(|point| changed.contains(&point.id));
    let shown: Vec<String> = points
        .map(|point| format!("{} ({})", short(&point.id), render::local_time(point.summary.started_s)))
        .collect();
    if shown.is_empty() {
        return Ok(true);
    }
    context.prompt.confirm(&format!("Delete {}? [y/N] ", shown.join(", ")))
}

/// Fails if one of the points is held.
fn refuse_held(points: &[&Point], now: Timestamp) -> Result<(), Failure> {
    let Some((point, hold)) = points.iter().find_map(|point| Some((point, point.held(now)?))) else {
        return Ok(());
    };
    let until = match hold.until_s {
        0 => String::new(),
        until => format!(" until {}", render::local_time(until)),
    };
    let (id, reason) = (short(&point.id), &hold.reason);
    let message = format!("recovery point {id} is held{until} and cannot be deleted: {reason}");
    let hint = format!("`lockstone points release {id}` releases it");
    Err(Failure::refused("held", message, hint))
}

/// The points that are named, each once. Fails if one is missing or is another server's.
pub(super) fn choose<'v>(
    session: &Session,
    view: &'v LogView,
    names: &[String],
    purpose: &Purpose,
) -> Result<Vec<&'v Point>, Failure> {
    let mut chosen: Vec<&Point> = Vec::new();
    for name in names {
        let point = session.point(view, name)?;
        if !session.is_own(point.server) {
            let owner = session.server_name(point.server);
            let message = format!("recovery point {} is of server {owner}", point.id);
            let hint = format!("{purpose} it on that server");
            return Err(Failure::refused("not-permitted", message, hint));
        }
        if chosen.iter().all(|known| known.id != point.id) {
            chosen.push(point);
        }
    }
    Ok(chosen)
}

async fn change(session: &Session, points: &[PointId], choice: Choice) -> Result<(), Failure> {
    if points.is_empty() {
        return Ok(());
    }
    let now = Timestamp::now();
    match choice {
        Choice::Delete => session.domain.forget(points, now).await?,
        Choice::Undelete => session.domain.undelete(points, now).await?,
    };
    Ok(())
}

fn show(context: &Context, chosen: &[&Point], changed: &[PointId], choice: Choice) {
    let ids = chosen.iter().map(|point| point.id).collect();
    let (document, done) = match choice {
        Choice::Delete => (ChangedPointsDocument::Deleted(ids), "deleted"),
        Choice::Undelete => (ChangedPointsDocument::Undeleted(ids), "undeleted"),
    };
    context.out.document(&document);
    for point in chosen {
        let already = if changed.contains(&point.id) { "" } else { " already" };
        let time = render::local_time(point.summary.started_s);
        context
            .out
            .line(format!("{}{already} {done}  ({time})", short(&point.id)));
    }
}
