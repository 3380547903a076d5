//! Tests of log entries: which entries are valid, and that no others are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use lockstone_proto::ids::DomainId;
use lockstone_proto::vault::{LogKind, LogRecord, SignedEntry};
use prost::Message;

use super::*;
use crate::access::registration::Servers;
use crate::crypto::keys::{Keys, MasterKey};
use crate::testing::{now, summary};

const DOMAIN: DomainId = DomainId([1; 16]);
const SERVER: ServerId = ServerId([2; 16]);

fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes([3; 32]), DOMAIN)
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

fn servers() -> Servers {
    let mut servers = Servers::default();
    servers.trust(SERVER, DOMAIN, key().verifying_key());
    servers
}

fn parts<'a>(key: &'a SigningKey, nonce: &'a [u8; 16], body: &'a Body) -> EntryParts<'a> {
    EntryParts {
        server: SERVER,
        key,
        nonce,
        now: now(),
        body,
    }
}

fn write(previous: &LogHead, nonce: u8, body: &Body) -> Bytes {
    seal(&keys(), previous, parts(&key(), &[nonce; 16], body)).unwrap()
}

fn follows(previous: &LogHead, plain: &PlainEntry) -> Result<(), LogBroken> {
    if plain.continues(previous) {
        Ok(())
    } else {
        Err(LogBroken::Chain)
    }
}

/// The entry in the object after `previous`, or why it is not valid. The rules are at the top of `log`.
fn validate_next(keys: &Keys, servers: &Servers, previous: &LogHead, object: &Bytes) -> Result<Entry, LogBroken> {
    let plain = PlainEntry::read(keys.domain(), previous.n + 1, object, Some(servers))?;
    follows(previous, &plain)?;
    plain.open(keys)
}

/// The same for the operator, who cannot open the body: its head and, of a Commit, its summary.
fn validate_plain(
    domain: DomainId,
    servers: &Servers,
    previous: &LogHead,
    object: &Bytes,
) -> Result<(LogHead, Option<PointSummary>), LogBroken> {
    let plain = PlainEntry::read(domain, previous.n + 1, object, Some(servers))?;
    follows(previous, &plain)?;
    Ok((plain.head, plain.record.point))
}

fn validate(previous: &LogHead, object: &Bytes) -> Result<Entry, LogBroken> {
    validate_next(&keys(), &servers(), previous, object)
}

/// Changes a record and signs it again, as a registered server that does not keep to the rules could.
fn resigned(object: &Bytes, change: impl FnOnce(&mut LogRecord)) -> Bytes {
    let mut signed = SignedEntry::decode(object.clone()).unwrap();
    let mut record = LogRecord::decode(signed.record).unwrap();
    change(&mut record);
    signed.record = record.encode_to_vec().into();
    let message = [b"lockstone v1 log entry\0".as_slice(), &signed.record].concat();
    signed.signature = Bytes::copy_from_slice(&key().sign(&message).to_bytes());
    signed.encode_to_vec().into()
}

fn commit(point: u8) -> Body {
    let body = CommitBody {
        segment_ids: vec![vec![6; 32].into()],
        root: vec![7; 32].into(),
        sources: vec![Bytes::from_static(b"/srv")],
        index_position: 0,
        parents: vec![vec![8; 16].into()],
        warnings: 3,
        root_folder: None,
        ..CommitBody::default()
    };
    Body::Commit(Box::new(summary(point)), Box::new(body))
}

fn bodies() -> Vec<Body> {
    vec![
        Body::Segments(vec![SegmentId([5; 32]), SegmentId([6; 32])]),
        commit(9),
        Body::Forget(vec![PointId([9; 16])], ForgetReason::ByPolicy),
        Body::Restore(vec![PointId([9; 16]), PointId([8; 16])]),
        Body::Condemn(
            vec![PointId([9; 16])],
            CondemnBody {
                pack_ids: vec![vec![1; 32].into()],
                delete_after_s: 77,
            },
        ),
        Body::Condemn(vec![], CondemnBody::default()),
        Body::Repack(RepackBody {
            old_pack_ids: vec![vec![1; 32].into()],
            segment_ids: vec![vec![2; 32].into()],
            delete_after_s: 78,
        }),
        Body::Fold(Box::new(FoldBody {
            through: 0,
            ..FoldBody::default()
        })),
        Body::Hold(vec![PointId([9; 16])], hold("a lawsuit", 1_900_000_000)),
        Body::Release(vec![PointId([9; 16])]),
        Body::Repair(vec![PointId([9; 16])], Box::new(repair())),
        Body::Repair(vec![], Box::default()),
    ]
}

fn repair() -> RepairBody {
    let ids = |n: u8| vec![vec![n; 32].into()];
    RepairBody {
        segment_ids: ids(1),
        lost_segment_ids: ids(2),
        positions: vec![1, 3],
        bad_pack_ids: ids(3),
        whole_pack_ids: ids(4),
        unneeded_pack_ids: ids(5),
    }
}

fn hold(reason: &str, until_s: i64) -> HoldBody {
    HoldBody {
        reason: reason.to_owned(),
        until_s,
    }
}

#[test]
fn a_chain_of_entries_of_every_kind_is_believed() {
    let mut head = LogHead::START;
    for (n, body) in bodies().into_iter().enumerate() {
        let object = write(&head, n as u8, &body);
        let entry = validate(&head, &object).unwrap();
        assert_eq!(entry.body, body);
        assert_eq!(
            (entry.head.n, entry.server, entry.time_s),
            (n as u64 + 1, SERVER, now().as_second())
        );
        let (plain, point) = validate_plain(DOMAIN, &servers(), &head, &object).unwrap();
        assert_eq!(plain, entry.head);
        assert_eq!(point.is_some(), matches!(body, Body::Commit(..)));
        head = entry.head;
    }
}

#[test]
fn any_changed_byte_or_length_of_an_entry_shows() {
    let previous = LogHead { n: 4, hash: [9; 32] };
    for body in bodies() {
        let object = write(&previous, 1, &body);
        for at in 0..object.len() {
            for bit in 0..8 {
                let mut changed = object.to_vec();
                changed[at] ^= 1 << bit;
                assert!(validate(&previous, &changed.into()).is_err(), "byte {at} bit {bit}");
            }
            assert!(validate(&previous, &object.slice(..at)).is_err());
        }
        let longer = [&object[..], &[0x18, 1]].concat();
        assert!(validate(&previous, &longer.into()).is_err());
    }
}

#[test]
fn entries_are_refused_anywhere_but_in_their_place() {
    let first = write(&LogHead::START, 1, &commit(1));
    let one = validate(&LogHead::START, &first).unwrap().head;
    let second = write(&one, 2, &commit(2));
    assert!(validate(&one, &second).is_ok());
    // Reordered, repeated, or after another first entry.
    assert!(matches!(
        validate(&LogHead::START, &second),
        Err(LogBroken::Misplaced(_))
    ));
    assert!(matches!(validate(&one, &first), Err(LogBroken::Misplaced(_))));
    let other = validate(&LogHead::START, &write(&LogHead::START, 3, &commit(1)))
        .unwrap()
        .head;
    assert_ne!(other, one);
    assert_eq!(validate(&other, &second), Err(LogBroken::Chain));
    // In another domain, with the same or another key.
    let elsewhere = Keys::derive(&MasterKey::from_bytes([3; 32]), DomainId([9; 16]));
    assert!(matches!(
        validate_next(&elsewhere, &servers(), &one, &second),
        Err(LogBroken::UnknownServer(SERVER))
    ));
    let other_key = Keys::derive(&MasterKey::from_bytes([4; 32]), DOMAIN);
    assert_eq!(
        validate_next(&other_key, &servers(), &one, &second),
        Err(LogBroken::Sealed)
    );
}

#[test]
fn only_a_registered_server_of_the_domain_writes() {
    let object = write(&LogHead::START, 1, &commit(1));
    let nobody = Servers::default();
    assert_eq!(
        validate_next(&keys(), &nobody, &LogHead::START, &object),
        Err(LogBroken::UnknownServer(SERVER))
    );
    let mut elsewhere = Servers::default();
    elsewhere.trust(SERVER, DomainId([7; 16]), key().verifying_key());
    assert_eq!(
        validate_next(&keys(), &elsewhere, &LogHead::START, &object),
        Err(LogBroken::UnknownServer(SERVER))
    );
    let stranger = SigningKey::from_bytes(&[5; 32]);
    let forged = seal(&keys(), &LogHead::START, parts(&stranger, &[1; 16], &commit(1))).unwrap();
    assert_eq!(validate(&LogHead::START, &forged), Err(LogBroken::Signature(SERVER)));
}

#[test]
fn an_entry_that_breaks_the_rules_is_refused_although_it_is_signed() {
    let object = write(&LogHead::START, 1, &commit(1));
    type Change = fn(&mut LogRecord);
    let changes: [(&str, Change); 13] = [
        ("a body of another nonce", |record| record.nonce = vec![2; 16].into()),
        ("a short nonce", |record| record.nonce = vec![2; 15].into()),
        ("another position", |record| record.n = 2),
        ("a summary that was changed", |record| {
            record.point.as_mut().unwrap().bytes += 1
        }),
        ("no summary", |record| record.point = None),
        ("points where there are none", |record| {
            record.points = vec![vec![1; 16].into()]
        }),
        ("another kind", |record| record.kind = LogKind::Segments.into()),
        ("an unknown kind", |record| record.kind = 99),
        ("an impossible time", |record| record.time_s = i64::MAX),
        ("an impossible fraction", |record| record.time_ns = 1_000_000_000),
        ("no body", |record| record.sealed = Bytes::new()),
        ("version 0", |record| record.version = 0),
        ("too many tags", |record| {
            record.point.as_mut().unwrap().tags = vec!["x".into(); TAGS_MAX + 1]
        }),
    ];
    for (what, change) in changes {
        assert!(validate(&LogHead::START, &resigned(&object, change)).is_err(), "{what}");
    }
    assert!(validate(&LogHead::START, &resigned(&object, |_| {})).is_ok());
    let newer = resigned(&object, |record| record.version = 2);
    assert_eq!(validate(&LogHead::START, &newer), Err(LogBroken::Version(2)));

    // The writer refuses to write such entries, too.
    for body in [
        Body::Segments(vec![]),
        Body::Forget(vec![], ForgetReason::ByHand),
        Body::Commit(Box::default(), Box::default()),
        Body::Commit(
            Box::new(summary(1)),
            Box::new(CommitBody {
                index_position: 1,
                ..CommitBody::default()
            }),
        ),
        Body::Fold(Box::new(FoldBody {
            through: 1,
            ..FoldBody::default()
        })),
        Body::Hold(vec![], hold("why", 0)),
        Body::Hold(vec![PointId([9; 16])], hold("", 0)),
        Body::Hold(vec![PointId([9; 16])], hold(&"x".repeat(TEXT_MAX + 1), 0)),
        Body::Release(vec![]),
        Body::Repair(vec![], Box::new(repair())),
    ] {
        assert!(seal(&keys(), &LogHead::START, parts(&key(), &[1; 16], &body)).is_err());
    }
}

#[test]
fn two_writers_of_one_position_never_share_a_key() {
    // The same body with two nonces. With equal keys the sealed bytes would be equal.
    let sealed = |nonce| {
        let signed = SignedEntry::decode(write(&LogHead::START, nonce, &commit(1))).unwrap();
        LogRecord::decode(signed.record).unwrap().sealed
    };
    assert_ne!(sealed(1), sealed(2));
    assert!(own_nonce(&write(&LogHead::START, 1, &commit(1)), SERVER, &[1; 16]));
    assert!(!own_nonce(&write(&LogHead::START, 1, &commit(1)), SERVER, &[2; 16]));
    assert!(!own_nonce(&Bytes::from_static(b"x"), SERVER, &[2; 16]));
}

#[test]
fn forgetting_and_its_undoing_are_summed_up() {
    let mut summed = Summed::default();
    let entry = |n: u64, body| Entry {
        head: LogHead { n, hash: [0; 32] },
        previous: [0; 32],
        time_s: 100 + n as i64,
        time_ns: 0,
        server: SERVER,
        body,
    };
    let id = |n: u8| PointId([n; 16]);
    summed.add(&entry(1, commit(1)));
    summed.add(&entry(2, commit(2)));
    summed.add(&entry(3, commit(1)));
    assert_eq!(summed.kept().count(), 2);
    summed.add(&entry(4, Body::Forget(vec![id(1), id(77)], ForgetReason::ByHand)));
    summed.add(&entry(5, Body::Forget(vec![id(1)], ForgetReason::ByHand)));
    assert_eq!(summed.point(&id(1)).unwrap().forgotten, Some(104));
    summed.add(&entry(6, Body::Condemn(vec![id(2)], CondemnBody::default())));
    assert_eq!(
        (summed.gone_at(&id(1)), summed.gone_at(&id(2)), summed.last_collected()),
        (None, None, 6)
    );
    summed.add(&entry(7, Body::Restore(vec![id(1)])));
    assert_eq!(summed.point(&id(1)).unwrap().forgotten, None);

    // A Forget before the Commit of its point has no effect.
    summed.add(&entry(8, Body::Forget(vec![id(9)], ForgetReason::ByHand)));
    summed.add(&entry(9, commit(9)));
    assert_eq!(summed.point(&id(9)).unwrap().forgotten, None);

    // Who forgot it and why is known, and is gone with the undoing.
    summed.add(&entry(10, Body::Forget(vec![id(9)], ForgetReason::ByPolicy)));
    let removal = Removal {
        server: SERVER,
        reason: ForgetReason::ByPolicy,
    };
    assert_eq!(summed.point(&id(9)).unwrap().removal, Some(removal));
    summed.add(&entry(11, Body::Restore(vec![id(9)])));
    assert_eq!(summed.point(&id(9)).unwrap().removal, None);
}

#[test]
fn a_held_point_is_not_forgotten() {
    let (mut summed, mut overview) = (Summed::default(), overview::Overview::default());
    let mut head = LogHead::START;
    let mut add = |body: Body| {
        let object = write(&head, head.n as u8, &body);
        let plain = PlainEntry::read(DOMAIN, head.n + 1, &object, Some(&servers())).unwrap();
        overview.add(&plain);
        let entry = plain.open(&keys()).unwrap();
        head = entry.head;
        summed.add(&entry);
        let seen = overview.clone().into_points();
        let point = summed.kept().next().unwrap().clone();
        // Who has no key sees the same, but for the reason.
        assert_eq!(
            (seen[0].forgotten, seen[0].held),
            (point.forgotten, point.hold.is_some())
        );
        point
    };
    let forget = || Body::Forget(vec![PointId([9; 16])], ForgetReason::ByHand);
    let held = |reason, until| Body::Hold(vec![PointId([9; 16])], hold(reason, until));
    add(commit(9));
    let point = add(held("a lawsuit", 0));
    let found = point.hold.clone().unwrap();
    assert_eq!(
        (&found.reason[..], found.until_s, found.server),
        ("a lawsuit", 0, SERVER)
    );
    assert!(add(forget()).forgotten.is_none());
    // The last Hold counts. One with a date has to be released as well, but does not count after it.
    let point = add(held("an audit", now().as_second() + 10));
    assert!(point.held(now()).is_some());
    assert!(point.held(now() + jiff::SignedDuration::from_secs(10)).is_none());
    assert!(add(forget()).forgotten.is_none());
    assert!(add(Body::Release(vec![PointId([9; 16])])).hold.is_none());
    assert!(add(forget()).forgotten.is_some());
    // What is forgotten cannot be held.
    assert!(add(held("too late", 0)).hold.is_none());
    assert!(add(Body::Restore(vec![PointId([9; 16])])).forgotten.is_none());
}
