//! Stopping the protection of this server, and beginning it again.
//!
//! Stopped, the policy makes no backups. What is there is kept (for ever, or as long as the policy says), or is
//! deleted. Deleted points come back with the protection, for as long as deletions can be undone.

use jiff::Timestamp;
use lockstone_proto::ids::PointId;
use lockstone_proto::vault::ForgetReason;
use lockstone_vault::log::{LogView, Point};

use super::access::session::Session;
use super::environment::Environment;
use super::held_policy::{HeldPolicy, Protection};
use super::state::folder::StateFolder;
use crate::failure::Failure;

/// What became of the points when the protection was stopped or begun again.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) deleted: Vec<PointId>,
    pub(crate) undeleted: Vec<PointId>,
    /// Points that are held, and so were not deleted.
    pub(crate) held: Vec<PointId>,
}

/// This server's points that `protection stop --delete-data` deletes, and those that it leaves because they are held.
pub(crate) fn to_delete<'v>(session: &Session, view: &'v LogView, now: Timestamp) -> (Vec<&'v Point>, Vec<&'v Point>) {
    let own = view.alive().filter(|point| session.is_own(point.server));
    own.partition(|point| point.held(now).is_none())
}

/// Deletes the points.
pub(crate) async fn delete(session: &Session, view: &LogView, now: Timestamp) -> Result<Changed, Failure> {
    let (delete, held) = to_delete(session, view, now);
    let ids = |points: Vec<&Point>| points.iter().map(|point| point.id).collect::<Vec<_>>();
    let changed = Changed {
        deleted: ids(delete),
        held: ids(held),
        ..Changed::default()
    };
    if !changed.deleted.is_empty() {
        let reason = ForgetReason::ProtectionStopped;
        session.domain.forget_because(&changed.deleted, reason, now).await?;
    }
    Ok(changed)
}

/// Brings the points back that were deleted when the protection was stopped.
pub(crate) async fn undelete(
    environment: &Environment,
    session: &Session,
    view: &LogView,
    now: Timestamp,
) -> Result<Changed, Failure> {
    let was_stopped = |point: &&Point| {
        let reason = point.removal.map(|removal| removal.reason);
        session.is_own(point.server) && point.forgotten.is_some() && reason == Some(ForgetReason::ProtectionStopped)
    };
    let back: Vec<PointId> = view.points.iter().filter(was_stopped).map(|point| point.id).collect();
    if back.is_empty() {
        return Ok(Changed::default());
    }
    // The protection goes on, whatever can be brought back.
    if let Err(error) = session.domain.undelete(&back, now).await {
        let warning = format!("the deleted recovery points could not be brought back: {error}");
        environment.notices.warn(warning);
        return Ok(Changed::default());
    }
    Ok(Changed {
        undeleted: back,
        ..Changed::default()
    })
}

/// Notes how the server is protected from now on, if it has a policy.
pub(crate) fn note(state: &StateFolder, held: Option<HeldPolicy>, protection: Protection) -> Result<(), Failure> {
    if let Some(mut held) = held {
        held.protection = protection;
        held.save(state)?;
    }
    Ok(())
}
