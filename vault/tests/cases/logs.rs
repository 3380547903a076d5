//! Logs: which of their objects are entries, which are void, and which are lost.

use lockstone_proto::vault::SegmentsBody;
use prost::Message;
use serde_json::{Value, json};

use super::log::{object, record};
use super::with;

/// An entry at `n` that names that link.
fn entry(n: u64, previous: [u8; 32]) -> Vec<u8> {
    let segment_ids = vec![vec![n as u8; 32].into()];
    object(record(n, previous, 1), &SegmentsBody { segment_ids }.encode_to_vec())
}

fn hash(object: &[u8]) -> [u8; 32] {
    *blake3::hash(object).as_bytes()
}

fn void(before: [u8; 32], object: &[u8]) -> [u8; 32] {
    hash(&[&b"lockstone v1 void\0"[..], &before, &hash(object)].concat())
}

/// A log, what each position is, the last position and its link, and whether nothing is lost.
fn log(why: &str, objects: &[Option<&[u8]>], are: &[&str], end: (u64, [u8; 32]), whole: bool) -> Value {
    let objects: Vec<Option<String>> = objects.iter().map(|object| object.map(hex::encode)).collect();
    json!({ "why": why, "objects": objects, "are": are, "end": end.0, "link": hex::encode(end.1), "whole": whole })
}

/// An object that is no entry.
const JUNK: &[u8] = b"no entry";

pub(crate) fn logs() -> Vec<Value> {
    let first = &entry(1, [0; 32])[..];
    let after = hash(first);
    let second = &entry(2, after)[..];
    let third = &entry(3, hash(second))[..];
    let behind_void = &entry(3, void(after, JUNK))[..];
    let behind_two = &entry(4, void(void(after, JUNK), b""))[..];
    let blind = &entry(3, [0; 32])[..];
    let unknown_kind = &object(with(record(2, after, 1), |it| it.kind = 11), &[])[..];
    let behind_kind = &entry(3, void(after, unknown_kind))[..];
    let from_void = &entry(2, void([0; 32], JUNK))[..];
    let (entry, lost) = ("entry", "lost");
    vec![
        log("nothing", &[], &[], (0, [0; 32]), true),
        log(
            "an unbroken chain",
            &[Some(first), Some(second), Some(third)],
            &[entry; 3],
            (3, hash(third)),
            true,
        ),
        log(
            "a void object, whose link the next entry names",
            &[Some(first), Some(JUNK), Some(behind_void)],
            &[entry, "void", entry],
            (3, hash(behind_void)),
            true,
        ),
        log(
            "two void objects, the second of no bytes",
            &[Some(first), Some(JUNK), Some(b""), Some(behind_two)],
            &[entry, "void", "void", entry],
            (4, hash(behind_two)),
            true,
        ),
        log(
            "an entry of an unknown kind is void",
            &[Some(first), Some(unknown_kind), Some(behind_kind)],
            &[entry, "void", entry],
            (3, hash(behind_kind)),
            true,
        ),
        log(
            "a void object at 1",
            &[Some(JUNK), Some(from_void)],
            &["void", entry],
            (2, hash(from_void)),
            true,
        ),
        log(
            "a void object at the end",
            &[Some(first), Some(JUNK)],
            &[entry, "void"],
            (2, void(after, JUNK)),
            true,
        ),
        log(
            "another object where an entry stood",
            &[Some(first), Some(JUNK), Some(third)],
            &[entry, lost, entry],
            (3, hash(third)),
            false,
        ),
        log(
            "a writer that could not read the object before its entry",
            &[Some(first), Some(JUNK), Some(blind)],
            &[entry, lost, entry],
            (3, hash(blind)),
            false,
        ),
        log(
            "zeros fit any entry",
            &[Some(first), Some(second), Some(blind)],
            &[entry; 3],
            (3, hash(blind)),
            true,
        ),
        log(
            "a missing entry",
            &[Some(first), None, Some(third)],
            &[entry, lost, entry],
            (3, hash(third)),
            false,
        ),
        log(
            "no entry behind the first missing one",
            &[Some(first), None, Some(JUNK)],
            &[entry, "beyond", "beyond"],
            (1, after),
            true,
        ),
        log(
            "an entry that names another one than the one before it",
            &[Some(first), Some(second), Some(behind_void)],
            &[entry; 3],
            (3, hash(behind_void)),
            false,
        ),
    ]
}
