//! The servers of a vault: what each has there, and whether it is well.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use lockstone_proto::ids::{DomainId, ServerId};
use lockstone_proto::job::{JobKind, JobRecord, JobState};
use lockstone_proto::vault::SlotKind;
use lockstone_vault::VaultError;
use lockstone_vault::access::job_records::{credentials_of, list_jobs};
use lockstone_vault::access::orders::Ended;
use lockstone_vault::access::policy_records::{ServerPolicy, newest_policy};
use lockstone_vault::access::registration::{Server, Servers};
use lockstone_vault::crypto::slot_store::list_slots;
use lockstone_vault::damage::Damage;
use lockstone_vault::log::PointOverview;
use lockstone_vault::vault::Vault;

use super::jobs::close_if_old;
use super::open;
use super::rhythm::Rhythm;
use crate::agent::environment::Environment;
use crate::agent::kept_points::kept_of;
use crate::failure::Failure;
use crate::policy::{Kept, parts_of, plan};

/// How many policies are read at the same time.
const READ_AHEAD: usize = 8;

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Ok,
    /// Its last recovery point is older than it should be, or it has none. See `rhythm`.
    Silent,
    /// Its last backup failed.
    Failing,
    /// The operator ended its right to write.
    Revoked,
    /// It gave up its key slot: it was unregistered, or another machine took its place.
    Unregistered,
}

impl Health {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Silent => "silent",
            Health::Failing => "failing",
            Health::Revoked => "revoked",
            Health::Unregistered => "unregistered",
        }
    }
}

/// What the operator sees of a server.
#[derive(Debug)]
pub(crate) struct ServerOverview {
    pub(crate) server: Server,
    /// When its right to write ended.
    pub(crate) ended: Option<Ended>,
    /// When its newest recovery point was begun, seconds since the epoch.
    pub(crate) last_point: Option<i64>,
    /// How many recovery points it has that are not deleted.
    pub(crate) points: u64,
    /// What these added to the vault, bytes.
    pub(crate) stored_bytes: u64,
    /// How many of them the policy of a server that is no longer registered gives up.
    pub(crate) expired_points: u64,
    pub(crate) last_job: Option<JobRecord>,
    pub(crate) health: Health,
}

/// The servers of a vault, sorted by name and then by time of registration, and what could not be read.
pub(crate) async fn list(environment: &Environment, url: &str) -> Result<(Vec<ServerOverview>, Vec<Damage>), Failure> {
    let vault = open(environment, url).await?;
    let (servers, mut damaged) = vault.servers().await?;
    let mut points = Vec::new();
    for domain in vault.domains().await? {
        let view = vault.overview(domain, &servers).await?;
        damaged.extend(view.damage);
        points.extend(view.points);
    }
    let (jobs, more) = list_jobs(vault.store(), &vault.pin(), &servers, None).await?;
    damaged.extend(more);
    let registered = with_slots(&vault, &servers, &mut damaged).await?;
    let policies = policies(&vault, &servers, &mut damaged).await?;
    let now = Timestamp::now();
    let mut jobs_of: BTreeMap<ServerId, Vec<JobRecord>> = BTreeMap::new();
    // A job by credentials is not the server's own.
    for mut job in jobs.into_iter().filter(|job| credentials_of(job).is_none()) {
        close_if_old(&mut job, now.as_second());
        if let Ok(server) = ServerId::try_from(&job.server_id[..]) {
            jobs_of.entry(server).or_default().push(job);
        }
    }
    let mut found: Vec<ServerOverview> = servers
        .iter()
        .map(|server| {
            let own = points.iter().filter(|point| point.server == server.id);
            let jobs = jobs_of.remove(&server.id).unwrap_or_default();
            let has_slot = registered.contains(&server.id);
            let ended = servers.ended(server.id).cloned();
            overview(
                (server.clone(), ended),
                own,
                jobs,
                has_slot,
                policies.get(&server.id),
                now,
            )
        })
        .collect();
    found.sort_by(|a, b| {
        let (a, b) = (&a.server, &b.server);
        a.name.cmp(&b.name).then(a.registered.cmp(&b.registered))
    });
    Ok((found, damaged))
}

/// The servers whose machine has a key slot. Those of a domain whose slots cannot be read count as such.
async fn with_slots(
    vault: &Vault,
    servers: &Servers,
    damaged: &mut Vec<Damage>,
) -> Result<BTreeSet<ServerId>, Failure> {
    let domains: BTreeSet<DomainId> = servers.iter().map(|server| server.domain).collect();
    let mut found = BTreeSet::new();
    for domain in domains {
        let (slots, damage) = list_slots(vault.store(), domain).await?;
        let machines = slots.iter().filter(|slot| slot.kind() == SlotKind::Machine);
        found.extend(machines.filter_map(|slot| ServerId::try_from(slot.server_id.as_ref()).ok()));
        if !damage.is_empty() {
            let of_domain = servers.iter().filter(|server| server.domain == domain);
            found.extend(of_domain.map(|server| server.id));
        }
        damaged.extend(damage);
    }
    Ok(found)
}

/// The policies of the servers whose right was not ended.
async fn policies(
    vault: &Vault,
    servers: &Servers,
    damaged: &mut Vec<Damage>,
) -> Result<BTreeMap<ServerId, ServerPolicy>, Failure> {
    let counting = servers.iter().filter(|server| servers.ended(server.id).is_none());
    let read = futures::stream::iter(counting.cloned())
        .map(|server| async move {
            let found = newest_policy(vault.store(), vault.id(), &server).await?;
            Ok::<_, VaultError>((server.id, found))
        })
        .buffered(READ_AHEAD);
    let read: Vec<_> = read.try_collect().await?;
    let mut policies = BTreeMap::new();
    for (server, found) in read {
        policies.extend(found.newest.map(|policy| (server, policy)));
        damaged.extend(found.damage);
    }
    Ok(policies)
}

/// How many of these points have had their time by this policy.
fn expired(policy: &ServerPolicy, points: &[&PointOverview], now: Timestamp) -> u64 {
    let parts = parts_of(policy.open()).filter(|_| !policy.paused());
    parts.map_or(0, |(schedule, retention)| {
        let kept: Vec<Kept> = points.iter().map(|point| kept_of(&point.summary, point.held)).collect();
        let over = plan(&retention, &schedule.zone, &kept, now).forget;
        over.iter().filter(|over| **over).count() as u64
    })
}

fn overview<'p>(
    (server, ended): (Server, Option<Ended>),
    own: impl Iterator<Item = &'p PointOverview>,
    mut jobs: Vec<JobRecord>,
    has_slot: bool,
    policy: Option<&ServerPolicy>,
    now: Timestamp,
) -> ServerOverview {
    let rhythm = Rhythm::of(policy);
    let own: Vec<&PointOverview> = own.filter(|point| point.forgotten.is_none()).collect();
    let last_point = own.iter().map(|point| point.summary.started_s).max();
    let last_backup = jobs
        .iter()
        .rfind(|job| job.kind() == JobKind::Backup && job.state().has_ended());
    let failing = last_backup
        .is_some_and(|job| job.state() == JobState::Failed && last_point.is_none_or(|point| point < job.started_s));
    // The point of a backup that runs comes when it ends.
    let running = jobs
        .iter()
        .filter(|job| job.kind() == JobKind::Backup && job.state() == JobState::Running);
    let begun = running.map(|job| job.started_s).max();
    let silent = rhythm.is_silent(server.registered, last_point, begun, now);
    let health = match (&ended, has_slot) {
        (Some(_), _) => Health::Revoked,
        (None, false) => Health::Unregistered,
        (None, true) if failing => Health::Failing,
        (None, true) if silent => Health::Silent,
        (None, true) => Health::Ok,
    };
    let gone = policy.filter(|_| health == Health::Unregistered);
    ServerOverview {
        server,
        ended,
        last_point,
        points: own.len() as u64,
        stored_bytes: own.iter().map(|point| point.summary.stored_bytes).sum(),
        expired_points: gone.map_or(0, |policy| expired(policy, &own, now)),
        last_job: jobs.pop(),
        health,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ed25519_dalek::SigningKey;
    use lockstone_proto::ids::{CredentialId, PointId};
    use lockstone_proto::vault::PointSummary;

    use super::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = 20_000 * DAY;

    fn server() -> Server {
        Server {
            id: ServerId([1; 16]),
            name: "web".to_owned(),
            domain: DomainId([2; 16]),
            key: SigningKey::from_bytes(&[1; 32]).verifying_key(),
            registered: Timestamp::from_second(NOW - 2 * DAY).unwrap(),
            credentials: CredentialId::default(),
            machine: None,
        }
    }

    fn point(days_ago: i64, forgotten: Option<i64>) -> PointOverview {
        let started_s = NOW - days_ago * DAY;
        PointOverview {
            id: PointId([1; 16]),
            n: 1,
            server: ServerId([1; 16]),
            time_s: started_s,
            summary: PointSummary {
                started_s,
                stored_bytes: 10,
                ..PointSummary::default()
            },
            forgotten,
            held: false,
            lossy: false,
        }
    }

    fn job(days_ago: i64, state: JobState) -> JobRecord {
        JobRecord {
            kind: JobKind::Backup.into(),
            state: state.into(),
            started_s: NOW - days_ago * DAY,
            ..JobRecord::default()
        }
    }

    fn health(points: &[PointOverview], jobs: &[JobRecord]) -> Health {
        let now = Timestamp::from_second(NOW).unwrap();
        overview((server(), None), points.iter(), jobs.to_vec(), true, None, now).health
    }

    #[test]
    fn a_servers_health_is_that_of_its_backups() {
        assert_eq!(health(&[], &[]), Health::Ok, "it has just registered");
        assert_eq!(health(&[point(40, None)], &[]), Health::Silent);
        assert_eq!(health(&[point(1, Some(NOW)), point(40, None)], &[]), Health::Silent);
        assert_eq!(health(&[point(1, None)], &[job(1, JobState::Completed)]), Health::Ok);
        let failed = [job(2, JobState::Completed), job(1, JobState::Failed)];
        assert_eq!(health(&[point(2, None)], &failed), Health::Failing);
        // It did not say that it ended, but there is its point.
        assert_eq!(health(&[point(1, None)], &failed), Health::Ok);
        let running = [job(2, JobState::Failed), job(1, JobState::Running)];
        assert_eq!(health(&[point(3, None)], &running), Health::Failing);
        let now = Timestamp::from_second(NOW).unwrap();
        let gone = overview((server(), None), [point(1, None)].iter(), Vec::new(), false, None, now);
        assert_eq!(
            (gone.health, gone.points, gone.stored_bytes),
            (Health::Unregistered, 1, 10)
        );
    }
}
