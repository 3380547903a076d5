//! Log entries: a chain with every kind, and what must be refused.

use bytes::Bytes;
use lockstone_proto::vault::{
    CommitBody, CondemnBody, Entry, FoldBody, ForgetBody, HoldBody, LogRecord, PointSummary, RepackBody, RepairBody,
    SegmentsBody, SignedEntry,
};
use prost::Message;
use serde_json::json;

use lockstone_vault::testing::vectors::{sealed, subkeys};

use super::{Cases, DOMAIN, SERVER, keys, sign, with};

const CONTEXT: &str = "lockstone v1 log entry\0";

pub(crate) fn summary() -> PointSummary {
    PointSummary {
        point_id: vec![0x33; 16].into(),
        started_s: 1_800_000_000,
        status: 1,
        consistency: 1,
        tags: vec!["daily".to_owned()],
        ..PointSummary::default()
    }
}

pub(crate) fn record(n: u64, previous: [u8; 32], kind: i32) -> LogRecord {
    LogRecord {
        version: 1,
        domain_id: Bytes::copy_from_slice(DOMAIN.as_bytes()),
        n,
        previous: previous.to_vec().into(),
        time_s: 1_800_000_000 + n as i64,
        server_id: Bytes::copy_from_slice(SERVER.as_bytes()),
        nonce: vec![0x44; 16].into(),
        kind,
        point: (kind == 2).then(summary),
        points: if matches!(kind, 3 | 4 | 8 | 9) {
            vec![vec![0x33; 16].into()]
        } else {
            vec![]
        },
        ..LogRecord::default()
    }
}

pub(crate) fn object(mut record: LogRecord, body: &[u8]) -> Vec<u8> {
    let keys = keys();
    let (_, log) = subkeys(&keys).into_iter().find(|(name, _)| *name == "log").unwrap();
    let material = [&log[..], &record.n.to_le_bytes(), &record.nonce].concat();
    let key = blake3::derive_key("lockstone v1 log body", &material);
    record.sealed = sealed(&key, &record.encode_to_vec(), body).into();
    let record = Bytes::from(record.encode_to_vec());
    let signature = sign(3, CONTEXT, &record);
    SignedEntry { record, signature }.encode_to_vec()
}

pub(crate) fn commit() -> CommitBody {
    CommitBody {
        segment_ids: vec![vec![0xcd; 32].into()],
        root: vec![7; 32].into(),
        sources: vec![Bytes::from_static(b"/srv/data")],
        index_position: 1,
        parents: vec![vec![0x32; 16].into()],
        warnings: 3,
        root_folder: Some(Entry {
            kind: 2,
            mode: 0o755,
            ..Entry::default()
        }),
        ..CommitBody::default()
    }
}

fn hold(reason: &str, until_s: i64) -> Vec<u8> {
    let reason = reason.to_owned();
    HoldBody { reason, until_s }.encode_to_vec()
}

fn repair(positions: Vec<u64>) -> RepairBody {
    let ids = |byte: u8| vec![Bytes::from(vec![byte; 32])];
    RepairBody {
        segment_ids: ids(0xcf),
        lost_segment_ids: ids(0xcd),
        positions,
        bad_pack_ids: ids(0xab),
        whole_pack_ids: ids(0xac),
        unneeded_pack_ids: ids(0xad),
    }
}

/// Repairs that say something impossible.
pub(crate) fn repairs(cases: &mut Cases) {
    let mut add = |why: &str, body: &RepairBody| {
        let record = with(first(10), |it| it.points = vec![]);
        refuse(cases, why, &object(record, &body.encode_to_vec()));
    };
    add("a Repair that says that its own position is lost", &repair(vec![2]));
    add("a Repair that says that position 0 is lost", &repair(vec![0]));
    type Spoil = (&'static str, fn(&mut RepairBody));
    let spoil: [Spoil; 2] = [
        ("a Repair with a segment's id of 31 bytes", |body| {
            body.lost_segment_ids = vec![vec![1; 31].into()];
        }),
        ("a Repair with a pack's id of 33 bytes", |body| {
            body.bad_pack_ids = vec![vec![1; 33].into()];
        }),
    ];
    for (why, spoil) in spoil {
        let mut body = repair(vec![1]);
        spoil(&mut body);
        add(why, &body);
    }
}

/// One entry of every kind, each behind the other.
pub(crate) fn chain(cases: &mut Cases) {
    let ids = |byte: u8| vec![Bytes::from(vec![byte; 32])];
    let bodies = [
        ("Segments", 1, SegmentsBody { segment_ids: ids(0xcd) }.encode_to_vec()),
        ("Commit", 2, commit().encode_to_vec()),
        ("Forget", 3, vec![]),
        ("Restore", 4, vec![]),
        (
            "Condemn",
            5,
            CondemnBody {
                pack_ids: ids(0xab),
                delete_after_s: 1_800_000_000,
            }
            .encode_to_vec(),
        ),
        (
            "Repack",
            6,
            RepackBody {
                old_pack_ids: ids(0xab),
                segment_ids: ids(0xce),
                delete_after_s: 1_800_000_000,
            }
            .encode_to_vec(),
        ),
        (
            "Fold",
            7,
            FoldBody {
                through: 6,
                segment_ids: ids(0xcd),
                ..FoldBody::default()
            }
            .encode_to_vec(),
        ),
        ("Forget by hand", 3, ForgetBody { reason: 1 }.encode_to_vec()),
        (
            "Forget because protection was stopped",
            3,
            ForgetBody { reason: 3 }.encode_to_vec(),
        ),
        ("Hold", 8, hold("a lawsuit", 0)),
        ("Hold until a date", 8, hold("an audit", 1_900_000_000)),
        ("Hold with a reason of 1,024 bytes", 8, hold(&"x".repeat(1024), 0)),
        ("Release", 9, vec![]),
        ("Condemn that names a point as gone", 5, vec![]),
        ("Repair", 10, repair(vec![1, 13]).encode_to_vec()),
        ("Repair that says nothing", 10, vec![]),
    ];
    let mut previous = [0; 32];
    for (n, (name, kind, body)) in (1..).zip(&bodies) {
        let mut record = record(n, previous, *kind);
        if name.ends_with("a point as gone") {
            record.points = vec![vec![9; 16].into()];
        }
        let object = object(record, body);
        let more = json!({ "n": n, "previous": hex::encode(previous), "body": hex::encode(body) });
        cases.add("log entry", true, name, &object, more);
        previous = *blake3::hash(&object).as_bytes();
    }
}

/// Entries that delete and hold points, and say something impossible.
pub(crate) fn holds(cases: &mut Cases) {
    let mut add = |why: &str, object: Vec<u8>| refuse(cases, why, &object);
    add("a Forget with an unknown reason", object(first(3), &[8, 4]));
    add("a Forget with an unknown field", object(first(3), &[8, 1, 16, 1]));
    add("a Restore with a body", object(first(4), &[8, 1]));
    add(
        "a Hold that names no point",
        object(with(first(8), |it| it.points = vec![]), &hold("why", 0)),
    );
    add("a Hold without a reason", object(first(8), &hold("", 0)));
    add(
        "a Hold with a reason of 1,025 bytes",
        object(first(8), &hold(&"x".repeat(1025), 0)),
    );
    add(
        "a Hold until after the year 9999",
        object(first(8), &hold("why", 253_402_207_201)),
    );
    add(
        "a Release that names no point",
        object(with(first(9), |it| it.points = vec![]), &[]),
    );
    add("a Release with a body", object(first(9), &[8, 1]));
}

fn first(kind: i32) -> LogRecord {
    record(2, [5; 32], kind)
}

fn segments() -> Vec<u8> {
    let segment_ids = vec![vec![0xcd; 32].into()];
    SegmentsBody { segment_ids }.encode_to_vec()
}

fn refuse(cases: &mut Cases, why: &str, object: &[u8]) {
    let more = json!({ "n": 2, "previous": hex::encode([5; 32]) });
    cases.add("log entry", false, why, object, more);
}

/// Records that must be refused.
pub(crate) fn records(cases: &mut Cases) {
    let good = commit().encode_to_vec();
    let more = json!({ "n": 2, "previous": hex::encode([5; 32]), "body": hex::encode(&good) });
    cases.add(
        "log entry",
        true,
        "the Commit that the refused ones differ from",
        &object(first(2), &good),
        more,
    );
    let mut add = |why: &str, object: Vec<u8>| refuse(cases, why, &object);
    add("another entry before it", object(record(2, [6; 32], 2), &good));
    add("another number", object(record(3, [5; 32], 2), &good));
    add("version 0", object(with(first(2), |it| it.version = 0), &good));
    add(
        "another domain",
        object(with(first(2), |it| it.domain_id = vec![0; 16].into()), &good),
    );
    add("kind 0", object(first(0), &good));
    add("kind 11", object(first(11), &good));
    add("kind 100", object(first(100), &good));
    add(
        "a link of 31 bytes",
        object(with(first(2), |it| it.previous = vec![5; 31].into()), &good),
    );
    add(
        "another server, which is not registered",
        object(with(first(2), |it| it.server_id = vec![0x98; 16].into()), &good),
    );
    add(
        "a time behind the year 9999",
        object(with(first(2), |it| it.time_s = 253_402_300_800), &good),
    );
    add(
        "a point's id of 15 bytes",
        object(with(first(3), |it| it.points = vec![vec![0x33; 15].into()]), &[]),
    );
    add(
        "a Commit that forgets points",
        object(with(first(2), |it| it.points = vec![vec![0x33; 16].into()]), &good),
    );
    add(
        "a short nonce",
        object(with(first(2), |it| it.nonce = vec![4; 15].into()), &good),
    );
    add(
        "a billion nanoseconds",
        object(with(first(2), |it| it.time_ns = 1_000_000_000), &good),
    );
    add(
        "a Commit without point",
        object(with(first(2), |it| it.point = None), &good),
    );
    add(
        "a Forget that names no point",
        object(with(first(3), |it| it.points = vec![]), &[]),
    );
    add(
        "a Segments entry with a point",
        object(with(first(1), |it| it.point = Some(summary())), &segments()),
    );
    add(
        "status 3",
        object(
            with(first(2), |it| it.point = Some(with(summary(), |it| it.status = 3))),
            &good,
        ),
    );
    add(
        "consistency 3",
        object(
            with(first(2), |it| it.point = Some(with(summary(), |it| it.consistency = 3))),
            &good,
        ),
    );
    add(
        "no consistency",
        object(
            with(first(2), |it| it.point = Some(with(summary(), |it| it.consistency = 0))),
            &good,
        ),
    );
    let tags = vec![String::new(); 33];
    add(
        "33 tags",
        object(
            LogRecord {
                point: Some(PointSummary { tags, ..summary() }),
                ..first(2)
            },
            &good,
        ),
    );
}

/// Signatures, and what is not canonical.
pub(crate) fn signatures(cases: &mut Cases) {
    let mut add = |why: &str, object: Vec<u8>| refuse(cases, why, &object);
    let whole = object(first(2), &commit().encode_to_vec());
    add("a field behind the signature", [&whole[..], &[0x18, 1]].concat());
    let signed = SignedEntry::decode(&whole[..]).unwrap();
    let resign = |record: Vec<u8>| {
        let signature = sign(3, CONTEXT, &record);
        SignedEntry {
            record: record.into(),
            signature,
        }
        .encode_to_vec()
    };
    add(
        "a record with an unknown field",
        resign([&signed.record[..], &[0x80, 0x08, 1]].concat()),
    );
    add(
        "another server's signature",
        with(signed.clone(), |it| it.signature = sign(2, CONTEXT, &signed.record)).encode_to_vec(),
    );
    let mut broken = LogRecord::decode(signed.record).unwrap();
    broken.sealed = vec![0; broken.sealed.len()].into();
    add("a body that does not open", resign(broken.encode_to_vec()));
}

/// Entries that only a newer program understands. A reader says so and stops, because what they say of the entries
/// around them is not known. What is not signed, or does not open, stops nobody.
pub(crate) fn newer(cases: &mut Cases) {
    let mut add = |stops: bool, why: &str, object: &[u8]| {
        let more = json!({ "n": 2, "previous": hex::encode([5; 32]), "stops": stops });
        cases.add("log entry", false, why, object, more);
    };
    let good = commit().encode_to_vec();
    let words = |words: &[&str]| LogRecord {
        needs: words.iter().map(|word| (*word).to_owned()).collect(),
        ..first(2)
    };
    let newer = with(first(2), |it| it.version = 2);
    add(true, "version 2", &object(newer.clone(), &good));
    add(true, "a word in needs", &object(words(&["shards"]), &good));
    add(true, "an empty word in needs", &object(words(&[""]), &good));
    let odd = [&good[..], &[0x40, 1]].concat();
    add(
        true,
        "a word in needs, and a body with an unknown field 8",
        &object(words(&["shards"]), &odd),
    );
    let signed = SignedEntry::decode(&object(newer, &good)[..]).unwrap();
    let record = Bytes::from([&signed.record[..], &[0x70, 1]].concat());
    let signature = sign(3, CONTEXT, &record);
    add(
        true,
        "version 2 with an unknown field 14",
        &SignedEntry { record, signature }.encode_to_vec(),
    );
    let forged = with(signed, |it| it.signature = sign(2, CONTEXT, &it.record));
    add(
        false,
        "version 2 with another server's signature",
        &forged.encode_to_vec(),
    );
    add(false, "65 words in needs", &object(words(&["shards"; 65]), &good));
    let mut shut = words(&["shards"]);
    shut.sealed = vec![0; 48].into();
    let record = Bytes::from(shut.encode_to_vec());
    let signature = sign(3, CONTEXT, &record);
    add(
        false,
        "a word in needs, and a body that does not open",
        &SignedEntry { record, signature }.encode_to_vec(),
    );
}

/// Bodies that must be refused.
pub(crate) fn bodies(cases: &mut Cases) {
    let mut add = |why: &str, object: Vec<u8>| refuse(cases, why, &object);
    let good = commit().encode_to_vec();
    add(
        "a body with an unknown field 8",
        object(first(2), &[&good[..], &[0x40, 1]].concat()),
    );
    add(
        "a body that is not canonical",
        object(first(1), &[&segments()[..], &[0x08, 0]].concat()),
    );
    add("no segment", object(first(1), &[]));
    let parents = vec![vec![1; 15].into()];
    add(
        "a parent's id of 15 bytes",
        object(first(2), &CommitBody { parents, ..commit() }.encode_to_vec()),
    );
    let pack_ids = vec![vec![1; 31].into()];
    let condemn = CondemnBody {
        pack_ids,
        delete_after_s: 0,
    };
    add("a pack's id of 31 bytes", object(first(5), &condemn.encode_to_vec()));
    add(
        "a segment's id of 31 bytes",
        object(
            first(1),
            &SegmentsBody {
                segment_ids: vec![vec![1; 31].into()],
            }
            .encode_to_vec(),
        ),
    );
    let body = |change: &dyn Fn(&mut CommitBody)| {
        let mut body = commit();
        change(&mut body);
        object(first(2), &body.encode_to_vec())
    };
    add("a root of 31 bytes", body(&|body| body.root = vec![1; 31].into()));
    add("read from itself", body(&|body| body.index_position = 2));
    add(
        "a root folder with a name",
        body(&|body| body.root_folder.as_mut().unwrap().name = Bytes::from_static(b"a")),
    );
    add(
        "a root folder that is a file",
        body(&|body| body.root_folder.as_mut().unwrap().kind = 1),
    );
    add(
        "a root folder that is implied",
        body(&|body| body.root_folder.as_mut().unwrap().implied = true),
    );
    add(
        "a Fold of itself",
        object(
            first(7),
            &with(FoldBody::default(), |it| it.through = 2).encode_to_vec(),
        ),
    );
}
