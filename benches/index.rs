//! The index with a million chunks (about 1 TB of large files): looking up chunks it knows, and chunks it does not.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstone::bench::sample::noise;
use lockstone_proto::ids::{ChunkId, DomainId, PackId, VaultId};
use lockstone_proto::limits::TAG_LEN;
use lockstone_proto::vault::{ChunkKind, Codec, Frame, PackDirectory, PackEntry};
use lockstone_vault::index::Index;
use support::KIB;

const PACKS: usize = 500;
const FRAMES: usize = 20;
const CHUNKS: usize = 100;
/// As many as Dedup asks for at once.
const ASKED: usize = 256;

/// An id that is known, or, with a number beyond those, unknown: as evenly spread as real ones.
fn id(number: usize) -> ChunkId {
    let mut state = number as u64 + 1;
    let mut id = [0; 32];
    for part in id.chunks_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    ChunkId(id)
}

fn pack(number: usize) -> PackEntry {
    let frames = (0..FRAMES)
        .map(|frame| {
            let first = (number * FRAMES + frame) * CHUNKS;
            let raw_len = u32::try_from(CHUNKS * 4 * KIB).unwrap();
            Frame {
                sealed_len: raw_len + TAG_LEN as u32,
                raw_len,
                codec: Codec::Stored.into(),
                chunk_ids: (first..first + CHUNKS)
                    .flat_map(|chunk| id(chunk).0)
                    .collect::<Vec<u8>>()
                    .into(),
                chunk_lens: vec![4 * KIB as u32; CHUNKS],
            }
        })
        .collect();
    PackEntry {
        pack_id: PackId(id(usize::MAX / 2 + number).0).0.to_vec().into(),
        kind: ChunkKind::Data.into(),
        len: 32 << 20,
        directory: Some(PackDirectory { frames }),
    }
}

fn lookup(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(folder.path(), VaultId([1; 16]), DomainId([2; 16])).unwrap();
    for group in (0..PACKS).collect::<Vec<_>>().chunks(50) {
        let packs: Vec<PackEntry> = group.iter().map(|&number| pack(number)).collect();
        index.add_packs(&packs, &[]).unwrap();
    }
    index.flush().unwrap();
    let known = PACKS * FRAMES * CHUNKS;
    let order = noise(8 * 1024);
    let mut group = criterion.benchmark_group("index of 1,000,000 chunks");
    group.throughput(Throughput::Elements(ASKED as u64));
    for (name, from, found) in [("256 hits", 0, true), ("256 misses", known, false)] {
        let mut turn = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                // Other ids each time, all over the index.
                let ids: Vec<ChunkId> = (0..ASKED)
                    .map(|_| {
                        turn += 1;
                        let at = (turn * 8) % order.len();
                        let random = u64::from_le_bytes(order[at..at + 8].try_into().unwrap());
                        id(from + (random as usize).wrapping_add(turn * 7919) % known)
                    })
                    .collect();
                let places = index.lookup(&ids).unwrap();
                assert!(places.iter().all(|place| place.is_some() == found));
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = lookup }
criterion_main!(benches);
