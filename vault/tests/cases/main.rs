//! The cases of `docs/cases.json`: objects and messages that every reader must accept, and above all those that it must
//! refuse, each with the reason. Another reader runs the same file.
//!
//! `LOCKSTONE_WRITE_VECTORS=1` writes the file anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod log;
mod messages;
mod objects;
mod registrations;

use std::path::PathBuf;

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use lockstone_proto::ids::{DomainId, PackId, SegmentId, ServerId, SlotId, VaultId};
use lockstone_proto::vault::Codec;
use serde_json::{Value, json};

use lockstone_vault::access::descriptor::Descriptor;
use lockstone_vault::access::registration::{self, Server};
use lockstone_vault::crypto::keys::{Keys, MasterKey};
use lockstone_vault::crypto::slots;
use lockstone_vault::pack::PackSeal;
use lockstone_vault::pack::frame::Decompressor;
use lockstone_vault::pack::segment::decode_segment;
use lockstone_vault::testing::vectors::read_log_entry;
use lockstone_vault::tree::content::decode_content;
use lockstone_vault::tree::decode_page;

const DOMAIN: DomainId = DomainId(*b"lockstone domain");
const PACK: PackId = PackId([0xab; 32]);
const SEGMENT: SegmentId = SegmentId([0xcd; 32]);
const VAULT: VaultId = VaultId([0x11; 16]);
const SERVER: ServerId = ServerId([0x99; 16]);
const MASTER: [u8; 32] = *b"a master key of exactly 32 bytes";
/// A point of order 4: its encoding as a public key.
const SMALL_ORDER: [u8; 32] = [0; 32];

fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes(MASTER), DOMAIN)
}

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> Bytes {
    Bytes::copy_from_slice(signer(seed).verifying_key().as_bytes())
}

fn sign(seed: u8, context: &str, message: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&signer(seed).sign(&[context.as_bytes(), message].concat()).to_bytes())
}

/// The cases collected so far.
#[derive(Default)]
struct Cases(Vec<Value>);

impl Cases {
    fn add(&mut self, what: &str, accepted: bool, why: &str, bytes: &[u8], more: Value) {
        let mut case = json!({ "what": what, "accepted": accepted, "why": why, "bytes": hex::encode(bytes) });
        if let (Value::Object(case), Value::Object(more)) = (&mut case, more) {
            case.extend(more);
        }
        self.0.push(case);
    }
}

/// `value`, changed.
fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

/// A file of 3 MiB that anyone can make, and where writers cut it.
fn cuts() -> Value {
    let mut data = vec![0; 3 << 20];
    blake3::Hasher::new()
        .update(b"lockstone cuts")
        .finalize_xof()
        .fill(&mut data);
    let (keys, mut lens, mut start) = (keys(), Vec::new(), 0);
    while start < data.len() {
        let left = &data[start..];
        let (mut hash, mut len) = (0_u64, left.len().min(4 << 20));
        for (at, byte) in left.iter().enumerate().take(4 << 20).skip((256 << 10) - 64) {
            hash = (hash << 1).wrapping_add(keys.chunker_table()[usize::from(*byte)]);
            if at + 1 >= 256 << 10 && hash >> 44 == 0 {
                len = at + 1;
                break;
            }
        }
        lens.push(len);
        start += len;
    }
    json!({ "data": "the first 3,145,728 bytes of the output stream of BLAKE3 hash(\"lockstone cuts\")", "lens": lens })
}

fn build() -> Value {
    let mut cases = Cases::default();
    messages::pages(&mut cases);
    messages::entries(&mut cases);
    messages::kinds(&mut cases);
    messages::lists(&mut cases);
    objects::zstd(&mut cases);
    objects::slots_of(&mut cases);
    objects::headers(&mut cases);
    objects::segments(&mut cases);
    log::chain(&mut cases);
    log::records(&mut cases);
    log::bodies(&mut cases);
    registrations::registrations(&mut cases);
    json!({
        "format": 1, "master_key": hex::encode(MASTER), "domain_id": DOMAIN.hex(), "vault_id": VAULT.hex(),
        "server_id": SERVER.hex(), "operator_key": hex::encode(public(1)), "server_key": hex::encode(public(3)),
        "chunk_cuts": cuts(), "cases": cases.0,
    })
}

fn is_accepted(case: &Value) -> bool {
    let (keys, raw) = (keys(), hex::decode(case["bytes"].as_str().unwrap()).unwrap());
    let number = |name: &str| case[name].as_u64().unwrap();
    match case["what"].as_str().unwrap() {
        "page" => decode_page(raw.into()).is_ok(),
        "content" => decode_content(raw.into(), number("level") as u32, number("base"), number("len")).is_ok(),
        "zstd" => {
            let mut out = vec![0; number("raw_len") as usize];
            Decompressor::new()
                .unwrap()
                .decompress_into(Codec::Zstd, &raw, &mut out)
                .is_ok()
        }
        "slot" => slots::decode_slot(DOMAIN, SlotId([0x51; 16]), &raw).is_ok(),
        "pack header" => PackSeal::from_header(&keys, &raw).is_ok(),
        "segment" => decode_segment(&keys, SEGMENT, &raw).is_ok(),
        "registration" => registration::verify(VAULT, &signer(1).verifying_key(), SERVER, &raw).is_ok(),
        "descriptor" => Descriptor::parse(&raw).is_ok(),
        "log entry" => {
            let mut previous = [0; 32];
            hex::decode_to_slice(case["previous"].as_str().unwrap(), &mut previous).unwrap();
            let server = Server {
                id: SERVER,
                name: String::new(),
                domain: DOMAIN,
                key: signer(3).verifying_key(),
                registered: jiff::Timestamp::UNIX_EPOCH,
            };
            read_log_entry(&keys, number("n"), previous, &raw.into(), server).is_ok()
        }
        other => panic!("cases of {other} are not known"),
    }
}

#[test]
fn what_must_be_refused_is_refused_and_nothing_else() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cases.json"));
    let built = build();
    if std::env::var_os("LOCKSTONE_WRITE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&built).unwrap() + "\n").unwrap();
    }
    let stored: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(built == stored, "docs/cases.json is not what the format says");
    let wrong: Vec<_> = stored["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| is_accepted(case) != case["accepted"].as_bool().unwrap())
        .map(|case| format!("{}: {}", case["what"], case["why"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
