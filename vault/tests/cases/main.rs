//! The cases of `docs/cases.json`: objects and messages that every reader must accept, and above all those that it must
//! refuse, each with the reason. Another reader runs the same file.
//!
//! `LOCKSTONE_WRITE_VECTORS=1` writes the file anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod descriptors;
mod jobs;
mod log;
mod logs;
mod messages;
mod objects;
mod orders;
mod registrations;
mod secrets;

use std::path::PathBuf;

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use lockstone_proto::ids::{CredentialId, DomainId, PackId, SegmentId, ServerId, SlotId, VaultId};
use lockstone_proto::vault::Codec;
use serde_json::{Value, json};

use lockstone_vault::access::credentials::VaultCredentials;
use lockstone_vault::access::descriptor::Descriptor;
use lockstone_vault::access::orders::{self as ordered, Refused};
use lockstone_vault::access::registration::{self, Server};
use lockstone_vault::crypto::keys::{Keys, MasterKey};
use lockstone_vault::crypto::slots::{self, Passphrase};
use lockstone_vault::error::VaultError;
use lockstone_vault::log::LogBroken;
use lockstone_vault::pack::PackSeal;
use lockstone_vault::pack::frame::Decompressor;
use lockstone_vault::pack::segment::decode_segment;
use lockstone_vault::testing::vectors::{cut_files, may_write, read_log_entry, walk_log};
use lockstone_vault::tree::content::decode_content;
use lockstone_vault::tree::{check_child, decode_page};

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

/// Files that anyone can make, and where writers cut them, by the rule as the page says it.
fn cuts() -> Vec<Value> {
    let table = keys().chunker_table();
    let cut = |data: &[u8]| {
        let (mut lens, mut start) = (Vec::new(), 0);
        while start < data.len() {
            let left = &data[start..];
            let (mut hash, mut len) = (0_u64, left.len().min(4 << 20));
            for (at, byte) in left.iter().enumerate().take(4 << 20).skip((256 << 10) - 64) {
                hash = (hash << 1).wrapping_add(table[usize::from(*byte)]);
                if at + 1 >= 256 << 10 && hash >> 44 == 0 {
                    len = at + 1;
                    break;
                }
            }
            lens.push(len);
            start += len;
        }
        lens
    };
    let files = cut_files().into_iter();
    files
        .map(|(name, data)| json!({ "data": name, "size": data.len(), "lens": cut(&data) }))
        .collect()
}

fn build() -> Value {
    let mut cases = Cases::default();
    messages::pages(&mut cases);
    messages::entries(&mut cases);
    messages::kinds(&mut cases);
    messages::lists(&mut cases);
    messages::places(&mut cases);
    messages::children(&mut cases);
    objects::zstd(&mut cases);
    objects::slots_of(&mut cases);
    secrets::secrets(&mut cases);
    objects::headers(&mut cases);
    objects::segments(&mut cases);
    descriptors::descriptors(&mut cases);
    log::chain(&mut cases);
    log::records(&mut cases);
    log::holds(&mut cases);
    log::repairs(&mut cases);
    log::signatures(&mut cases);
    log::newer(&mut cases);
    log::bodies(&mut cases);
    registrations::registrations(&mut cases);
    jobs::records(&mut cases);
    jobs::by_credentials(&mut cases);
    jobs::files(&mut cases);
    orders::orders(&mut cases);
    json!({
        "format": 1, "master_key": hex::encode(MASTER), "domain_id": DOMAIN.hex(), "vault_id": VAULT.hex(),
        "server_id": SERVER.hex(), "operator_key": hex::encode(public(1)), "server_key": hex::encode(public(3)),
        "chunk_cuts": cuts(), "cases": cases.0, "logs": logs::logs(),
    })
}

fn server() -> Server {
    Server {
        id: SERVER,
        name: String::new(),
        domain: DOMAIN,
        key: signer(3).verifying_key(),
        registered: jiff::Timestamp::UNIX_EPOCH,
        credentials: CredentialId::default(),
        machine: None,
    }
}

/// Whether it is accepted and, if not, whether the reader says that it is too old, and stops.
fn decided(case: &Value) -> (bool, bool) {
    let (keys, raw) = (keys(), hex::decode(case["bytes"].as_str().unwrap()).unwrap());
    let number = |name: &str| case[name].as_u64().unwrap();
    let accepted = match case["what"].as_str().unwrap() {
        "page" => decode_page(raw.into()).is_ok(),
        "child" => {
            let parent = hex::decode(case["parent"].as_str().unwrap()).unwrap();
            let (parent, child) = (decode_page(parent.into()).unwrap(), decode_page(raw.into()).unwrap());
            check_child(&parent, number("index") as usize, &child).is_ok()
        }
        "content" => decode_content(raw.into(), number("level") as u32, number("base"), number("len")).is_ok(),
        "zstd" => {
            let mut out = vec![0; number("raw_len") as usize];
            let mut zstd = Decompressor::new().unwrap();
            zstd.decompress_into(Codec::Zstd, &raw, &mut out).is_ok()
        }
        "slot" => slots::decode_slot(DOMAIN, SlotId([0x51; 16]), &raw).is_ok(),
        "secret" => {
            let mut id = [0; 16];
            hex::decode_to_slice(case["id"].as_str().unwrap(), &mut id).unwrap();
            let slot = slots::decode_slot(DOMAIN, SlotId(id), &raw).unwrap();
            let text = case["secret"].as_str().unwrap();
            let opened = match case["kind"].as_u64().unwrap() {
                1 => slots::unwrap_with_passphrase(&slot, &Passphrase::new(text.to_owned()).unwrap()),
                2 => slots::unwrap_with_machine(&slot, &hex::decode(text).unwrap().try_into().unwrap()),
                _ => slots::unwrap_with_recovery(&slot, text),
            };
            opened.is_ok()
        }
        "pack header" => PackSeal::from_header(&keys, &raw).is_ok(),
        "segment" => decode_segment(&keys, SEGMENT, &raw).is_ok(),
        "registration" => registration::verify(VAULT, &signer(1).verifying_key(), SERVER, &raw).is_ok(),
        "job record" => jobs::is_accepted(&server(), case, &raw),
        "credentials" => VaultCredentials::parse(&String::from_utf8(raw).unwrap()).is_ok(),
        "order" => match ordered::verify(VAULT, &signer(1).verifying_key(), number("n"), &raw) {
            Ok(_) => true,
            Err(Refused::Broken(_)) => false,
            Err(Refused::Newer(_) | Refused::UnknownKind(_)) => return (false, true),
        },
        "descriptor" => match Descriptor::parse(&raw) {
            Ok(descriptor) => may_write(&descriptor) == case["writable"].as_bool().unwrap(),
            Err(error) => {
                let stops = matches!(error, VaultError::NewerFormat { .. } | VaultError::NewerFeature { .. });
                return (false, stops);
            }
        },
        "log entry" => {
            let mut previous = [0; 32];
            hex::decode_to_slice(case["previous"].as_str().unwrap(), &mut previous).unwrap();
            match read_log_entry(&keys, number("n"), previous, &raw.into(), server()) {
                Ok(_) => true,
                Err(why) => return (false, matches!(why, LogBroken::Version(_) | LogBroken::Needs(_))),
            }
        }
        other => panic!("cases of {other} are not known"),
    };
    (accepted, false)
}

/// What the program makes of a log of `logs`.
fn walked(log: &Value) -> Value {
    let objects = log["objects"].as_array().unwrap().iter();
    let objects: Vec<Option<Bytes>> = objects
        .map(|object| object.as_str().map(|hex| hex::decode(hex).unwrap().into()))
        .collect();
    let walked = walk_log(&keys(), server(), &objects);
    json!({ "are": walked.are, "end": walked.end, "link": hex::encode(walked.link), "whole": walked.whole })
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
    let mut wrong: Vec<String> = Vec::new();
    for case in stored["cases"].as_array().unwrap() {
        let found = decided(case);
        if found != (case["accepted"] == true, case["stops"] == true) {
            wrong.push(format!("{}: {} {found:?}", case["what"], case["why"]));
        }
    }
    for log in stored["logs"].as_array().unwrap() {
        let found = walked(log);
        if ["are", "end", "link", "whole"]
            .iter()
            .any(|field| found[field] != log[field])
        {
            wrong.push(format!("log: {} {found}", log["why"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
