//! The names of a vault's objects, as in docs/format.md, "Objects and their names". No other code spells them.

use lockstone_proto::ids::{CredentialId, DomainId, JobId, PackId, SegmentId, ServerId, SlotId};

/// The vault's descriptor.
pub const DESCRIPTOR: &str = "lockstone.json";
/// Below it is a folder for each server.
pub const SERVERS: &str = "servers";
/// Below it is a folder for each server, and in that a folder for each job.
pub const JOBS: &str = "jobs";
/// Below it is a folder for each domain.
pub const DOMAINS: &str = "domains";

/// Below it is what repairs moved aside.
pub const QUARANTINE: &str = "quarantine";

/// Below it are the operator's orders.
pub const ORDERS: &str = "orders";

/// The operator's order of that number: 16 hex digits.
#[must_use]
pub fn order(number: u64) -> String {
    format!("{ORDERS}/{number:016x}")
}

/// A server's registration.
#[must_use]
pub fn registration(server: ServerId) -> String {
    format!("{SERVERS}/{server}/registration")
}

/// The folder of a server's policies.
#[must_use]
pub fn policies(server: ServerId) -> String {
    format!("{SERVERS}/{server}/policy")
}

/// A policy: 16 hex digits.
#[must_use]
pub fn policy(server: ServerId, generation: u64) -> String {
    format!("{SERVERS}/{server}/policy/{generation:016x}")
}

/// The generation in the last part of a policy's name. `None` if it is not one.
#[must_use]
pub fn generation(path: &str) -> Option<u64> {
    log_position(path)
}

/// The folder of the records of a server's job.
#[must_use]
pub fn job_folder(server: ServerId, job: JobId) -> String {
    format!("{JOBS}/{server}/{job}")
}

/// A job record.
#[must_use]
pub fn job(server: ServerId, job: JobId, number: u32) -> String {
    format!("{JOBS}/{server}/{job}/{number}")
}

/// The folder of a domain's key slots.
#[must_use]
pub fn slots(domain: DomainId) -> String {
    format!("{DOMAINS}/{domain}/keys")
}

/// A key slot.
#[must_use]
pub fn slot(domain: DomainId, slot: SlotId) -> String {
    format!("{DOMAINS}/{domain}/keys/{slot}")
}

/// The folder of a domain's log.
#[must_use]
pub fn log(domain: DomainId) -> String {
    format!("{DOMAINS}/{domain}/log")
}

/// The log entry at position `n`: 16 hex digits.
#[must_use]
pub fn log_entry(domain: DomainId, n: u64) -> String {
    format!("{DOMAINS}/{domain}/log/{n:016x}")
}

/// The job record of somebody who holds credentials.
#[must_use]
pub fn job_by_credentials(credentials: CredentialId, job: JobId, number: u32) -> String {
    format!("{JOBS}/{credentials}/{job}/{number}")
}

/// The position in the last part of the name of a log entry or an order. `None` if it is not a position.
#[must_use]
pub fn log_position(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    let n = u64::from_str_radix(name, 16).ok()?;
    (n > 0 && format!("{n:016x}") == name).then_some(n)
}

/// A pack.
#[must_use]
pub fn pack(domain: DomainId, pack: &PackId) -> String {
    format!("{DOMAINS}/{domain}/packs/{:02x}/{pack}", pack.as_bytes()[0])
}

/// The folder of the packs whose id begins with that byte.
#[must_use]
pub fn packs(domain: DomainId, first: u8) -> String {
    format!("{DOMAINS}/{domain}/packs/{first:02x}")
}

/// Where a damaged object of that name is moved. Nobody reads it there.
#[must_use]
pub fn quarantine(name: &str) -> String {
    format!("{QUARANTINE}/{name}")
}

/// The id in the name of a pack. `None` if it is not the name of a pack.
#[must_use]
pub fn pack_id(path: &str) -> Option<PackId> {
    let (folder, name) = path.rsplit_once('/')?;
    let id: PackId = name.parse().ok()?;
    let is_there = folder.rsplit('/').next() == Some(format!("{:02x}", id.as_bytes()[0]).as_str());
    (is_there && id.hex() == name).then_some(id)
}

/// A segment.
#[must_use]
pub fn segment(domain: DomainId, segment: &SegmentId) -> String {
    format!("{DOMAINS}/{domain}/segments/{segment}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_pack_survives_its_name() {
        let (domain, id) = (DomainId([1; 16]), PackId([0xab; 32]));
        let name = pack(domain, &id);
        assert_eq!(pack_id(&name), Some(id));
        for other in [
            name.to_uppercase(),
            format!("{name}#1"),
            name.replace("/ab/", "/ac/"),
            id.hex(),
            String::new(),
        ] {
            assert_eq!(pack_id(&other), None, "{other}");
        }
    }

    #[test]
    fn a_log_position_survives_its_name() {
        let domain = DomainId([1; 16]);
        for n in [1, 9, 16, 255, u64::MAX] {
            assert_eq!(log_position(&log_entry(domain, n)), Some(n));
        }
        for name in [
            "a/log/0000000000000000",
            "a/log/1",
            "a/log/00000000000000FF",
            "a/log/00000000000000ff#1",
            "",
        ] {
            assert_eq!(log_position(name), None, "{name}");
        }
    }
}
