//! The jobs of a vault's servers, by their signed records.

use jiff::Timestamp;
use lockstone_proto::ids::{CredentialId, JobId, PointId, ServerId};
use lockstone_proto::job::{JobRecord, JobState};
use lockstone_vault::access::job_records::{credentials_of, list_jobs};
use lockstone_vault::damage::Damage;

use super::open;
use super::selection::Selection;
use crate::agent::environment::Environment;
use crate::failure::Failure;

/// A job of a server, or of a machine that read a server's points by credentials.
#[derive(Debug)]
pub(crate) struct ServerJob {
    pub(crate) job: JobId,
    /// The server's name. Of a job by credentials, that of the server whose points were read.
    pub(crate) server: String,
    /// The credentials by which another machine did the job.
    pub(crate) credentials: Option<CredentialId>,
    /// The recovery point that the job made or read.
    pub(crate) point: Option<PointId>,
    pub(crate) record: JobRecord,
}

/// Which jobs are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// Of the server with this name or id.
    pub(crate) server: Option<&'a str>,
    pub(crate) state: Option<JobState>,
    /// That began at that time or later, seconds since the epoch.
    pub(crate) since: Option<i64>,
    /// Not more than this many: the newest.
    pub(crate) limit: Option<usize>,
}

/// The jobs that are wanted, oldest first, and what could not be read.
pub(crate) async fn list(
    environment: &Environment,
    url: &str,
    wanted: &Wanted<'_>,
) -> Result<(Vec<ServerJob>, Vec<Damage>), Failure> {
    let vault = open(environment, url).await?;
    let (servers, mut damaged) = vault.servers().await?;
    let selection = Selection::new(&servers, wanted.server)?;
    let (records, more) = list_jobs(vault.store(), &vault.pin(), &servers, None).await?;
    damaged.extend(more);
    let now = Timestamp::now().as_second();
    let job = |mut record: JobRecord| {
        close_if_old(&mut record, now);
        let is_wanted = wanted.state.is_none_or(|state| record.state() == state)
            && wanted.since.is_none_or(|since| record.started_s >= since);
        // The listing has checked the lengths of these ids.
        let server = ServerId::try_from(&record.server_id[..]).ok()?;
        let job = JobId::try_from(&record.job_id[..]).ok()?;
        (is_wanted && selection.contains(server)).then(|| ServerJob {
            job,
            server: selection.name(server),
            credentials: credentials_of(&record),
            point: PointId::try_from(&record.point_id[..]).ok(),
            record,
        })
    };
    let mut jobs: Vec<ServerJob> = records.into_iter().filter_map(job).collect();
    if let Some(limit) = wanted.limit {
        jobs.drain(..jobs.len().saturating_sub(limit));
    }
    Ok((jobs, damaged))
}

/// No job runs for so long. A machine that was lost in the middle of a job never says that it ended.
const LONGEST_RUN_S: i64 = 30 * 86_400;

pub(super) fn close_if_old(record: &mut JobRecord, now: i64) {
    if !record.state().has_ended() && now - record.started_s > LONGEST_RUN_S {
        record.set_state(JobState::Failed);
        "interrupted".clone_into(&mut record.error_code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_never_said_that_it_ended_does_not_run_for_ever() {
        let mut record = JobRecord {
            state: JobState::Running.into(),
            ..JobRecord::default()
        };
        close_if_old(&mut record, LONGEST_RUN_S);
        assert_eq!(record.state(), JobState::Running);
        close_if_old(&mut record, LONGEST_RUN_S + 1);
        assert_eq!(
            (record.state(), &record.error_code[..]),
            (JobState::Failed, "interrupted")
        );
    }
}
