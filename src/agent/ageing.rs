//! Points of servers that are no longer registered. Nothing runs there that could apply their retention. Any other
//! server of their domain does it, by the policy that they signed last (docs/decisions/0065).
//!
//! Nothing is forgotten in doubt. These keep all of their points: a server whose right was ended by the operator, since
//! whoever took the machine may have signed its last policy; a server whose policy is missing, damaged, paused or not
//! understood; and each server, if the key slots of the domain cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lockstone_proto::ids::{PointId, ServerId};
use lockstone_proto::vault::SlotKind;
use lockstone_vault::access::policy_records::{ServerPolicy, newest_policy};
use lockstone_vault::access::registration::Server;
use lockstone_vault::crypto::slot_store::list_slots;
use lockstone_vault::log::{LogView, Point};

use super::access::session::Session;
use super::environment::Environment;
use super::kept_points::kept;
use crate::failure::Failure;
use crate::policy::{Kept, parts_of, plan};

/// The points of unregistered servers of this domain whose time is over.
pub(super) async fn over(
    environment: &Environment,
    session: &Session,
    view: &LogView,
    now: Timestamp,
) -> Result<Vec<PointId>, Failure> {
    let mut over = Vec::new();
    // Most domains have one server. Then the vault is not asked.
    let others = session.neighbours().filter(|server| !session.is_own(server.id));
    let others: Vec<&Server> = others.collect();
    if others.is_empty() {
        return Ok(over);
    }
    let (slots, damage) = list_slots(session.vault.store(), session.domain.id()).await?;
    if !damage.is_empty() {
        return Ok(over);
    }
    let machines = slots.iter().filter(|slot| slot.kind() == SlotKind::Machine);
    let machines: BTreeSet<ServerId> = machines
        .filter_map(|slot| ServerId::try_from(slot.server_id.as_ref()).ok())
        .collect();
    for ids in unregistered(&others, &machines).values() {
        if ids.iter().any(|server| session.ended(server.id)) {
            continue;
        }
        let points: Vec<&Point> = view
            .alive()
            .filter(|point| ids.iter().any(|server| server.id == point.server))
            .collect();
        if points.is_empty() {
            continue;
        }
        let Some(policy) = last_policy(environment, session, ids).await? else {
            continue;
        };
        over.extend(over_by(&policy, &points, now));
    }
    Ok(over)
}

/// The servers without a machine that opens the domain, by name; of each name all registrations, the newest last. A
/// name that is in use again is not among them: its server applies its own policy to all of them.
fn unregistered<'s>(servers: &[&'s Server], machines: &BTreeSet<ServerId>) -> BTreeMap<&'s str, Vec<&'s Server>> {
    let mut by_name: BTreeMap<&str, Vec<&Server>> = BTreeMap::new();
    for server in servers {
        by_name.entry(&server.name).or_default().push(server);
    }
    by_name.retain(|_, ids| !ids.iter().any(|server| machines.contains(&server.id)));
    for ids in by_name.values_mut() {
        ids.sort_by_key(|server| server.registered);
    }
    by_name
}

/// The policy of the newest registration. `None` if it has none, or if a newer one is damaged.
async fn last_policy(
    environment: &Environment,
    session: &Session,
    ids: &[&Server],
) -> Result<Option<ServerPolicy>, Failure> {
    let Some(server) = ids.last() else { return Ok(None) };
    let found = newest_policy(session.vault.store(), session.vault.id(), server).await?;
    for damage in &found.damage {
        environment.notices.damaged(damage);
    }
    Ok(found.newest.filter(|_| found.damage.is_empty()))
}

fn over_by(policy: &ServerPolicy, points: &[&Point], now: Timestamp) -> Vec<PointId> {
    let parts = parts_of(policy.open()).filter(|_| !policy.paused());
    let Some((schedule, retention)) = parts else {
        return Vec::new();
    };
    let kept: Vec<Kept> = points.iter().map(|point| kept(point, now)).collect();
    let plan = plan(&retention, &schedule.zone, &kept, now);
    let over = points.iter().zip(plan.forget).filter(|(_, forget)| *forget);
    over.map(|(point, _)| point.id).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ed25519_dalek::SigningKey;
    use lockstone_proto::ids::{CredentialId, DomainId};

    use super::*;

    fn server(id: u8, name: &str, registered: i64) -> Server {
        Server {
            id: ServerId([id; 16]),
            name: name.to_owned(),
            domain: DomainId([2; 16]),
            key: SigningKey::from_bytes(&[1; 32]).verifying_key(),
            registered: Timestamp::from_second(registered).unwrap(),
            credentials: CredentialId::default(),
            machine: None,
        }
    }

    #[test]
    fn a_server_is_unregistered_if_no_machine_of_its_name_is_left() {
        let servers = [
            server(1, "web", 30),
            server(2, "db", 10),
            server(3, "web", 20),
            server(4, "mail", 5),
        ];
        let servers: Vec<&Server> = servers.iter().collect();
        let found = |machines: &[u8]| -> Vec<(String, Vec<u8>)> {
            let machines = machines.iter().map(|id| ServerId([*id; 16])).collect();
            let found = unregistered(&servers, &machines).into_iter();
            let ids = |ids: Vec<&Server>| ids.iter().map(|server| server.id.0[0]).collect();
            found.map(|(name, servers)| (name.to_owned(), ids(servers))).collect()
        };
        assert_eq!(found(&[1, 2, 4]), []);
        assert_eq!(found(&[2, 3, 4]), [], "the name is in use");
        assert_eq!(
            found(&[4]),
            [("db".to_owned(), vec![2]), ("web".to_owned(), vec![3, 1])]
        );
    }
}
