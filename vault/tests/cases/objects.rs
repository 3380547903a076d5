//! zstd frames, key slots, headers and segments.

use bytes::Bytes;
use lockstone_proto::vault::{ChunkKind, Codec, Frame, KeySlot, PackDirectory, PackEntry, Segment};
use prost::Message;
use serde_json::json;

use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slots;
use lockstone_vault::pack::PackSeal;
use lockstone_vault::testing::vectors::{fixed_slot, sealed, segment_key};

use super::{Cases, DOMAIN, MASTER, PACK, SEGMENT, keys, with};

pub(crate) fn zstd(cases: &mut Cases) {
    // One raw block of one byte; 13 << 3 is a window of 8 MiB.
    let frame = |flags: u8, window: u8| vec![0x28, 0xb5, 0x2f, 0xfd, flags, window, 0x09, 0, 0, b'x'];
    let mut add = |accepted, why: &str, bytes: Vec<u8>, len: usize| {
        cases.add("zstd", accepted, why, &bytes, json!({ "raw_len": len }));
    };
    add(true, "a window of 8 MiB", frame(0, 13 << 3), 1);
    add(false, "a window of 9 MiB", frame(0, 13 << 3 | 1), 1);
    add(false, "a window of 128 MiB", frame(0, 17 << 3), 1);
    add(
        false,
        "a dictionary",
        vec![0x28, 0xb5, 0x2f, 0xfd, 1, 13 << 3, 7, 0x09, 0, 0, b'x'],
        1,
    );
    add(false, "shorter than stated", frame(0, 13 << 3), 2);
    add(
        false,
        "a byte behind the frame",
        [frame(0, 13 << 3), vec![0]].concat(),
        1,
    );
    add(false, "two frames", frame(0, 13 << 3).repeat(2), 2);
    add(
        false,
        "a frame that is to be skipped",
        vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0],
        1,
    );
}

pub(crate) fn slots_of(cases: &mut Cases) {
    let slot = fixed_slot(&MasterKey::from_bytes(MASTER), "correct horse battery staple", DOMAIN);
    let mut add = |accepted, why: &str, encoded: Vec<u8>| {
        let bytes = [&encoded[..], blake3::hash(&encoded).as_bytes()].concat();
        cases.add("slot", accepted, why, &bytes, json!({ "id": hex::encode([0x51; 16]) }));
    };
    let mut change = |accepted, why: &str, change: &dyn Fn(&mut KeySlot)| {
        let mut changed = slot.clone();
        change(&mut changed);
        add(accepted, why, changed.encode_to_vec());
    };
    change(true, "a passphrase slot", &|_| {});
    change(false, "version 2", &|slot| slot.version = 2);
    change(false, "another domain's", &|slot| slot.domain_id = vec![0; 16].into());
    change(false, "another slot's", &|slot| slot.slot_id = vec![0; 16].into());
    change(false, "kind 4", &|slot| slot.kind = 4);
    change(false, "a short salt", &|slot| slot.salt = vec![0; 31].into());
    change(false, "no lanes", &|slot| slot.argon_lanes = 0);
    change(false, "no passes", &|slot| slot.argon_passes = 0);
    change(false, "17 passes", &|slot| slot.argon_passes = 17);
    change(false, "less than 8 KiB a lane", &|slot| slot.argon_memory_kib = 15);
    change(false, "more than 2 GiB", &|slot| {
        slot.argon_memory_kib = 2 * 1024 * 1024 + 1
    });
    change(false, "a server in a passphrase slot", &|slot| {
        slot.server_id = vec![1; 16].into()
    });
    change(false, "Argon2 parameters in a machine slot", &|slot| {
        (slot.kind, slot.server_id) = (2, vec![1; 16].into());
    });
    add(
        false,
        "an unknown field 128",
        [&slot.encode_to_vec()[..], &[0x80, 0x08, 1]].concat(),
    );
    let mut wrong = slots::encode_slot(&slot);
    *wrong.last_mut().unwrap() ^= 1;
    cases.add(
        "slot",
        false,
        "a wrong hash",
        &wrong,
        json!({ "id": hex::encode([0x51; 16]) }),
    );
}

pub(crate) fn headers(cases: &mut Cases) {
    let header = PackSeal::for_id(&keys(), PACK, ChunkKind::Data).header();
    let mut add = |accepted, why: &str, at: usize, byte: u8| {
        let mut header = header.to_vec();
        header[at] = byte;
        cases.add(
            "pack header",
            accepted,
            why,
            &header,
            json!({ "id": PACK.hex(), "kind": 1 }),
        );
    };
    add(true, "a header", 0, b'L');
    add(false, "another magic", 0, b'M');
    add(false, "version 2", 8, 2);
    add(false, "kind 3", 12, 3);
    for at in 13..16 {
        add(false, "a byte that has to be zero", at, 1);
    }
    add(false, "another commitment", 79, header[79] ^ 1);
}

/// The object of a segment that has these bytes as its message.
fn segment(raw: &[u8]) -> Vec<u8> {
    let (key, commitment) = segment_key(&keys(), SEGMENT.as_bytes());
    let mut object = b"LSTNSEGM\x01\0\0\0".to_vec();
    object.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    object.extend_from_slice(SEGMENT.as_bytes());
    object.extend_from_slice(&commitment);
    // One raw block behind the shortest header of a zstd frame.
    let mut payload = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
    payload.extend_from_slice(&(((raw.len() as u32) << 3) | 1).to_le_bytes()[..3]);
    payload.extend_from_slice(raw);
    let aad = [&object[..], DOMAIN.as_bytes()].concat();
    object.extend(sealed(&key, &aad, &payload));
    object
}

/// A frame of one chunk of 10 bytes.
fn frame() -> Frame {
    Frame {
        sealed_len: 26,
        raw_len: 10,
        codec: Codec::Stored.into(),
        chunk_ids: vec![7; 32].into(),
        chunk_lens: vec![10],
    }
}

fn pack(frame: Frame) -> PackEntry {
    PackEntry {
        pack_id: Bytes::copy_from_slice(PACK.as_bytes()),
        kind: 1,
        len: 512,
        directory: Some(PackDirectory { frames: vec![frame] }),
    }
}

pub(crate) fn segments(cases: &mut Cases) {
    let frame = frame();
    let mut add = |accepted, why: &str, raw: &[u8]| {
        cases.add("segment", accepted, why, &segment(raw), json!({ "id": SEGMENT.hex() }));
    };
    let of = |packs: Vec<PackEntry>| Segment { packs }.encode_to_vec();
    let good = of(vec![pack(frame.clone())]);
    add(true, "one pack", &good);
    add(
        true,
        "a field 200 that may be skipped",
        &[&good[..], &[0xc0, 0x0c, 1]].concat(),
    );
    add(false, "an unknown field 2", &[&good[..], &[0x10, 1]].concat());
    add(false, "no pack", &[0x80, 0x08, 1]);
    add(
        false,
        "a pack of kind 3",
        &of(vec![with(pack(frame.clone()), |it| it.kind = 3)]),
    );
    add(
        false,
        "a pack without directory",
        &of(vec![with(pack(frame.clone()), |it| it.directory = None)]),
    );
    add(
        false,
        "a pack without frames",
        &of(vec![with(pack(frame.clone()), |it| {
            it.directory = Some(PackDirectory::default())
        })]),
    );
    add(
        false,
        "a pack shorter than its frames",
        &of(vec![with(pack(frame.clone()), |it| it.len = 129)]),
    );
    let tail_max = 64 << 20;
    let len = |len| of(vec![with(pack(frame.clone()), |it| it.len = len)]);
    add(true, "the longest directory", &len(106 + 24 + tail_max));
    add(
        false,
        "a pack much longer than its frames",
        &len(106 + 24 + tail_max + 1),
    );
    let large = |chunk_lens: Vec<u32>| {
        let raw_len: u32 = chunk_lens.iter().sum();
        let chunk_ids = vec![7; 32 * chunk_lens.len()].into();
        let frame = Frame {
            sealed_len: 26,
            raw_len,
            codec: Codec::Zstd.into(),
            chunk_ids,
            chunk_lens,
        };
        of(vec![pack(frame)])
    };
    add(true, "a zstd frame of 8 MiB", &large(vec![4 << 20, 4 << 20]));
    add(false, "a frame of more than 8 MiB", &large(vec![4 << 20, 4 << 20, 1]));
    add(false, "a chunk of more than 4 MiB", &large(vec![(4 << 20) + 1]));
    let empty = with(frame.clone(), |it| (it.codec, it.sealed_len) = (1, 16));
    add(false, "a zstd frame of no bytes", &of(vec![pack(empty)]));
    add(
        false,
        "codec 2",
        &of(vec![pack(with(frame.clone(), |it| it.codec = 2))]),
    );
    add(
        false,
        "a stored frame of another length",
        &of(vec![pack(with(frame.clone(), |it| it.sealed_len = 27))]),
    );
    add(
        false,
        "a zstd frame that is not shorter",
        &of(vec![pack(with(frame.clone(), |it| it.codec = 1))]),
    );
    add(
        false,
        "chunks that do not fill the frame",
        &of(vec![pack(with(frame.clone(), |it| it.chunk_lens = vec![9]))]),
    );
    add(
        false,
        "a chunk without id",
        &of(vec![pack(with(frame.clone(), |it| it.chunk_lens = vec![5, 5]))]),
    );
    add(
        false,
        "a chunk of 0 bytes",
        &of(vec![pack(Frame {
            chunk_lens: vec![10, 0],
            chunk_ids: vec![7; 64].into(),
            ..frame
        })]),
    );
}
