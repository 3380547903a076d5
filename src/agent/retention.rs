//! Retention of this server's recovery points, by the policy in force: which tags a new one gets, until when each
//! lives, and which have had their time. `policy` decides; this module only translates between the log and the
//! policy.

use jiff::Timestamp;
use lockstone_proto::ids::PointId;
use lockstone_proto::vault::ForgetReason;
use lockstone_vault::log::{LogView, Point};

use super::access::session::Session;
use super::ageing;
use super::environment::Environment;
use super::guard;
use super::held_policy::{InForce, Protection};
use super::kept_points::{kept, made};
use crate::failure::Failure;
use crate::policy::{Expiry, Kept, Ledger, Made, Run, Tag, plan};

/// The tags of a backup of the policy's items that begins now. `run`: the scheduled run that it does, if it does one.
pub(crate) fn tags(
    session: &Session,
    view: &LogView,
    in_force: &InForce,
    now: Timestamp,
    run: Option<&Run>,
    keeps_itself: bool,
) -> Vec<String> {
    let own = view.points.iter().filter(|point| session.is_own(point.server));
    let history: Vec<Made> = own.map(|point| made(&point.summary)).collect();
    let InForce { held, policy } = in_force;
    let mut ledger = Ledger::new(&policy.schedule, &policy.retention, &history, held.since);
    let tags = ledger.succeed(now, run, keeps_itself);
    tags.iter().map(|tag| tag.to_string()).collect()
}

/// Until when a point of this server lives, and why. What was asked for when it was made counts before the policy.
pub(crate) fn expiry(in_force: &InForce, point: &Point, now: Timestamp) -> (Expiry, Option<Tag>) {
    if in_force.held.protection == Protection::StoppedKeepForEver {
        return (Expiry::Held, None);
    }
    let policy = &in_force.policy;
    let (retention, zone) = (&policy.retention, &policy.schedule.zone);
    let kept = kept(point, now);
    let expiry = kept.expiry(retention, zone);
    let is_why = |tag: &Tag| retention.end(*tag, kept.at, zone).map(Expiry::At) == Some(expiry);
    (expiry, kept.tags.iter().filter(is_why).max())
}

/// This server's points whose time is over.
pub(crate) fn over(session: &Session, view: &LogView, in_force: &InForce, now: Timestamp) -> Vec<PointId> {
    let policy = &in_force.policy;
    let own: Vec<&Point> = view.alive().filter(|point| session.is_own(point.server)).collect();
    let points: Vec<Kept> = own.iter().map(|point| kept(point, now)).collect();
    let plan = plan(&policy.retention, &policy.schedule.zone, &points, now);
    let over = own.iter().zip(plan.forget).filter(|(_, forget)| *forget);
    over.map(|(point, _)| point.id).collect()
}

/// Forgets the points whose time is over, unless the policy is paused, or a strange backup waits for somebody to look
/// (`guard`); also those of servers that are no longer registered (`ageing`). Returns them. They can be brought back
/// for the vault's soft-delete days.
pub(crate) async fn forget(
    environment: &Environment,
    session: &Session,
    in_force: &InForce,
) -> Result<Vec<PointId>, Failure> {
    if !in_force.held.forgets() || guard::is_raised(in_force.held.server_id)? {
        return Ok(Vec::new());
    }
    let view = session.view(environment).await?;
    let now = Timestamp::now();
    let mut over = over(session, &view, in_force, now);
    over.extend(ageing::over(environment, session, &view, now).await?);
    if !over.is_empty() {
        let reason = ForgetReason::ByPolicy;
        session.domain.forget_because(&over, reason, now).await?;
    }
    Ok(over)
}

/// The points that `forget` would forget now, of this server.
pub(crate) fn would_forget(session: &Session, view: &LogView, in_force: &InForce) -> Result<Vec<PointId>, Failure> {
    if !in_force.held.forgets() || guard::is_raised(in_force.held.server_id)? {
        return Ok(Vec::new());
    }
    Ok(over(session, view, in_force, Timestamp::now()))
}
