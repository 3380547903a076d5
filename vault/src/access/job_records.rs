//! Job records: what the operator sees of a server's jobs, `jobs/<server>/<job>/<n>`. The server writes one record when
//! a job starts and one when it ends. Each is signed and never changed. They only inform: what a job committed stands
//! in the log, even if its last record is missing or damaged.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use jiff::Timestamp;
use lockstone_proto::ids::{JobId, PointId, ServerId, VaultId};
use lockstone_proto::job::{JobKind, JobRecord, JobState, SignedJobRecord};
use lockstone_proto::limits::{FORMAT_VERSION, RECORD_MAX};
use prost::Message;

use crate::access::registration::{Server, Servers};
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::store::{Store, names};

const CONTEXT: &[u8] = b"lockstone v1 job\0";

/// Signs and writes a job record. Its ids must be ids of their kinds; `number` is 0 when the job starts, 1 when it
/// ends. Writing the same record again changes nothing: the first one stays.
pub async fn write_job(store: &Store, record: &JobRecord, key: &SigningKey) -> Result<(), VaultError> {
    let bad = |why| VaultError::damaged(DamageKind::Job, "a new job record", why);
    let no_id = |_| bad("its ids are no ids");
    let server = ServerId::try_from(record.server_id.as_ref()).map_err(no_id)?;
    let job = JobId::try_from(record.job_id.as_ref()).map_err(no_id)?;
    // Nothing is written that a reader would refuse.
    check_content(record).map_err(bad)?;
    let encoded = Bytes::from(record.encode_to_vec());
    let signature = Bytes::copy_from_slice(&key.sign(&[CONTEXT, &encoded].concat()).to_bytes());
    let object = SignedJobRecord {
        record: encoded,
        signature,
    }
    .encode_to_vec();
    store.create(&names::job(server, job, record.number), object).await?;
    Ok(())
}

/// Checks what a record says about its job: kind, state, point and times.
fn check_content(record: &JobRecord) -> Result<(), &'static str> {
    if record.kind() == JobKind::Unspecified || JobState::try_from(record.state).is_err() {
        return Err("its kind or state is unknown to this program");
    }
    if !record.point_id.is_empty() && record.point_id.len() != PointId::LEN {
        return Err("its recovery point is not an id");
    }
    if [record.started_s, record.ended_s]
        .iter()
        .any(|time| Timestamp::from_second(*time).is_err())
    {
        return Err("its times are impossible");
    }
    Ok(())
}

/// The record in the object `jobs/<server>/<job>/<number>`.
pub(crate) fn verify(
    vault: VaultId,
    server: &Server,
    job: JobId,
    number: u32,
    object: &[u8],
) -> Result<JobRecord, &'static str> {
    let signed = SignedJobRecord::decode(object).map_err(|_| "it cannot be decoded")?;
    let signature = Signature::from_slice(&signed.signature).map_err(|_| "its signature has the wrong length")?;
    server
        .key
        .verify_strict(&[CONTEXT, &signed.record].concat(), &signature)
        .map_err(|_| "the server's signature does not fit")?;
    if signed.encode_to_vec() != object {
        return Err("it is not encoded as the format wants it");
    }
    let record = JobRecord::decode(signed.record.clone()).map_err(|_| "it cannot be decoded")?;
    if record.version != FORMAT_VERSION {
        return Err("its version is unknown to this program");
    }
    if record.encode_to_vec() != signed.record {
        return Err("it is not encoded as the format wants it");
    }
    check_content(&record)?;
    let here = record.vault_id == vault.as_ref()
        && record.server_id == server.id.as_ref()
        && record.job_id == job.as_ref()
        && record.number == number;
    if here { Ok(record) } else { Err("it belongs elsewhere") }
}

/// The last record of each job of one server or of all, oldest start first. Damaged records, and records of servers
/// without a valid registration, are reported and left out.
pub async fn list_jobs(
    store: &Store,
    vault: VaultId,
    servers: &Servers,
    only: Option<ServerId>,
) -> Result<(Vec<JobRecord>, Vec<Damage>), VaultError> {
    let (mut last, mut damage) = (BTreeMap::<JobId, JobRecord>::new(), Vec::new());
    for server in servers
        .iter()
        .filter(|server| only.is_none_or(|only| only == server.id))
    {
        for listed in store.list_all(&names::jobs_of(server.id)).await? {
            let mut parts = listed.path.rsplit('/');
            let number = parts.next().and_then(|number| number.parse::<u32>().ok());
            let job = parts.next().and_then(|job| job.parse::<JobId>().ok());
            let (Some(number), Some(job)) = (number, job) else {
                continue;
            };
            let object = match store.get(&listed.path, RECORD_MAX).await {
                Ok(object) => object,
                Err(error) if error.is_object_fault() => {
                    damage.push(Damage::new(DamageKind::Job, listed.path, error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match verify(vault, server, job, number, &object) {
                Ok(record) => {
                    let kept = last.entry(job).or_insert_with(|| record.clone());
                    if record.number > kept.number {
                        *kept = record;
                    }
                }
                Err(why) => damage.push(Damage::new(DamageKind::Job, listed.path, why)),
            }
        }
    }
    let mut jobs: Vec<JobRecord> = last.into_values().collect();
    jobs.sort_by(|a, b| (a.started_s, &a.job_id).cmp(&(b.started_s, &b.job_id)));
    Ok((jobs, damage))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use lockstone_proto::ids::DomainId;

    #[test]
    fn a_record_counts_only_as_the_format_writes_it() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let server = Server {
            id: ServerId([1; 16]),
            name: "web".to_owned(),
            domain: DomainId([2; 16]),
            key: key.verifying_key(),
            registered: jiff::Timestamp::UNIX_EPOCH,
        };
        let record = JobRecord {
            version: 1,
            vault_id: vec![4; 16].into(),
            server_id: vec![1; 16].into(),
            job_id: vec![5; 16].into(),
            kind: JobKind::Backup.into(),
            state: JobState::Running.into(),
            ..JobRecord::default()
        };
        let read = |record: Vec<u8>| {
            let signature = key.sign(&[CONTEXT, &record].concat()).to_bytes().to_vec();
            let signed = SignedJobRecord {
                record: record.into(),
                signature: signature.into(),
            };
            verify(VaultId([4; 16]), &server, JobId([5; 16]), 0, &signed.encode_to_vec())
        };
        assert_eq!(read(record.encode_to_vec()).unwrap(), record);
        let changed = |change: &dyn Fn(&mut JobRecord)| {
            let mut other = record.clone();
            change(&mut other);
            read(other.encode_to_vec())
        };
        let unknown = Err("its kind or state is unknown to this program");
        assert_eq!(changed(&|it| it.kind = 0), unknown);
        assert_eq!(changed(&|it| it.kind = 4), unknown);
        assert_eq!(changed(&|it| it.state = 7), unknown);
        assert!(changed(&|it| it.point_id = vec![6; 16].into()).is_ok());
        for len in [1, 15, 17, 32] {
            let point = changed(&|it| it.point_id = vec![6; len].into());
            assert_eq!(point, Err("its recovery point is not an id"));
        }
        for time in [i64::MIN, i64::MAX] {
            assert_eq!(changed(&|it| it.started_s = time), Err("its times are impossible"));
            assert_eq!(changed(&|it| it.ended_s = time), Err("its times are impossible"));
        }
        for len in [0, 15, 17] {
            assert_eq!(
                changed(&|it| it.job_id = vec![5; len].into()),
                Err("it belongs elsewhere")
            );
            assert_eq!(
                changed(&|it| it.server_id = vec![1; len].into()),
                Err("it belongs elsewhere")
            );
        }
        assert!(changed(&|it| it.version = 2).is_err());
        assert!(changed(&|it| it.number = 1).is_err());
        let field = [&record.encode_to_vec()[..], &[0x80, 0x08, 1]].concat();
        assert_eq!(read(field), Err("it is not encoded as the format wants it"));
    }
}
