//! The test vectors of `docs/vectors.json`: for whoever writes another reader, and so that no change of ours alters the
//! format unnoticed. What follows from keys alone is compared byte by byte. What zstd made is opened, not made again,
//! since another zstd may compress otherwise; the seals around it are compared all the same.
//!
//! `LOCKSTONE_WRITE_VECTORS=1` writes the file anew; its sealed parts may then differ by zstd's version only.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use lockstone_proto::access::{Admission, Region, Registration, SignedAdmission, SignedRegistration};
use lockstone_proto::ids::{DomainId, PackId, SegmentId, SlotId};
use lockstone_proto::vault::{
    ChunkKind, Codec, CommitBody, Consistency, Content, Entry, EntryKind, Frame, Hole, LogKind, LogRecord,
    PackDirectory, PointStatus, PointSummary, Segment, SignedEntry, Xattr,
};
use prost::Message;
use serde_json::{Value, json};

use lockstone_vault::crypto::keys::{Keys, MasterKey};
use lockstone_vault::crypto::slots::{self, Passphrase};
use lockstone_vault::pack::frame::{Compressor, Decompressor};
use lockstone_vault::pack::segment::decode_segment;
use lockstone_vault::pack::{FramePosition, PackSeal, padme, verify_frame};
use lockstone_vault::testing::vectors::{
    fixed_other_slots, fixed_slot, pack_key, page_end, sealed, segment_key, segment_object, subkeys,
};
use lockstone_vault::tree::content::ContentWriter;
use lockstone_vault::tree::{FolderWriter, NewPage, decode_page};

const DOMAIN: DomainId = DomainId(*b"lockstone domain");
const PACK: PackId = PackId([0xab; 32]);
const SEGMENT: SegmentId = SegmentId([0xcd; 32]);
const PASSPHRASE: &str = "correct horse battery staple";
const MASTER: [u8; 32] = *b"a master key of exactly 32 bytes";

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors.json"))
}

fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes(MASTER), DOMAIN)
}

/// The chunks of two frames: one that compresses well beside a short one, and one that does not compress.
fn frames() -> [Vec<Vec<u8>>; 2] {
    let mut noise = vec![0; 300];
    blake3::Hasher::new()
        .update(b"lockstone vectors")
        .finalize_xof()
        .fill(&mut noise);
    [vec![b"0123456789".repeat(500), b"a short chunk".to_vec()], vec![noise]]
}

fn entries(keys: &Keys) -> Vec<Entry> {
    let id = |raw: &[u8]| keys.chunk_id(ChunkKind::Data, raw).0;
    let [text, noise] = frames();
    let ids = [id(&text[0]), id(&text[1]), id(&noise[0])].concat();
    let lens: Vec<u64> = [&text[0], &text[1], &noise[0]].map(|chunk| chunk.len() as u64).to_vec();
    let base = Entry {
        mode: 0o755,
        uid: 1000,
        gid: 1000,
        mtime_s: -2,
        mtime_ns: 999_999_999,
        ..Entry::default()
    };
    // The text (5,000 bytes), a hole, the short chunk (13), the noise (300), and a hole up to 10,000.
    let holes = vec![
        Hole {
            offset: 5000,
            len: 4096,
        },
        Hole { offset: 9409, len: 591 },
    ];
    let content = Content {
        level: 0,
        ids: ids.into(),
        lens,
        holes,
    };
    let file = Entry {
        name: Bytes::from_static(b"a file"),
        kind: EntryKind::File.into(),
        mode: 0o4755,
        user: Bytes::from_static(b"someone"),
        group: Bytes::from_static(b"people"),
        ctime_s: 1_800_000_000,
        inode: 12,
        device: 2049,
        links: 2,
        size: 10_000,
        flags: 0x40,
        xattrs: vec![Xattr {
            name: Bytes::from_static(b"user.note"),
            value: Bytes::from_static(b"\0\xff"),
        }],
        content: Some(content),
        ..base.clone()
    };
    let link = Entry {
        name: Bytes::from_static(b"b link \xff"),
        kind: EntryKind::Symlink.into(),
        link_target: Bytes::from_static(b"../elsewhere"),
        ..base.clone()
    };
    let device = Entry {
        name: Bytes::from_static(b"c device"),
        kind: EntryKind::BlockDevice.into(),
        rdev_major: 8,
        rdev_minor: 1,
        ..base.clone()
    };
    let folder = Entry {
        name: Bytes::from_static(b"d empty folder"),
        kind: EntryKind::Folder.into(),
        implied: true,
        ..base
    };
    vec![file, link, device, folder]
}

fn page(keys: &Keys) -> NewPage {
    let mut writer = FolderWriter::new(Arc::new(keys.clone()));
    let mut out = Vec::new();
    for entry in entries(keys) {
        writer.push(&entry, &mut out).unwrap();
    }
    writer.finish(&mut out).unwrap().unwrap();
    out.pop().unwrap()
}

/// A file of 5,000 chunks of one byte: two lists below a third.
fn nested(keys: &Keys) -> (Content, Vec<NewPage>) {
    let mut writer = ContentWriter::new(Arc::new(keys.clone()));
    let mut out = Vec::new();
    for n in 0..5000_u32 {
        writer
            .chunk(&keys.chunk_id(ChunkKind::Data, &n.to_le_bytes()), 1, &mut out)
            .unwrap();
    }
    (writer.finish(&mut out).unwrap().unwrap(), out)
}

fn ordered_page_ends(keys: &Keys) -> Vec<Value> {
    ["a", "a file", "zebra"]
        .iter()
        .flat_map(|name| {
            [0, 1].map(|level| {
                json!({
                    "level": level, "name": name, "end": page_end(keys, level, name.as_bytes()),
                })
            })
        })
        .collect()
}

/// The vectors, with these payloads (as `Codec` and bytes) in the pack's frames.
fn build(payloads: &[(Codec, Vec<u8>)], segment_object: &[u8]) -> Value {
    let keys = keys();
    let seal = PackSeal::for_id(&keys, PACK, ChunkKind::Data);
    let mut object = seal.header().to_vec();
    let mut directory = PackDirectory::default();
    let mut shown = Vec::new();
    for (ordinal, (chunks, (codec, payload))) in frames().iter().zip(payloads).enumerate() {
        let raw = chunks.concat();
        let mut sealed = payload.clone();
        let at = FramePosition {
            ordinal: ordinal as u32,
            raw_len: raw.len() as u32,
            codec: *codec,
        };
        seal.seal_frame(at, &mut sealed).unwrap();
        object.extend_from_slice(&sealed);
        shown.push(json!({
            "ordinal": ordinal, "codec": *codec as i32, "raw": hex::encode(&raw), "payload": hex::encode(payload),
            "sealed": hex::encode(&sealed),
            "chunks": chunks.iter().map(|chunk| json!({
                "len": chunk.len(), "id": keys.chunk_id(ChunkKind::Data, chunk).hex(),
            })).collect::<Vec<_>>(),
        }));
        directory.frames.push(Frame {
            sealed_len: sealed.len() as u32,
            raw_len: raw.len() as u32,
            codec: (*codec).into(),
            chunk_ids: chunks
                .iter()
                .flat_map(|c| keys.chunk_id(ChunkKind::Data, c).0)
                .collect::<Vec<_>>()
                .into(),
            chunk_lens: chunks.iter().map(|chunk| chunk.len() as u32).collect(),
        });
    }
    let frames_end = object.len();
    object.extend(seal.seal_directory(&directory, frames_end as u64).unwrap());

    let slot = fixed_slot(&MasterKey::from_bytes(MASTER), PASSPHRASE, DOMAIN);
    let (machine, recovery) = fixed_other_slots(&MasterKey::from_bytes(MASTER), DOMAIN);
    let page = page(&keys);
    let (content, lists) = nested(&keys);
    json!({
        "format": 1,
        "master_key": hex::encode(MASTER),
        "domain_id": DOMAIN.hex(),
        "subkeys": subkeys(&keys).iter().map(|(name, key)| ((*name).to_owned(), Value::from(hex::encode(key)))).collect::<serde_json::Map<_, _>>(),
        "gear_table": {
            "first": keys.chunker_table()[..4].iter().map(|n| format!("{n:016x}")).collect::<Vec<_>>(),
            "last": format!("{:016x}", keys.chunker_table()[255]),
            "blake3": blake3::hash(&keys.chunker_table().iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>()).to_hex().as_str(),
        },
        "chunk_ids": ([b"".as_slice(), b"a short chunk"]).map(|raw| json!({
            "raw": hex::encode(raw),
            "data": keys.chunk_id(ChunkKind::Data, raw).hex(),
            "tree": keys.chunk_id(ChunkKind::Tree, raw).hex(),
        })),
        "padme": ([0, 1, 9, 100, 1000, 65_537, 33_554_433_u64, 100_000_000]).map(|len| json!([len, padme(len)])),
        "slots": {
            "passphrase": { "secret": PASSPHRASE, "object": hex::encode(slots::encode_slot(&slot)) },
            "machine": { "secret": hex::encode([0x77; 32]), "object": hex::encode(slots::encode_slot(&machine)) },
            "recovery": { "secret": recovery.1.as_str(), "object": hex::encode(slots::encode_slot(&recovery.0)) },
        },
        "pack": {
            "id": PACK.hex(), "kind": ChunkKind::Data as i32,
            "key": hex::encode(pack_key(&keys, PACK.as_bytes()).0),
            "commitment": hex::encode(pack_key(&keys, PACK.as_bytes()).1),
            "frames": shown, "directory": hex::encode(directory.encode_to_vec()), "frames_end": frames_end,
            "object": hex::encode(&object),
        },
        "segment": {
            "id": SEGMENT.hex(),
            "key": hex::encode(segment_key(&keys, SEGMENT.as_bytes()).0),
            "commitment": hex::encode(segment_key(&keys, SEGMENT.as_bytes()).1),
            "raw": hex::encode(segment(object.len() as u64, directory).encode_to_vec()),
            "object": hex::encode(segment_object),
        },
        "page": { "id": page.id.hex(), "raw": hex::encode(&page.raw), "names": entries(&keys).iter().map(|e| hex::encode(&e.name)).collect::<Vec<_>>() },
        "page_ends": ordered_page_ends(&keys),
        "log_entry": log_entry(&keys, page.id.as_bytes()),
        "registration": registration(),
        "content": {
            "chunks": "5000 chunks of one byte; the id of chunk n is that of the data chunk whose plaintext is n as u32 LE",
            "top": hex::encode(content.encode_to_vec()),
            "lists": lists.iter().map(|list| json!({ "id": list.id.hex(), "blake3_of_raw": blake3::hash(&list.raw).to_hex().as_str(), "len": list.raw.len() })).collect::<Vec<_>>(),
        },
    })
}

/// The key pairs of an operator, an admission and a server: Ed25519 seeds of one byte, 32 times.
fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn sign(key: &SigningKey, context: &str, message: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&key.sign(&[context.as_bytes(), message].concat()).to_bytes())
}

/// A Commit as the first entry of a log.
fn log_entry(keys: &Keys, root: &[u8; 32]) -> Value {
    let body = CommitBody {
        segment_ids: vec![Bytes::copy_from_slice(SEGMENT.as_bytes())],
        root: Bytes::copy_from_slice(root),
        sources: vec![Bytes::from_static(b"/srv/data")],
        ..CommitBody::default()
    };
    let summary = PointSummary {
        point_id: vec![0x33; 16].into(),
        started_s: 1_800_000_000,
        started_ns: 5,
        status: PointStatus::Completed.into(),
        consistency: Consistency::Snapshot.into(),
        files: 1,
        tags: vec!["daily".to_owned()],
        ..PointSummary::default()
    };
    let mut record = LogRecord {
        version: 1,
        domain_id: Bytes::copy_from_slice(DOMAIN.as_bytes()),
        n: 1,
        previous: vec![0; 32].into(),
        time_s: 1_800_000_001,
        server_id: vec![0x99; 16].into(),
        nonce: vec![0x44; 16].into(),
        kind: LogKind::Commit.into(),
        point: Some(summary),
        ..LogRecord::default()
    };
    let (_, log) = subkeys(keys).into_iter().find(|(name, _)| *name == "log").unwrap();
    let mut material = log.to_vec();
    material.extend_from_slice(&record.n.to_le_bytes());
    material.extend_from_slice(&record.nonce);
    let key = blake3::derive_key("lockstone v1 log body", &material);
    record.sealed = sealed(&key, &record.encode_to_vec(), &body.encode_to_vec()).into();
    let record = record.encode_to_vec();
    let signature = sign(&signer(0x03), "lockstone v1 log entry\0", &record);
    let object = SignedEntry {
        record: record.into(),
        signature,
    }
    .encode_to_vec();
    json!({
        "n": 1, "body_key": hex::encode(key), "body": hex::encode(body.encode_to_vec()),
        "server_key": hex::encode(signer(0x03).verifying_key().as_bytes()), "object": hex::encode(&object),
        "hash": blake3::hash(&object).to_hex().as_str(),
    })
}

/// The registration of the server that signed the log entry.
fn registration() -> Value {
    let public = |seed| Bytes::copy_from_slice(signer(seed).verifying_key().as_bytes());
    let admission = Admission {
        version: 1,
        vault_id: vec![0x11; 16].into(),
        credential_id: vec![0x22; 16].into(),
        admission_key: public(0x02),
        region: Region::Primary.into(),
        issued_s: 1_799_999_000,
        expires_s: 1_800_863_000,
        tenant: "Café".to_owned(),
        least_version: "0.1.0".to_owned(),
    }
    .encode_to_vec();
    let registration = Registration {
        version: 1,
        vault_id: vec![0x11; 16].into(),
        server_id: vec![0x99; 16].into(),
        name: "web-1".to_owned(),
        domain_id: Bytes::copy_from_slice(DOMAIN.as_bytes()),
        signing_key: public(0x03),
        registered_s: 1_799_999_500,
        machine: vec![0x66; 16].into(),
    }
    .encode_to_vec();
    let object = SignedRegistration {
        admission_signature: sign(&signer(0x02), "lockstone v1 registration\0", &registration),
        server_signature: sign(&signer(0x03), "lockstone v1 registration\0", &registration),
        registration: registration.into(),
        admission: Some(SignedAdmission {
            signature: sign(&signer(0x01), "lockstone v1 admission\0", &admission),
            admission: admission.into(),
        }),
    };
    json!({
        "vault_id": hex::encode([0x11; 16]), "server_id": hex::encode([0x99; 16]), "name": "web-1",
        "operator_key": hex::encode(signer(0x01).verifying_key().as_bytes()),
        "object": hex::encode(object.encode_to_vec()),
    })
}

fn segment(pack_len: u64, directory: PackDirectory) -> Segment {
    Segment {
        packs: vec![PackSeal::for_id(&keys(), PACK, ChunkKind::Data).entry(directory, pack_len)],
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn write() {
    let payloads: Vec<_> = frames()
        .iter()
        .map(|chunks| {
            let mut payload = Vec::new();
            let codec = Compressor::new(3)
                .unwrap()
                .compress(&chunks.concat(), &mut payload)
                .unwrap();
            (codec, payload)
        })
        .collect();
    let draft = build(&payloads, &[]);
    let segment = Segment::decode(bytes(&draft["segment"]["raw"]).as_slice()).unwrap();
    let object = segment_object(&keys(), SEGMENT, &segment);
    let text = serde_json::to_string_pretty(&build(&payloads, &object)).unwrap();
    std::fs::write(path(), text + "\n").unwrap();
}

#[test]
fn the_format_is_what_its_vectors_say() {
    if std::env::var_os("LOCKSTONE_WRITE_VECTORS").is_some() {
        write();
    }
    let stored: Value = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    let payloads: Vec<_> = stored["pack"]["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            (
                Codec::try_from(f["codec"].as_i64().unwrap() as i32).unwrap(),
                bytes(&f["payload"]),
            )
        })
        .collect();
    assert_eq!(
        payloads.iter().map(|(codec, _)| *codec).collect::<Vec<_>>(),
        [Codec::Zstd, Codec::Stored]
    );
    let built = build(&payloads, &bytes(&stored["segment"]["object"]));
    for (name, value) in built.as_object().unwrap() {
        assert_eq!(value, &stored[name], "{name}");
    }
    assert_eq!(built.as_object().unwrap().len(), stored.as_object().unwrap().len());
}

#[test]
fn the_vectors_open() {
    let stored: Value = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    let keys = keys();
    let passphrase = Passphrase::new(PASSPHRASE.to_owned()).unwrap();
    let slot = slots::decode_slot(
        DOMAIN,
        SlotId([0x51; 16]),
        &bytes(&stored["slots"]["passphrase"]["object"]),
    )
    .unwrap();
    let master = slots::unwrap_with_passphrase(&slot, &passphrase).unwrap();
    assert_eq!(master.as_bytes(), bytes(&stored["master_key"]).as_slice());

    let object = bytes(&stored["pack"]["object"]);
    let seal = PackSeal::from_header(&keys, &object).unwrap();
    let frames_end = stored["pack"]["frames_end"].as_u64().unwrap();
    let directory = seal
        .open_directory(&object[frames_end as usize..object.len() - 4], frames_end)
        .unwrap();
    for (ordinal, (frame, shown)) in directory
        .frames
        .iter()
        .zip(stored["pack"]["frames"].as_array().unwrap())
        .enumerate()
    {
        let (mut sealed, mut raw) = (bytes(&shown["sealed"]), Vec::new());
        let codec = Codec::try_from(frame.codec).unwrap();
        let at = FramePosition {
            ordinal: ordinal as u32,
            raw_len: frame.raw_len,
            codec,
        };
        seal.open_frame(at, &mut sealed).unwrap();
        Decompressor::new()
            .unwrap()
            .decompress(codec, &sealed, frame.raw_len as usize, &mut raw)
            .unwrap();
        assert_eq!(raw, bytes(&shown["raw"]));
        verify_frame(&keys, ChunkKind::Data, &raw, frame).unwrap();
    }
    let segment = decode_segment(&keys, SEGMENT, &bytes(&stored["segment"]["object"])).unwrap();
    assert_eq!(segment.encode_to_vec(), bytes(&stored["segment"]["raw"]));
    assert_eq!(
        decode_page(bytes(&stored["page"]["raw"]).into()).unwrap().entries,
        entries(&keys)
    );
}
