//! What became of backups that were interrupted. One that was killed between its commit and the end of its record has
//! made its recovery point, and must not be made a second time.

use jiff::Timestamp;
use lockstone_proto::job::JobState;
use lockstone_proto::vault::PointStatus;

use crate::agent::access::right::Access;
use crate::agent::access::session::Session;
use crate::agent::environment::Environment;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::JobRecord;
use crate::failure::Failure;

/// Looks in the vault for the recovery points of these interrupted backups, and corrects the records of those that
/// were committed. Returns whether there was one. Fails if the vault cannot be read: then it is not known.
pub(crate) async fn settle(
    environment: &Environment,
    state: &StateFolder,
    interrupted: Vec<JobRecord>,
) -> Result<bool, Failure> {
    if interrupted.iter().all(|record| record.makes.is_none()) {
        return Ok(false);
    }
    let session = Session::to_read(environment, &Access::Own).await?;
    let view = session.view(environment).await?;
    let mut is_committed = false;
    for mut record in interrupted {
        let Some(point) = record.makes.and_then(|point| view.point(&point)) else {
            continue;
        };
        is_committed = true;
        let ended = match point.summary.status() {
            PointStatus::CompletedWithWarnings => JobState::CompletedWithWarnings,
            PointStatus::Completed | PointStatus::Unspecified => JobState::Completed,
        };
        record.end(ended, None);
        record.point = Some(point.id);
        record.save(state)?;
        tracing::info!(job = %record.job, point = %point.id, at = %Timestamp::now(), "it was committed before it was interrupted");
    }
    Ok(is_committed)
}
