//! Tests of `pack`, and the small packs other tests are made with.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;
use crate::crypto::keys::MasterKey;
use crate::pack::frame::{Compressor, Decompressor};
use proptest::prelude::*;

/// The keys of a domain for tests.
pub(crate) fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes([3; 32]), DomainId([1; 16]))
}

/// A pack of `frames` small frames of three chunks each.
pub(crate) fn small_pack(kind: ChunkKind, frames: u32) -> (PackSeal, PackDirectory, Vec<u8>) {
    let keys = keys();
    let seal = PackSeal::create(&keys, kind).unwrap();
    let (directory, object) = write_pack(&keys, &seal, frames);
    (seal, directory, object)
}

fn raw_of(ordinal: u32) -> [Vec<u8>; 3] {
    [
        vec![ordinal as u8; 100],
        b"a chunk".to_vec(),
        format!("chunk of frame {ordinal} ").repeat(9).into_bytes(),
    ]
}

fn at(ordinal: u32, raw_len: u32, codec: Codec) -> FramePosition {
    FramePosition {
        ordinal,
        raw_len,
        codec,
    }
}

fn write_pack(keys: &Keys, seal: &PackSeal, frames: u32) -> (PackDirectory, Vec<u8>) {
    let mut object = seal.header().to_vec();
    let mut directory = PackDirectory::default();
    let mut compressor = Compressor::new(3).unwrap();
    for ordinal in 0..frames {
        let chunks = raw_of(ordinal);
        let raw = chunks.concat();
        let mut payload = Vec::new();
        let codec = compressor.compress(&raw, &mut payload).unwrap();
        seal.seal_frame(at(ordinal, raw.len() as u32, codec), &mut payload)
            .unwrap();
        object.extend_from_slice(&payload);
        directory.frames.push(Frame {
            sealed_len: payload.len() as u32,
            raw_len: raw.len() as u32,
            codec: codec.into(),
            chunk_ids: chunks
                .iter()
                .flat_map(|chunk| keys.chunk_id(seal.kind(), chunk).0)
                .collect::<Vec<_>>()
                .into(),
            chunk_lens: chunks.iter().map(|chunk| chunk.len() as u32).collect(),
        });
    }
    let tail = seal.seal_directory(&directory, object.len() as u64).unwrap();
    object.extend_from_slice(&tail);
    (directory, object)
}

/// Reads a pack as a restore without an index would, and checks all of it.
fn read_pack(keys: &Keys, object: &[u8]) -> Result<(PackDirectory, Vec<Vec<u8>>), PackBroken> {
    let seal = PackSeal::from_header(keys, object)?;
    let (rest, last4) = object.split_last_chunk().unwrap();
    let len = read_directory_len(*last4, object.len() as u64)?;
    let (body, tail) = rest.split_at(rest.len() - len);
    let directory = seal.open_directory(tail, body.len() as u64)?;
    let (mut offset, mut raws) = (HEADER_LEN, Vec::new());
    for (ordinal, frame) in directory.frames.iter().enumerate() {
        let mut sealed = body[offset..offset + frame.sealed_len as usize].to_vec();
        offset += sealed.len();
        let codec = Codec::try_from(frame.codec).unwrap();
        seal.open_frame(at(ordinal as u32, frame.raw_len, codec), &mut sealed)?;
        let mut raw = Vec::new();
        Decompressor::new()
            .unwrap()
            .decompress(codec, &sealed, frame.raw_len as usize, &mut raw)
            .unwrap();
        verify_frame(keys, seal.kind(), &raw, frame)?;
        raws.push(raw);
    }
    Ok((directory, raws))
}

#[test]
fn a_pack_comes_back() {
    for kind in [ChunkKind::Data, ChunkKind::Tree] {
        let (_, directory, object) = small_pack(kind, 3);
        assert_eq!(
            object.len() as u64,
            padme(object.len() as u64),
            "its length is a Padmé length"
        );
        let (found, raws) = read_pack(&keys(), &object).unwrap();
        assert_eq!(found, directory);
        assert_eq!(raws, [0, 1, 2].map(|ordinal| raw_of(ordinal).concat()));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected() {
    let (_, _, object) = small_pack(ChunkKind::Data, 2);
    for bit in 0..object.len() * 8 {
        let mut flipped = object.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read_pack(&keys(), &flipped).is_err(), "bit {bit}");
    }
    for len in 4..object.len() {
        assert!(read_pack(&keys(), &object[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn a_frame_opens_in_its_own_place_only() {
    let (seal, directory, object) = small_pack(ChunkKind::Data, 2);
    let frame = &directory.frames[0];
    let codec = Codec::try_from(frame.codec).unwrap();
    let sealed = &object[HEADER_LEN..HEADER_LEN + frame.sealed_len as usize];
    let open =
        |seal: &PackSeal, ordinal, raw_len, codec| seal.open_frame(at(ordinal, raw_len, codec), &mut sealed.to_vec());
    assert!(open(&seal, 0, frame.raw_len, codec).is_ok());
    assert!(open(&seal, 1, frame.raw_len, codec).is_err());
    assert!(open(&seal, 0, frame.raw_len + 1, codec).is_err());
    let other_codec = if codec == Codec::Zstd {
        Codec::Stored
    } else {
        Codec::Zstd
    };
    assert!(open(&seal, 0, frame.raw_len, other_codec).is_err());
    let elsewhere = Keys::derive(&MasterKey::from_bytes([3; 32]), DomainId([2; 16]));
    assert!(
        open(
            &PackSeal::for_id(&elsewhere, seal.id(), ChunkKind::Data),
            0,
            frame.raw_len,
            codec
        )
        .is_err()
    );
    assert!(
        open(
            &PackSeal::for_id(&keys(), seal.id(), ChunkKind::Tree),
            0,
            frame.raw_len,
            codec
        )
        .is_err()
    );
    assert!(
        open(
            &PackSeal::for_id(&keys(), PackId([0; 32]), ChunkKind::Data),
            0,
            frame.raw_len,
            codec
        )
        .is_err()
    );
}

#[test]
fn another_domains_pack_is_told_apart_by_its_commitment() {
    let (seal, _, object) = small_pack(ChunkKind::Data, 1);
    let other = Keys::derive(&MasterKey::from_bytes([4; 32]), DomainId([1; 16]));
    assert_eq!(
        PackSeal::from_header(&other, &object).err(),
        Some(PackBroken::Commitment(seal.id()))
    );
    let mut newer = object.clone();
    newer[8] = 2;
    assert_eq!(
        PackSeal::from_header(&keys(), &newer).err(),
        Some(PackBroken::Version(2))
    );
}

#[test]
fn a_chunk_that_is_not_what_it_says_is_named() {
    let keys = keys();
    let (_, directory, _) = small_pack(ChunkKind::Data, 1);
    let frame = &directory.frames[0];
    let mut raw = raw_of(0).concat();
    assert_eq!(verify_frame(&keys, ChunkKind::Data, &raw, frame), Ok(()));
    assert!(verify_frame(&keys, ChunkKind::Tree, &raw, frame).is_err());
    raw[101] ^= 1;
    assert!(matches!(
        verify_frame(&keys, ChunkKind::Data, &raw, frame),
        Err(PackBroken::Chunk { index: 1, .. })
    ));
    raw.pop();
    assert!(verify_frame(&keys, ChunkKind::Data, &raw, frame).is_err());
}

#[test]
fn a_directory_that_breaks_the_rules_is_refused() {
    let (seal, directory, object) = small_pack(ChunkKind::Data, 2);
    let frames_end = HEADER_LEN as u64 + directory.frames.iter().map(|f| u64::from(f.sealed_len)).sum::<u64>();
    assert!(frames_end < object.len() as u64);
    let spoil: [fn(&mut PackDirectory); 11] = [
        |d| d.frames.clear(),
        |d| d.frames.truncate(1),
        |d| d.frames[0].codec = 2,
        |d| d.frames[0].raw_len += 1,
        |d| d.frames[0].raw_len = 0,
        |d| d.frames[0].sealed_len = 15,
        |d| d.frames[1].chunk_lens[0] = 0,
        |d| d.frames[1].chunk_lens[0] = u32::MAX,
        |d| d.frames[1].chunk_ids = d.frames[1].chunk_ids.slice(1..),
        |d| d.frames[1].chunk_lens.push(1),
        |d| {
            let frame = d.frames[0].clone();
            d.frames = vec![frame; PACK_MAX_FRAMES + 1];
        },
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut bad = directory.clone();
        spoil(&mut bad);
        assert!(seal.seal_directory(&bad, frames_end).is_err(), "rule {index}");
        let mut plain = (bad.encoded_len() as u32).to_le_bytes().to_vec();
        bad.encode_raw(&mut plain);
        seal.key
            .seal_in_place(DIRECTORY_NONCE, &seal.directory_aad(frames_end), &mut plain)
            .unwrap();
        assert!(
            matches!(seal.open_directory(&plain, frames_end), Err(PackBroken::Malformed(_))),
            "rule {index}"
        );
    }
}

#[test]
fn directory_lengths_are_bounded_before_they_are_believed() {
    assert_eq!(read_directory_len(1000_u32.to_le_bytes(), 2000), Ok(1000));
    assert!(read_directory_len(1917_u32.to_le_bytes(), 2000).is_err());
    assert!(read_directory_len(19_u32.to_le_bytes(), 2000).is_err());
    assert!(read_directory_len(u32::MAX.to_le_bytes(), u64::MAX).is_err());
    assert!(read_directory_len(1000_u32.to_le_bytes(), PACK_MAX + 1).is_err());
    assert!(read_directory_len([0; 4], 0).is_err());
}

#[test]
fn ordinals_and_lengths_beyond_the_limits_are_not_sealed() {
    let seal = PackSeal::create(&keys(), ChunkKind::Data).unwrap();
    assert!(
        seal.seal_frame(at(PACK_MAX_FRAMES as u32, 3, Codec::Stored), &mut vec![1, 2, 3])
            .is_err()
    );
    assert!(seal.seal_frame(at(0, 4, Codec::Stored), &mut vec![1, 2, 3]).is_err());
    assert!(seal.seal_frame(at(0, 3, Codec::Zstd), &mut vec![1, 2, 3]).is_err());
    assert!(seal.seal_frame(at(0, 0, Codec::Stored), &mut vec![]).is_err());
    assert!(
        seal.seal_frame(at(0, FRAME_MAX_RAW as u32 + 1, Codec::Zstd), &mut vec![1])
            .is_err()
    );
}

#[test]
fn padme_follows_the_paper() {
    for (len, padded) in [
        (0, 0),
        (1, 1),
        (2, 2),
        (7, 7),
        (8, 8),
        (9, 10),
        (17, 18),
        (100, 104),
        (1000, 1024),
    ] {
        assert_eq!(padme(len), padded, "{len}");
    }
    assert_eq!(padme(32 << 20), 32 << 20);
    assert_eq!(padme((32 << 20) + 1), 33 << 20);
    assert_eq!(padme(u64::MAX), u64::MAX);
}

proptest! {
    #[test]
    fn padme_grows_little_is_stable_and_keeps_order(len in 0u64..1 << 40, more in 0u64..1 << 20) {
        let padded = padme(len);
        prop_assert!(padded >= len);
        prop_assert!(padded - len <= len * 12 / 100);
        prop_assert_eq!(padme(padded), padded);
        prop_assert!(padme(len + more) >= padded);
    }

    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), end: u64) {
        let keys = keys();
        let seal = PackSeal::for_id(&keys, PackId([1; 32]), ChunkKind::Data);
        prop_assert!(seal.open_directory(&bytes, end).is_err());
        prop_assert!(PackSeal::from_header(&keys, &bytes).is_err());
        let _ = check_encoded_directory(&bytes);
        if let Ok(directory) = PackDirectory::decode(bytes.as_slice()) {
            let _ = check_directory(&directory, end);
        }
    }
}
