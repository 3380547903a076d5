//! The jobs of a vault's servers, by their signed records.

use lockstone_proto::ids::{JobId, PointId, ServerId};
use lockstone_proto::job::JobRecord;
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
    let wanted = |record: JobRecord| {
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
