//! The insides that the test vectors of `docs/vectors.json` are made of: objects whose every byte is known, and
//! subkeys.

use bytes::Bytes;
use lockstone_proto::ids::{DomainId, JobId, SegmentId};
use lockstone_proto::job::JobRecord;
use lockstone_proto::limits::FORMAT_VERSION;
use lockstone_proto::vault::{KeySlot, Segment, SlotKind};
use zeroize::Zeroizing;

use crate::access::descriptor::Descriptor;
use crate::access::job_records::{self, Place};
use crate::access::registration::{Server, Servers, VaultPin};
use crate::crypto::keys::{Keys, MasterKey, ObjectKey};
use crate::crypto::seal::SealKey;
use crate::crypto::slots::{KdfParams, Passphrase, print_recovery, stretch, wrap};
use crate::log::{Before, Body, Chain, LogBroken, PlainEntry, Skipped};

/// Argon2 parameters that cost next to nothing.
pub const CHEAP: KdfParams = KdfParams {
    memory_kib: 32,
    passes: 1,
    lanes: 2,
};

/// A slot whose every byte is known, for the test vectors.
pub fn fixed_slot(master: &MasterKey, passphrase: &str, domain: DomainId) -> KeySlot {
    let slot = KeySlot {
        version: FORMAT_VERSION,
        slot_id: Bytes::copy_from_slice(&[0x51; 16]),
        domain_id: Bytes::copy_from_slice(domain.as_bytes()),
        kind: SlotKind::Passphrase.into(),
        salt: Bytes::copy_from_slice(&[0x5a; 32]),
        argon_memory_kib: CHEAP.memory_kib,
        argon_passes: CHEAP.passes,
        argon_lanes: CHEAP.lanes,
        created_s: 1_800_000_000,
        ..KeySlot::default()
    };
    let secret = stretch(&slot, &Passphrase::new(passphrase.to_owned()).unwrap()).unwrap();
    wrap(slot, master, &secret).unwrap()
}

/// A machine slot (secret: 32 bytes 0x77) and a recovery slot, whose every byte is known, for the test vectors.
pub fn fixed_other_slots(master: &MasterKey, domain: DomainId) -> (KeySlot, (KeySlot, Zeroizing<String>)) {
    let blank = |kind: SlotKind, id: u8| KeySlot {
        version: FORMAT_VERSION,
        slot_id: Bytes::copy_from_slice(&[id; 16]),
        domain_id: Bytes::copy_from_slice(domain.as_bytes()),
        kind: kind.into(),
        salt: Bytes::copy_from_slice(&[id + 1; 32]),
        created_s: 1_800_000_000,
        ..KeySlot::default()
    };
    let machine = KeySlot {
        server_id: Bytes::copy_from_slice(&[0x99; 16]),
        ..blank(SlotKind::Machine, 0x61)
    };
    let machine = wrap(machine, master, &[0x77; 32]).unwrap();
    let recovery = wrap(blank(SlotKind::Recovery, 0x71), master, &[0x88; 32]).unwrap();
    (machine, (recovery, print_recovery(&[0x88; 32])))
}

/// Every subkey of a domain, by its name in the vectors.
#[must_use]
pub fn subkeys(keys: &Keys) -> [(&'static str, &[u8; 32]); 8] {
    keys.named()
}

/// The key and the commitment of a pack.
#[must_use]
pub fn pack_key(keys: &Keys, id: &[u8; 32]) -> ([u8; 32], [u8; 32]) {
    parts(&keys.pack_key(id))
}

/// The key and the commitment of a segment.
#[must_use]
pub fn segment_key(keys: &Keys, id: &[u8; 32]) -> ([u8; 32], [u8; 32]) {
    parts(&keys.segment_key(id))
}

fn parts(object: &ObjectKey) -> ([u8; 32], [u8; 32]) {
    (*object.key, object.commitment)
}

/// The number that decides whether a page ends behind the item of that name.
#[must_use]
pub fn page_end(keys: &Keys, level: u32, name: &[u8]) -> u32 {
    keys.page_end(level, name)
}

/// A segment's object under the id given.
#[must_use]
pub fn segment_object(keys: &Keys, id: SegmentId, segment: &Segment) -> Vec<u8> {
    crate::pack::segment::encode_segment_as(keys, id, segment).unwrap()
}

/// `plain`, sealed under nonce 0.
#[must_use]
pub fn sealed(key: &[u8; 32], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    SealKey::new(key).seal_in_place(0, aad, &mut sealed).unwrap();
    sealed
}

/// Reads a log entry as a reader does: the server's key is known, and the position before it has the link `previous`.
pub fn read_log_entry(
    keys: &Keys,
    n: u64,
    previous: [u8; 32],
    object: &Bytes,
    server: Server,
) -> Result<Body, LogBroken> {
    let mut servers = Servers::default();
    servers.insert(server);
    let plain = PlainEntry::read(keys.domain(), n, object, Some(&servers))?;
    if plain.previous != previous {
        return Err(LogBroken::Chain);
    }
    plain.open(keys).map(|entry| entry.body)
}

/// Reads the object `jobs/<author>/<job>/<number>` where only that server is registered.
pub fn read_job_record(
    pin: &VaultPin,
    server: &Server,
    author: [u8; 16],
    job: JobId,
    number: u32,
    object: &[u8],
) -> Result<JobRecord, &'static str> {
    let key = (author == server.id.0).then_some(&server.key);
    job_records::verify(pin, key, Place { author, job, number }, object)
}

/// Files that anyone can make, and how: examples of where writers cut.
#[must_use]
pub fn cut_files() -> [(&'static str, Vec<u8>); 2] {
    let mut noise = vec![0; 8 << 20];
    blake3::Hasher::new()
        .update(b"lockstone cuts")
        .finalize_xof()
        .fill(&mut noise);
    [
        ("the output stream of BLAKE3 hash(\"lockstone cuts\")", noise),
        ("zeros", vec![0; 5 << 20]),
    ]
}

/// What a reader makes of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct WalkedLog {
    /// Of each position: `entry`, `void`, `lost`, or `beyond` the end of the log.
    pub are: Vec<&'static str>,
    /// The last position of the log.
    pub end: u64,
    /// The link of that position.
    pub link: [u8; 32],
    /// Whether every entry continues the one before it, and nothing is lost.
    pub whole: bool,
}

/// Walks along the log whose positions have these objects, from 1; `None` where there is none.
#[must_use]
pub fn walk_log(keys: &Keys, server: Server, objects: &[Option<Bytes>]) -> WalkedLog {
    let mut servers = Servers::default();
    servers.insert(server);
    let (mut chain, mut are, mut whole) = (Chain::default(), vec!["beyond"; objects.len()], true);
    let mark = |are: &mut Vec<&'static str>, skipped: &[Skipped], what| {
        for at in skipped {
            are[at.first as usize - 1..at.last as usize].fill(what);
        }
    };
    for (n, object) in (1..).zip(objects) {
        let Some(object) = object else {
            chain.skip(Skipped::missing(n, n));
            continue;
        };
        let read = PlainEntry::read(keys.domain(), n, object, Some(&servers)).and_then(|plain| plain.open(keys));
        let entry = match read {
            Ok(entry) => entry,
            Err(why) => {
                chain.skip(Skipped::void(n, object, why));
                continue;
            }
        };
        are[n as usize - 1] = "entry";
        match chain.accept(entry.head, &entry.previous) {
            Before::Chained(void) => mark(&mut are, &void, "void"),
            Before::Lost(lost) => {
                mark(&mut are, &lost, "lost");
                whole = false;
            }
            Before::Broken => whole = false,
        }
    }
    chain.finish();
    mark(&mut are, chain.skipped(), "void");
    let end = chain.end();
    WalkedLog {
        are,
        end: end.n,
        link: end.hash,
        whole,
    }
}

/// Whether this program writes to a vault with that descriptor.
#[must_use]
pub fn may_write(descriptor: &Descriptor) -> bool {
    descriptor.features.check_write().is_ok()
}
