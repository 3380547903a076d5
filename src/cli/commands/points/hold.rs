//! `lockstone points hold` and `points release`.

use clap::Args;
use jiff::Timestamp;
use lockstone_proto::ids::PointId;
use lockstone_vault::log::{Point, TEXT_MAX};

use super::delete::choose;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::ids::new_job_id;
use crate::agent::state::lock::{JobLock, Purpose};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::point::ChangedPointsDocument;
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::{render, units};

/// Options of `points hold`.
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// Recovery points: ids, unique prefixes of 6 or more digits, or `latest`
    #[arg(required = true, value_name = "POINT")]
    points: Vec<String>,
    /// Why they are held; whoever wants to delete them is told
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Hold them until this date (2027-01-31, or RFC 3339); until they are released otherwise
    #[arg(long, value_name = "DATE", value_parser = units::moment)]
    until: Option<i64>,
}

/// Options of `points release`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Recovery points: ids, unique prefixes of 6 or more digits, or `latest`
    #[arg(required = true, value_name = "POINT")]
    points: Vec<String>,
}

pub(super) fn hold(context: &Context, args: &HoldArgs) -> Outcome {
    let reason = args.reason.trim();
    if reason.is_empty() || reason.len() > TEXT_MAX || reason.chars().any(char::is_control) {
        let message = format!("--reason is one line of 1 to {TEXT_MAX} bytes");
        return Err(Failure::usage(message, "say why the points are held"));
    }
    let now = Timestamp::now();
    let until = args.until.and_then(|until| Timestamp::from_second(until).ok());
    if until.is_some_and(|until| until <= now) {
        return Err(Failure::usage(
            "--until lies in the past",
            "the hold would be over at once",
        ));
    }
    change(context, &args.points, &Purpose::Hold, async |session, points| {
        session.domain.hold(points, reason, until, now).await?;
        Ok(ChangedPointsDocument::Held(points.to_vec()))
    })
}

pub(super) fn release(context: &Context, args: &ReleaseArgs) -> Outcome {
    change(context, &args.points, &Purpose::Release, async |session, points| {
        session.domain.release(points, Timestamp::now()).await?;
        Ok(ChangedPointsDocument::Released(points.to_vec()))
    })
}

/// Finds the points, changes them, and shows what became of them.
fn change(
    context: &Context,
    names: &[String],
    purpose: &Purpose,
    change: impl AsyncFnOnce(&Session, &[PointId]) -> Result<ChangedPointsDocument, Failure>,
) -> Outcome {
    let (state, registration) = registered()?;
    let (document, chosen) = context.block_on(async {
        let _lock = JobLock::take(&state, new_job_id()?, purpose.clone()).await?;
        let session = Session::open(&context.environment, &state, &registration).await?;
        let view = session.view(&context.environment).await?;
        let chosen: Vec<Point> = choose(&session, &view, names, purpose)?.into_iter().cloned().collect();
        let ids: Vec<PointId> = chosen.iter().map(|point| point.id).collect();
        Ok::<_, Failure>((change(&session, &ids).await?, chosen))
    })?;
    context.out.document(&document);
    let done = if matches!(document, ChangedPointsDocument::Held(_)) {
        "held"
    } else {
        "released"
    };
    for point in &chosen {
        let already = if done == "released" && point.hold.is_none() {
            " already"
        } else {
            ""
        };
        let time = render::local_time(point.summary.started_s);
        context
            .out
            .line(format!("{}{already} {done}  ({time})", short(&point.id)));
    }
    Ok(Exit::Done)
}
