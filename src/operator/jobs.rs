//! The jobs of a vault's servers, by their signed records.

use jiff::Timestamp;
use lockstone_proto::ids::{JobId, PointId, ServerId};
use lockstone_proto::job::{JobRecord, JobState};
use lockstone_vault::access::job_records::list_jobs;
use lockstone_vault::damage::Damage;

use super::open;
use super::servers::Selection;
use crate::agent::environment::Environment;
use crate::failure::Failure;

/// A job of a server.
#[derive(Debug)]
pub(crate) struct ServerJob {
    pub(crate) job: JobId,
    /// The server's name.
    pub(crate) server: String,
    /// The recovery point that the job made or read.
    pub(crate) point: Option<PointId>,
    pub(crate) record: JobRecord,
}

/// The jobs of all servers, or of the server with this name or id, oldest first, and what could not be read.
pub(crate) async fn list(
    environment: &Environment,
    url: &str,
    server: Option<&str>,
) -> Result<(Vec<ServerJob>, Vec<Damage>), Failure> {
    let vault = open(environment, url).await?;
    let (servers, mut damaged) = vault.servers().await?;
    let selection = Selection::new(&servers, server)?;
    let (records, more) = list_jobs(vault.store(), vault.id(), &servers, None).await?;
    damaged.extend(more);
    let now = Timestamp::now().as_second();
    let wanted = |mut record: JobRecord| {
        close_if_old(&mut record, now);
        // The listing has checked the lengths of these ids.
        let server = ServerId::try_from(&record.server_id[..]).ok()?;
        let job = JobId::try_from(&record.job_id[..]).ok()?;
        selection.contains(server).then(|| ServerJob {
            job,
            server: selection.name(server),
            point: PointId::try_from(&record.point_id[..]).ok(),
            record,
        })
    };
    Ok((records.into_iter().filter_map(wanted).collect(), damaged))
}

/// No job runs for so long. A machine that was lost in the middle of a job never says that it ended.
const LONGEST_RUN_S: i64 = 30 * 86_400;

fn close_if_old(record: &mut JobRecord, now: i64) {
    if record.state() == JobState::Running && now - record.started_s > LONGEST_RUN_S {
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
