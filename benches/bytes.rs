//! What one core does of each step of a file's bytes: cutting, hashing, compressing, sealing, and the way back. `make
//! bench`; `lockstone bench primitives` measures about the same on a user's machine, `benches/compare` whole programs.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lockstone::bench::sample::{noise, text};
use lockstone_host::chunk::Chunker;
use lockstone_proto::vault::{ChunkKind, Codec};
use lockstone_vault::pack::frame::{Compressor, DEFAULT_LEVEL, Decompressor};
use lockstone_vault::pack::{FramePosition, PackSeal};
use support::{KIB, MIB, keys};

fn cut(criterion: &mut Criterion) {
    let chunker = Chunker::new(&keys().chunker_table());
    let mut group = criterion.benchmark_group("cut");
    for (name, bytes) in [("text", text(16 * MIB)), ("random", noise(16 * MIB))] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut rest = black_box(&bytes[..]);
                while let Some(len) = chunker.cut(rest, true) {
                    rest = &rest[len..];
                }
            });
        });
    }
    group.finish();
}

fn hash(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = criterion.benchmark_group("hash");
    for (name, len) in [("4 KiB", 4 * KIB), ("64 KiB", 64 * KIB), ("1 MiB", MIB)] {
        let raw = noise(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| keys.chunk_id(ChunkKind::Data, black_box(&raw)));
        });
    }
    // As the Hasher does it: a batch of small files side by side.
    let batch: Vec<Vec<u8>> = (0..256).map(|number| noise(32 * number)).collect();
    let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    group.throughput(Throughput::Bytes(batch.iter().map(|raw| raw.len() as u64).sum()));
    group.bench_function("256 of 0 to 8 KiB, one by one", |bencher| {
        bencher.iter(|| {
            for raw in &batch {
                black_box(keys.chunk_id(ChunkKind::Data, raw));
            }
        });
    });
    group.bench_function("256 of 0 to 8 KiB, at once", |bencher| {
        bencher.iter(|| keys.chunk_ids(ChunkKind::Data, black_box(&batch)));
    });
    group.finish();
}

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for (name, raw) in [("text", text(MIB)), ("random", noise(MIB))] {
        group.throughput(Throughput::Bytes(MIB as u64));
        let (mut compressor, mut payload) = (Compressor::new(DEFAULT_LEVEL).unwrap(), Vec::new());
        group.bench_function(format!("compress {name}"), |bencher| {
            bencher.iter(|| compressor.compress(black_box(&raw), &mut payload).unwrap());
        });
        let codec = compressor.compress(&raw, &mut payload).unwrap();
        let (mut decompressor, mut again) = (Decompressor::new().unwrap(), Vec::new());
        group.bench_function(format!("decompress {name}"), |bencher| {
            bencher.iter(|| {
                decompressor
                    .decompress(codec, black_box(&payload), raw.len(), &mut again)
                    .unwrap();
            });
        });
    }
    group.finish();
}

fn seal(criterion: &mut Criterion) {
    let pack = PackSeal::create(&keys(), ChunkKind::Data).unwrap();
    let raw = noise(MIB);
    let at = FramePosition {
        ordinal: 0,
        raw_len: u32::try_from(raw.len()).unwrap(),
        codec: Codec::Stored,
    };
    let mut sealed = raw.clone();
    pack.seal_frame(at, &mut sealed).unwrap();
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Bytes(MIB as u64));
    group.bench_function("seal 1 MiB", |bencher| {
        let mut buffer = raw.clone();
        bencher.iter(|| {
            buffer.truncate(raw.len());
            pack.seal_frame(at, &mut buffer).unwrap();
        });
    });
    group.bench_function("open 1 MiB", |bencher| {
        bencher.iter_batched_ref(
            || sealed.clone(),
            |sealed| pack.open_frame(at, sealed).unwrap(),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = cut, hash, frame, seal }
criterion_main!(benches);
