//! New random ids.

use lockstone_proto::ids::JobId;

use crate::failure::Failure;

/// `N` random bytes. Fails only if the system has no random numbers.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed("failed", format!("no random numbers: {error}"), ""))?;
    Ok(bytes)
}

pub(crate) fn new_job_id() -> Result<JobId, Failure> {
    Ok(JobId(random()?))
}
