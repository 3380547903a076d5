//! One log entry: from bytes to entry and back, and all rules that decide whether an entry is believed. Pure functions.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use jiff::Timestamp;
use lockstone_proto::ids::{ChunkId, DomainId, PackId, PointId, SegmentId, ServerId};
use lockstone_proto::limits::{FORMAT_VERSION, LOG_ENTRY_MAX};
use lockstone_proto::vault::{
    CommitBody, CondemnBody, Consistency, FoldBody, ForgetBody, ForgetReason, HoldBody, LogKind, LogRecord,
    PointStatus, PointSummary, ReleaseBody, RepackBody, RepairBody, RestoreBody, SegmentsBody, SignedEntry,
};
use prost::Message;
use zeroize::Zeroizing;

use super::{Body, Entry, IDS_MAX, LogHead, SOURCES_MAX, TAGS_MAX, TEXT_MAX};
use crate::access::features::{WORDS_MAX, unknown};
use crate::access::registration::Servers;
use crate::bounds::{Malformed, each_field, has_more_than};
use crate::canonical;
use crate::crypto::keys::Keys;
use crate::crypto::seal::SealKey;
use crate::error::VaultError;
use crate::store::names;
use crate::tree::check_root_folder;

const CONTEXT: &[u8] = b"lockstone v1 log entry\0";
const BODY_KEY_CONTEXT: &str = "lockstone v1 log body";
pub(crate) const NONCE_LEN: usize = 16;

/// Why an object is not a valid log entry for its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogBroken {
    /// It is not an entry, or not encoded as the format prescribes.
    #[error("it is not a log entry: {0}")]
    Malformed(&'static str),
    /// It was signed by a server that has no known registration in the domain.
    #[error("it was written by server {0}, which has no valid registration in this domain")]
    UnknownServer(ServerId),
    /// The signature is not that of the server it names.
    #[error("the signature of server {0} does not fit")]
    Signature(ServerId),
    /// It is a signed entry of a newer format.
    #[error("its format {0} is newer than this program reads")]
    Version(u32),
    /// It is a signed entry that a reader must understand more for.
    #[error("it needs `{0}`, which this program does not know")]
    Needs(String),
    /// It is an entry of another position or domain.
    #[error("it belongs elsewhere: {0}")]
    Misplaced(&'static str),
    /// It does not continue the entry before it.
    #[error("it does not continue the entry before it")]
    Chain,
    /// The body does not open.
    #[error("the seal of its body is broken")]
    Sealed,
    /// Its content breaks the rules.
    #[error("what it says is impossible: {0}")]
    Body(&'static str),
}

impl LogBroken {
    /// The error, if the entry is whole but a newer program wrote it. Then nothing is read past it.
    pub(crate) fn newer(&self, domain: DomainId, n: u64) -> Option<VaultError> {
        let object = names::log_entry(domain, n);
        match self {
            Self::Version(found) => Some(VaultError::NewerFormat {
                object,
                found: *found,
                known: FORMAT_VERSION,
            }),
            Self::Needs(word) => Some(VaultError::NewerFeature {
                object,
                word: word.clone(),
            }),
            _ => None,
        }
    }
}

impl From<Malformed> for LogBroken {
    fn from(_: Malformed) -> Self {
        Self::Malformed("it cannot be decoded")
    }
}

/// An entry as the operator sees it: the body stays sealed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlainEntry {
    pub(crate) head: LogHead,
    pub(crate) previous: [u8; 32],
    pub(crate) server: ServerId,
    pub(crate) record: LogRecord,
    pub(crate) points: Vec<PointId>,
    nonce: [u8; NONCE_LEN],
}

/// Whether the object is the entry that was written with this nonce.
pub(crate) fn own_nonce(object: &Bytes, server: ServerId, nonce: &[u8; NONCE_LEN]) -> bool {
    SignedEntry::decode(object.clone())
        .and_then(|signed| LogRecord::decode(signed.record))
        .is_ok_and(|record| record.nonce == nonce.as_slice() && record.server_id == server.as_ref())
}

/// What an entry is made of, besides its place.
#[derive(Clone, Copy)]
pub(crate) struct EntryParts<'a> {
    /// The server that writes it, and its key.
    pub(crate) server: ServerId,
    pub(crate) key: &'a SigningKey,
    /// Random, and new for each attempt.
    pub(crate) nonce: &'a [u8; NONCE_LEN],
    pub(crate) now: Timestamp,
    pub(crate) body: &'a Body,
}

/// Makes the object of the entry after `previous`.
pub(crate) fn seal(keys: &Keys, previous: &LogHead, parts: EntryParts<'_>) -> Result<Bytes, LogBroken> {
    let object = seal_with(keys, previous, parts, Vec::new())?;
    // Nothing is written that a reader would refuse.
    PlainEntry::read(keys.domain(), previous.n + 1, &object, None)?.open(keys)?;
    Ok(object)
}

/// The same, of an entry that asks its readers to know these words.
pub(crate) fn seal_with(
    keys: &Keys,
    previous: &LogHead,
    parts: EntryParts<'_>,
    needs: Vec<String>,
) -> Result<Bytes, LogBroken> {
    let EntryParts {
        server,
        key,
        nonce,
        now,
        body,
    } = parts;
    let (kind, point, points, mut sealed) = match body {
        Body::Segments(ids) => (
            LogKind::Segments,
            None,
            &[][..],
            SegmentsBody {
                segment_ids: bytes_of(ids),
            }
            .encode_to_vec(),
        ),
        Body::Commit(summary, body) => (
            LogKind::Commit,
            Some((**summary).clone()),
            &[][..],
            body.encode_to_vec(),
        ),
        Body::Forget(points, reason) => (
            LogKind::Forget,
            None,
            points.as_slice(),
            ForgetBody {
                reason: (*reason).into(),
            }
            .encode_to_vec(),
        ),
        Body::Restore(points) => (
            LogKind::Restore,
            None,
            points.as_slice(),
            RestoreBody {}.encode_to_vec(),
        ),
        Body::Condemn(points, body) => (LogKind::Condemn, None, points.as_slice(), body.encode_to_vec()),
        Body::Repack(body) => (LogKind::Repack, None, &[][..], body.encode_to_vec()),
        Body::Fold(body) => (LogKind::Fold, None, &[][..], body.encode_to_vec()),
        Body::Hold(points, body) => (LogKind::Hold, None, points.as_slice(), body.encode_to_vec()),
        Body::Release(points) => (
            LogKind::Release,
            None,
            points.as_slice(),
            ReleaseBody {}.encode_to_vec(),
        ),
        Body::Repair(points, body) => (LogKind::Repair, None, points.as_slice(), body.encode_to_vec()),
    };
    let n = previous.n + 1;
    let mut record = LogRecord {
        version: FORMAT_VERSION,
        domain_id: Bytes::copy_from_slice(keys.domain().as_bytes()),
        n,
        previous: Bytes::copy_from_slice(&previous.hash),
        time_s: now.as_second(),
        time_ns: u32::try_from(now.subsec_nanosecond()).unwrap_or_default(),
        server_id: Bytes::copy_from_slice(server.as_bytes()),
        nonce: Bytes::copy_from_slice(nonce),
        kind: kind.into(),
        point,
        points: bytes_of(points),
        needs,
        sealed: Bytes::new(),
    };
    let aad = record.encode_to_vec();
    body_key(keys, n, nonce)
        .seal_in_place(0, &aad, &mut sealed)
        .map_err(|_| LogBroken::Sealed)?;
    record.sealed = sealed.into();
    let record = Bytes::from(record.encode_to_vec());
    let signature = Bytes::copy_from_slice(&key.sign(&[CONTEXT, &record].concat()).to_bytes());
    Ok(SignedEntry { record, signature }.encode_to_vec().into())
}

fn bytes_of<T: AsRef<[u8]>>(ids: &[T]) -> Vec<Bytes> {
    ids.iter().map(|id| Bytes::copy_from_slice(id.as_ref())).collect()
}

fn body_key(keys: &Keys, n: u64, nonce: &[u8; NONCE_LEN]) -> SealKey {
    let mut material = Zeroizing::new([0; 32 + 8 + NONCE_LEN]);
    material[..32].copy_from_slice(&keys.log);
    material[32..40].copy_from_slice(&n.to_le_bytes());
    material[40..].copy_from_slice(nonce);
    SealKey::new(&Zeroizing::new(blake3::derive_key(
        BODY_KEY_CONTEXT,
        material.as_slice(),
    )))
}

impl PlainEntry {
    /// Reads the object at position `n`, without looking at the entry before it. `servers` is `None` if the signature
    /// was checked before, as for entries in the local cache.
    pub(crate) fn read(domain: DomainId, n: u64, object: &Bytes, servers: Option<&Servers>) -> Result<Self, LogBroken> {
        if object.len() as u64 > LOG_ENTRY_MAX {
            return Err(LogBroken::Malformed("it is too long"));
        }
        let signed = SignedEntry::decode(object.clone()).map_err(Malformed::from)?;
        if signed.encoded_len() != object.len() || signed.encode_to_vec() != *object {
            return Err(LogBroken::Malformed("it is not encoded as the format wants it"));
        }
        check_counts(&signed.record)?;
        let record = LogRecord::decode(signed.record.clone()).map_err(Malformed::from)?;
        let server = ServerId::try_from(record.server_id.as_ref())
            .map_err(|_| LogBroken::Malformed("its server is not an id"))?;
        if let Some(servers) = servers {
            let known = servers.get(server).filter(|known| known.domain == domain);
            let known = known.ok_or(LogBroken::UnknownServer(server))?;
            let signature = Signature::from_slice(&signed.signature).map_err(|_| LogBroken::Signature(server))?;
            known
                .key
                .verify_strict(&[CONTEXT, &signed.record].concat(), &signature)
                .map_err(|_| LogBroken::Signature(server))?;
        }
        if record.version > FORMAT_VERSION {
            return Err(LogBroken::Version(record.version));
        }
        if record.encode_to_vec() != signed.record {
            return Err(LogBroken::Malformed("it is not encoded as the format wants it"));
        }
        if record.version != FORMAT_VERSION || record.domain_id != domain.as_ref() {
            return Err(LogBroken::Misplaced("another domain"));
        }
        if record.n != n {
            return Err(LogBroken::Misplaced("another position"));
        }
        let fixed = |bytes: &Bytes, what| bytes.as_ref().try_into().map_err(|_| LogBroken::Malformed(what));
        let previous = fixed(&record.previous, "the hash of the entry before has the wrong length")?;
        let nonce = <[u8; NONCE_LEN]>::try_from(record.nonce.as_ref())
            .map_err(|_| LogBroken::Malformed("its nonce has the wrong length"))?;
        if record.time_ns >= 1_000_000_000 || Timestamp::from_second(record.time_s).is_err() {
            return Err(LogBroken::Body("its time"));
        }
        let points = ids(&record.points, "a recovery point's id")?;
        let (wants_point, fits) = match record.kind() {
            // It names points if any lost something.
            LogKind::Repair => (false, true),
            LogKind::Unspecified => return Err(LogBroken::Body("its kind is unknown to this program")),
            LogKind::Commit => (true, points.is_empty()),
            LogKind::Forget | LogKind::Restore | LogKind::Hold | LogKind::Release => (false, !points.is_empty()),
            LogKind::Condemn => (false, true),
            LogKind::Segments | LogKind::Repack | LogKind::Fold => (false, points.is_empty()),
        };
        if record.point.is_some() != wants_point || !fits {
            return Err(LogBroken::Body(
                "it names recovery points where its kind has none, or none where it has",
            ));
        }
        if let Some(point) = &record.point {
            check_summary(point)?;
        }
        let head = LogHead {
            n,
            hash: *blake3::hash(object).as_bytes(),
        };
        Ok(Self {
            head,
            previous,
            server,
            record,
            points,
            nonce,
        })
    }

    /// Whether it names this place as the one before it.
    pub(crate) fn continues(&self, end: &LogHead) -> bool {
        self.head.n == end.n + 1 && (self.previous == end.hash || self.previous == [0; 32])
    }

    /// Opens the body and checks its content.
    pub(crate) fn open(self, keys: &Keys) -> Result<Entry, LogBroken> {
        let Self {
            head,
            previous,
            server,
            mut record,
            points,
            nonce,
        } = self;
        let mut body = std::mem::take(&mut record.sealed).to_vec();
        let aad = record.encode_to_vec();
        body_key(keys, head.n, &nonce)
            .open_in_place(0, &aad, &mut body)
            .map_err(|_| LogBroken::Sealed)?;
        // Only now it is clear that a holder of the domain's key asks for it.
        if let Some(word) = unknown(&record.needs) {
            return Err(LogBroken::Needs(word.clone()));
        }
        let body = Bytes::from(body);
        let body = match record.kind() {
            LogKind::Segments => {
                bounded(&body, &[(1, IDS_MAX)])?;
                let body = canonical::decode::<SegmentsBody>(body)?;
                let segments = ids(&body.segment_ids, "a segment's id")?;
                if segments.is_empty() {
                    return Err(LogBroken::Body("it names no segment"));
                }
                Body::Segments(segments)
            }
            LogKind::Commit => {
                bounded(&body, &[(1, IDS_MAX), (3, SOURCES_MAX), (5, SOURCES_MAX)])?;
                let body = canonical::decode::<CommitBody>(body)?;
                check_commit(&body, head.n)?;
                let summary = record.point.take().ok_or(LogBroken::Body("it has no summary"))?;
                Body::Commit(Box::new(summary), Box::new(body))
            }
            LogKind::Restore | LogKind::Release if !body.is_empty() => {
                return Err(LogBroken::Malformed("its body has fields, though its kind has none"));
            }
            LogKind::Forget => {
                let body = canonical::decode::<ForgetBody>(body)?;
                let reason = ForgetReason::try_from(body.reason)
                    .map_err(|_| LogBroken::Body("its reason is unknown to this program"))?;
                Body::Forget(points, reason)
            }
            LogKind::Restore => Body::Restore(points),
            LogKind::Hold => {
                let body = canonical::decode::<HoldBody>(body)?;
                let fits = (1..=TEXT_MAX).contains(&body.reason.len()) && Timestamp::from_second(body.until_s).is_ok();
                if !fits {
                    return Err(LogBroken::Body("its reason or its date"));
                }
                Body::Hold(points, body)
            }
            LogKind::Release => Body::Release(points),
            LogKind::Repair => Body::Repair(points, Box::new(open_repair(body, head.n)?)),
            LogKind::Condemn => {
                bounded(&body, &[(1, IDS_MAX)])?;
                let body = canonical::decode::<CondemnBody>(body)?;
                ids::<PackId>(&body.pack_ids, "a pack's id")?;
                Body::Condemn(points, body)
            }
            LogKind::Repack => {
                bounded(&body, &[(1, IDS_MAX), (2, IDS_MAX)])?;
                let body = canonical::decode::<RepackBody>(body)?;
                ids::<PackId>(&body.old_pack_ids, "a pack's id")?;
                ids::<SegmentId>(&body.segment_ids, "a segment's id")?;
                Body::Repack(body)
            }
            LogKind::Fold => {
                bounded(&body, &[(2, IDS_MAX), (3, IDS_MAX), (4, IDS_MAX)])?;
                let body = canonical::decode::<FoldBody>(body)?;
                if body.through >= head.n {
                    return Err(LogBroken::Body("it sums up what comes behind it"));
                }
                Body::Fold(Box::new(body))
            }
            LogKind::Unspecified => return Err(LogBroken::Body("its kind is unknown to this program")),
        };
        Ok(Entry {
            head,
            previous,
            time_s: record.time_s,
            time_ns: record.time_ns,
            server,
            body,
        })
    }
}

fn open_repair(body: Bytes, n: u64) -> Result<RepairBody, LogBroken> {
    bounded(&body, &[1, 2, 4, 5, 6].map(|field| (field, IDS_MAX)))?;
    let body = canonical::decode::<RepairBody>(body)?;
    for segments in [&body.segment_ids, &body.lost_segment_ids] {
        ids::<SegmentId>(segments, "a segment's id")?;
    }
    for packs in [&body.bad_pack_ids, &body.whole_pack_ids, &body.unneeded_pack_ids] {
        ids::<PackId>(packs, "a pack's id")?;
    }
    if body.positions.len() > IDS_MAX {
        return Err(LogBroken::Malformed("it lists more than the format allows"));
    }
    if body.positions.iter().any(|lost| *lost == 0 || *lost >= n) {
        return Err(LogBroken::Body("it says that what comes behind it is lost"));
    }
    Ok(body)
}

/// Refuses an encoded record with too many repeated parts, before it is decoded.
fn check_counts(record: &[u8]) -> Result<(), LogBroken> {
    bounded(record, &[(10, 1), (11, IDS_MAX), (12, WORDS_MAX)])?;
    each_field::<LogBroken>(record, 10, |summary| bounded(summary, &[(10, TAGS_MAX)]))
}

fn bounded(message: &[u8], limits: &[(u32, usize)]) -> Result<(), LogBroken> {
    for (tag, max) in limits {
        if has_more_than(message, *tag, *max)? {
            return Err(LogBroken::Malformed("it lists more than the format allows"));
        }
    }
    Ok(())
}

fn ids<T: for<'a> TryFrom<&'a [u8]>>(bytes: &[Bytes], what: &'static str) -> Result<Vec<T>, LogBroken> {
    if bytes.len() > IDS_MAX {
        return Err(LogBroken::Malformed("it lists more than the format allows"));
    }
    bytes
        .iter()
        .map(|id| T::try_from(id.as_ref()).map_err(|_| LogBroken::Body(what)))
        .collect()
}

fn check_summary(point: &PointSummary) -> Result<(), LogBroken> {
    PointId::try_from(point.point_id.as_ref()).map_err(|_| LogBroken::Body("a recovery point's id"))?;
    if point.status() == PointStatus::Unspecified {
        return Err(LogBroken::Body("its status is unknown to this program"));
    }
    if point.consistency() == Consistency::Unspecified {
        return Err(LogBroken::Body("its consistency is unknown to this program"));
    }
    let texts_fit = point.tags.len() <= TAGS_MAX
        && point
            .tags
            .iter()
            .chain([&point.label])
            .all(|text| text.len() <= TEXT_MAX);
    let times_fit = point.started_ns < 1_000_000_000
        && Timestamp::from_second(point.started_s).is_ok()
        && Timestamp::from_second(point.expires_s).is_ok();
    if texts_fit && times_fit {
        Ok(())
    } else {
        Err(LogBroken::Body("its tags, label or times"))
    }
}

fn check_commit(body: &CommitBody, n: u64) -> Result<(), LogBroken> {
    ids::<SegmentId>(&body.segment_ids, "a segment's id")?;
    ids::<PointId>(&body.parents, "a parent's id")?;
    if body.sources.len() > SOURCES_MAX || body.parents.len() > SOURCES_MAX {
        return Err(LogBroken::Body("it has too many sources or parents"));
    }
    // An empty source has no page.
    if !body.root.is_empty() && body.root.len() != ChunkId::LEN {
        return Err(LogBroken::Body("its root is not an id"));
    }
    if body.index_position >= n {
        return Err(LogBroken::Body("it was read from an entry that comes behind it"));
    }
    if body
        .root_folder
        .as_ref()
        .is_some_and(|folder| check_root_folder(folder).is_err())
    {
        return Err(LogBroken::Body("the attributes of its root folder"));
    }
    Ok(())
}
