//! Job records: what the operator sees of jobs. A server writes `jobs/<server>/<job>/<n>`, signed with its key. Who
//! restores by credentials writes `jobs/<credentials>/<job>/<n>`, signed with the admission key, beside the admission.
//! The record with the number 0 says that the job started. Further ones follow while it runs, and one when it ends.
//! None is ever changed. They only inform: what a job committed stands in the log, even if its last record is missing
//! or damaged.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use lockstone_proto::access::SignedAdmission;
use lockstone_proto::ids::{CredentialId, JobId, PointId, ServerId};
use lockstone_proto::job::{JobKind, JobRecord, JobState, SignedJobRecord};
use lockstone_proto::limits::{FORMAT_VERSION, RECORD_MAX};
use prost::Message;

use crate::access::credentials::{Admitted, VaultCredentials};
use crate::access::registration::{Servers, VaultPin};
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::store::{Created, Store, names};

const CONTEXT: &[u8] = b"lockstone v1 job\0";
/// How many records are read at the same time.
const READ_AHEAD: usize = 8;
/// Why a record is left out that no registered server and no credentials vouch for.
const NOBODY: &str = "no server that is known signed it";

/// By which right a record is written.
#[derive(Debug, Clone, Copy)]
pub enum Author<'a> {
    /// A registered server, with its key.
    Server(&'a SigningKey),
    /// A holder of credentials.
    Credentials(&'a VaultCredentials),
}

/// Signs and writes a job record. Its ids must be ids of their kinds. An object of its number that is there stays; the
/// result says whether there was none.
pub async fn write_job(store: &Store, record: &JobRecord, author: Author<'_>) -> Result<Created, VaultError> {
    let bad = |why| VaultError::damaged(DamageKind::Job, "a new job record", why);
    let no_id = |_| bad("its ids are no ids");
    let job = JobId::try_from(record.job_id.as_ref()).map_err(no_id)?;
    // Nothing is written that a reader would refuse.
    check_content(record).map_err(bad)?;
    let (name, key, admission) = match author {
        Author::Server(key) => {
            let server = ServerId::try_from(record.server_id.as_ref()).map_err(no_id)?;
            (names::job(server, job, record.number), key, Vec::new())
        }
        Author::Credentials(credentials) => {
            let name = names::job_by_credentials(credentials.id(), job, record.number);
            (name, credentials.secret(), credentials.admission_object())
        }
    };
    let encoded = Bytes::from(record.encode_to_vec());
    let signature = Bytes::copy_from_slice(&key.sign(&[CONTEXT, &encoded].concat()).to_bytes());
    let object = SignedJobRecord {
        record: encoded,
        signature,
        admission: admission.into(),
    }
    .encode_to_vec();
    Ok(store.create(&name, object).await?)
}

/// Writes a further record of a job whose last number nobody remembers. Writes none if the job has no record.
pub async fn write_last_job(store: &Store, mut record: JobRecord, key: &SigningKey) -> Result<(), VaultError> {
    let bad = |_| VaultError::damaged(DamageKind::Job, "a new job record", "its ids are no ids");
    let server = ServerId::try_from(record.server_id.as_ref()).map_err(bad)?;
    let job = JobId::try_from(record.job_id.as_ref()).map_err(bad)?;
    let there = store.list_all(&names::job_folder(server, job)).await?;
    let last = there
        .iter()
        .filter_map(|object| Place::of(&object.path))
        .map(|it| it.number);
    let Some(last) = last.max() else { return Ok(()) };
    record.number = last.saturating_add(1);
    write_job(store, &record, Author::Server(key)).await?;
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

/// Who a record is by, as its name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// A server, or credentials.
    pub(crate) author: [u8; 16],
    pub(crate) job: JobId,
    pub(crate) number: u32,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('/');
        let number = parts.next()?;
        let place = Self {
            number: number.parse().ok()?,
            job: parts.next()?.parse().ok()?,
            author: parts.next()?.parse::<ServerId>().ok()?.0,
        };
        (place.number.to_string() == number).then_some(place)
    }

    fn name(self) -> String {
        names::job(ServerId(self.author), self.job, self.number)
    }
}

/// Checks a record. `key` is that of the registered server whose folder it lies in, if it lies in one.
pub(crate) fn verify(
    pin: &VaultPin,
    key: Option<&VerifyingKey>,
    place: Place,
    object: &[u8],
) -> Result<JobRecord, &'static str> {
    let signed = SignedJobRecord::decode(object).map_err(|_| "it cannot be decoded")?;
    let admitted = match key {
        Some(_) => None,
        None if signed.admission.is_empty() => return Err(NOBODY),
        None => Some(admission(pin, &signed.admission)?),
    };
    let key = match (key, &admitted) {
        (Some(key), _) => key,
        (None, Some(admitted)) => &admitted.key,
        (None, None) => return Err(NOBODY),
    };
    let signature = Signature::from_slice(&signed.signature).map_err(|_| "its signature has the wrong length")?;
    key.verify_strict(&[CONTEXT, &signed.record].concat(), &signature)
        .map_err(|_| "its signature does not fit")?;
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
    let by = match &admitted {
        Some(admitted) => {
            admitted
                .check_time(record.started_s)
                .map_err(|_| "it began outside the credentials' validity")?;
            let fits = admitted.id.as_ref() == place.author && record.credential_id == place.author.as_slice();
            fits && ServerId::try_from(record.server_id.as_ref()).is_ok()
        }
        None => {
            let bare = record.credential_id.is_empty() && signed.admission.is_empty();
            bare && record.server_id == place.author.as_slice()
        }
    };
    let here = record.vault_id == pin.vault_id.as_ref()
        && record.job_id == place.job.as_ref()
        && record.number == place.number;
    if by && here {
        Ok(record)
    } else {
        Err("it belongs elsewhere")
    }
}

/// The admission beside a record by credentials.
fn admission(pin: &VaultPin, object: &[u8]) -> Result<Admitted, &'static str> {
    let signed = SignedAdmission::decode(object).map_err(|_| "it has no admission")?;
    let admitted = Admitted::verify(&signed, &pin.operator_key).map_err(|_| "it has no valid admission")?;
    if signed.encode_to_vec() != object || admitted.vault_id != pin.vault_id {
        return Err("its admission is not encoded as the format wants it, or is another vault's");
    }
    Ok(admitted)
}

/// The last record of each job of one server or of all, oldest start first. Those of jobs by credentials count for the
/// server whose points were read. Damaged records, and records that nobody vouches for, are reported and left out; then
/// the record before them counts.
pub async fn list_jobs(
    store: &Store,
    pin: &VaultPin,
    servers: &Servers,
    only: Option<ServerId>,
) -> Result<(Vec<JobRecord>, Vec<Damage>), VaultError> {
    let mut places: BTreeMap<([u8; 16], JobId), Vec<u32>> = BTreeMap::new();
    for listed in store.list_all(names::JOBS).await? {
        let Some(place) = Place::of(&listed.path).filter(|place| place.name() == listed.path) else {
            continue;
        };
        // Whose points a job by credentials read stands in its record only.
        let is_server = servers.get(ServerId(place.author)).is_some();
        if !is_server || only.is_none_or(|only| only.0 == place.author) {
            places.entry((place.author, place.job)).or_default().push(place.number);
        }
    }
    let reader = Reader { store, pin, servers };
    let read = futures::stream::iter(places).map(|(of, numbers)| async move { reader.last_of(of, numbers).await });
    let read: Vec<_> = read.buffered(READ_AHEAD).try_collect().await?;
    let (mut jobs, mut damage) = (Vec::new(), Vec::new());
    for (record, damaged) in read {
        damage.extend(damaged);
        jobs.extend(record.filter(|record| only.is_none_or(|only| record.server_id == only.as_ref())));
    }
    jobs.sort_by(|a, b| (a.started_s, &a.job_id).cmp(&(b.started_s, &b.job_id)));
    Ok((jobs, damage))
}

/// All job records that are damaged, or that nobody vouches for.
pub(crate) async fn damaged_records(
    store: &Store,
    pin: &VaultPin,
    servers: &Servers,
) -> Result<Vec<Damage>, VaultError> {
    let reader = Reader { store, pin, servers };
    let listed = store.list_all(names::JOBS).await?;
    let places = listed
        .iter()
        .filter_map(|listed| Place::of(&listed.path).filter(|place| place.name() == listed.path));
    let places: Vec<Place> = places.collect();
    let read = futures::stream::iter(places).map(|place| async move { reader.read(place).await });
    let read: Vec<_> = read.buffered(READ_AHEAD).try_collect().await?;
    Ok(read.into_iter().filter_map(Result::err).flatten().collect())
}

/// Reads records.
#[derive(Clone, Copy)]
struct Reader<'a> {
    store: &'a Store,
    pin: &'a VaultPin,
    servers: &'a Servers,
}

impl Reader<'_> {
    /// The record there, or the damage to it. There is no damage if it may be by a server whose registration cannot be
    /// read: that is reported once, for the registration.
    async fn read(self, place: Place) -> Result<Result<JobRecord, Option<Damage>>, VaultError> {
        let damaged = |why: &dyn std::fmt::Display| Some(Damage::new(DamageKind::Job, place.name(), why));
        let key = self.servers.get(ServerId(place.author)).map(|server| &server.key);
        match self.store.get(&place.name(), RECORD_MAX).await {
            Ok(object) => match verify(self.pin, key, place, &object) {
                Ok(record) => Ok(Ok(record)),
                Err(NOBODY) => Ok(Err(None)),
                Err(why) => Ok(Err(damaged(&why))),
            },
            Err(error) if error.is_object_fault() => Ok(Err(damaged(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// The last of a job's records that counts, and the damaged ones behind it.
    async fn last_of(
        self,
        (author, job): ([u8; 16], JobId),
        mut numbers: Vec<u32>,
    ) -> Result<(Option<JobRecord>, Vec<Damage>), VaultError> {
        numbers.sort_unstable();
        let mut damage = Vec::new();
        while let Some(number) = numbers.pop() {
            match self.read(Place { author, job, number }).await? {
                Ok(record) => return Ok((Some(record), damage)),
                Err(damaged) => damage.extend(damaged),
            }
        }
        Ok((None, damage))
    }
}

/// The credentials by which a job was done, if it was not done by a registered server.
#[must_use]
pub fn credentials_of(record: &JobRecord) -> Option<CredentialId> {
    CredentialId::try_from(record.credential_id.as_ref()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_proto::ids::VaultId;

    use super::*;

    #[test]
    fn a_record_counts_only_as_the_format_writes_it() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let pin = VaultPin {
            vault_id: VaultId([4; 16]),
            operator_key: SigningKey::from_bytes(&[9; 32]).verifying_key(),
        };
        let place = Place {
            author: [1; 16],
            job: JobId([5; 16]),
            number: 0,
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
                ..SignedJobRecord::default()
            };
            verify(&pin, Some(&key.verifying_key()), place, &signed.encode_to_vec())
        };
        assert_eq!(read(record.encode_to_vec()).unwrap(), record);
        let changed = |change: &dyn Fn(&mut JobRecord)| {
            let mut other = record.clone();
            change(&mut other);
            read(other.encode_to_vec())
        };
        let unknown = Err("its kind or state is unknown to this program");
        assert_eq!(changed(&|it| it.kind = 0), unknown);
        assert_eq!(changed(&|it| it.kind = 5), unknown);
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
        assert!(changed(&|it| it.credential_id = vec![6; 16].into()).is_err());
        let field = [&record.encode_to_vec()[..], &[0x80, 0x08, 1]].concat();
        assert_eq!(read(field), Err("it is not encoded as the format wants it"));
    }

    #[test]
    fn a_job_by_credentials_is_vouched_for_by_their_admission() {
        use crate::access::credentials::{Issue, OperatorKey};
        use crate::testing::{block_on, folder_store, now};
        use lockstone_proto::access::Region;
        let (_folder, store) = folder_store();
        let operator = OperatorKey::generate().unwrap();
        let issue = Issue {
            region: Region::Secondary,
            url: String::new(),
            secondary_url: None,
            tenant: None,
            now: now(),
            valid_days: 1,
        };
        let credentials = operator.issue(&issue).unwrap();
        let record = |number: u32, started_s: i64| JobRecord {
            version: 1,
            vault_id: operator.vault_id().0.to_vec().into(),
            server_id: vec![1; 16].into(),
            job_id: vec![5; 16].into(),
            number,
            kind: JobKind::Restore.into(),
            state: JobState::Running.into(),
            started_s,
            credential_id: credentials.id().0.to_vec().into(),
            ..JobRecord::default()
        };
        let pin = VaultPin {
            vault_id: operator.vault_id(),
            operator_key: operator.public(),
        };
        let write = |record: JobRecord| block_on(write_job(&store, &record, Author::Credentials(&credentials)));
        let list = |only| block_on(list_jobs(&store, &pin, &Servers::default(), only)).unwrap();
        write(record(0, now().as_second())).unwrap();
        write(record(3, now().as_second())).unwrap();
        assert_eq!(list(None).0, [record(3, now().as_second())]);
        assert_eq!(list(Some(ServerId([1; 16]))).0.len(), 1);
        assert!(list(Some(ServerId([2; 16]))).0.is_empty());
        // One that began after the credentials had expired is no record; the one before it counts.
        write(record(4, now().as_second() + 86_400)).unwrap();
        let (jobs, damage) = list(None);
        assert_eq!((jobs.len(), jobs[0].number, damage.len()), (1, 3, 1));
        let forged = JobRecord {
            credential_id: vec![7; 16].into(),
            ..record(5, now().as_second())
        };
        write(forged).unwrap();
        assert_eq!(list(None).1.len(), 2);
        // Another operator's vault does not believe any of it.
        let other = VaultPin {
            operator_key: OperatorKey::generate().unwrap().public(),
            ..pin
        };
        let (jobs, damage) = block_on(list_jobs(&store, &other, &Servers::default(), None)).unwrap();
        assert_eq!((jobs.len(), damage.len()), (0, 4));
    }
}
