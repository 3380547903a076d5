//! What is to be done once a day, also on days without a backup: points whose time is over are forgotten, and
//! the vault gets the policy if it does not have it.

use lockstone_proto::ids::PointId;

use super::access::right::registered;
use super::access::session::Session;
use super::environment::Environment;
use super::held_policy::InForce;
use super::ids::new_job_id;
use super::retention;
use super::state::lock::{JobLock, Purpose};
use super::vault_policy;
use crate::failure::Failure;

/// Keeps house. Returns the points that were forgotten. Fails with `busy` (exit 7) while a job runs.
pub(crate) async fn keep_house(environment: &Environment) -> Result<Vec<PointId>, Failure> {
    let (state, registration) = registered()?;
    let Some(in_force) = InForce::load(&state, registration.server_id)? else {
        return Ok(Vec::new());
    };
    let _lock = JobLock::take(&state, new_job_id()?, Purpose::Housekeeping).await?;
    let session = Session::open(environment, &state, &registration).await?;
    let stands = vault_policy::bring(environment, &session, Some(&in_force.held)).await?;
    if let Some(warning) = stands.warning() {
        environment.notices.warn(warning);
    }
    retention::forget(environment, &session, &in_force).await
}
