//! The index with a million chunks (about 1 TB of large files): looking up chunks it knows, and chunks it does not.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstone::bench::sample::noise;
use lockstone_proto::ids::{ChunkId, DomainId, VaultId};
use lockstone_proto::vault::PackEntry;
use lockstone_vault::index::Index;
use lockstone_vault::testing::large_index::{Shape, chunk_id};
use support::KIB;

const PACKS: u64 = 500;
/// Packs of small chunks: 20 frames of 100 chunks of 4 KiB.
const SHAPE: Shape = Shape {
    frames: 20,
    chunks: 100,
    chunk_len: 4 * KIB as u32,
    pack_len: 32 << 20,
};
/// As many as Dedup asks for at once.
const ASKED: usize = 256;

fn lookup(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(folder.path(), VaultId([1; 16]), DomainId([2; 16])).unwrap();
    for group in (0..PACKS).collect::<Vec<_>>().chunks(50) {
        let packs: Vec<PackEntry> = group.iter().map(|&number| SHAPE.pack(number)).collect();
        index.add_packs(&packs, &[]).unwrap();
    }
    index.flush().unwrap();
    let known = PACKS * SHAPE.frames * SHAPE.chunks;
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
                        chunk_id(from + random.wrapping_add(turn as u64 * 7919) % known)
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
