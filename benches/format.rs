//! What one core does of each step of a file's bytes: cutting, hashing, compressing, sealing, opening, and the encoding of
//! a tree page. `make bench`; `benches/compare` measures whole programs.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstone_host::chunk::Chunker;
use lockstone_proto::ids::DomainId;
use lockstone_proto::vault::{ChunkKind, Codec, Entry, EntryKind};
use lockstone_vault::frame::{Compressor, Decompressor};
use lockstone_vault::keys::{Keys, MasterKey};
use lockstone_vault::pack::PackSeal;
use lockstone_vault::tree::{FolderWriter, decode_page};

const MIB: usize = 1 << 20;

fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes([7; 32]), DomainId([1; 16]))
}

/// Text that compresses about as source code does: words of a small vocabulary.
fn text(len: usize) -> Vec<u8> {
    let words = [
        "static ", "int ", "return ", "struct ", "if (", ") {\n\t", "->", "buffer", "size_t ", "err = ", ";\n",
    ];
    let mut state = 1_u64;
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(words[(state >> 33) as usize % words.len()].as_bytes());
    }
    text.truncate(len);
    text
}

fn bytes(criterion: &mut Criterion) {
    let keys = keys();
    let raw = text(MIB);
    let mut group = criterion.benchmark_group("1 MiB");
    group.throughput(Throughput::Bytes(MIB as u64));
    let chunker = Chunker::new(&keys.chunker_table());
    let large = text(8 * MIB);
    group.bench_function("cut (8 MiB, per MiB)", |bencher| {
        bencher.iter_custom(|times| {
            let begun = std::time::Instant::now();
            for _ in 0..times {
                let mut rest = &large[..];
                while let Some(len) = chunker.cut(black_box(rest), true).filter(|&len| len < rest.len()) {
                    rest = &rest[len..];
                }
            }
            begun.elapsed() / 8
        });
    });
    group.bench_function("chunk id", |bencher| {
        bencher.iter(|| keys.chunk_id(ChunkKind::Data, black_box(&raw)))
    });
    let (mut compressor, mut payload) = (Compressor::new(3).unwrap(), Vec::new());
    group.bench_function("compress", |bencher| {
        bencher.iter(|| compressor.compress(black_box(&raw), &mut payload).unwrap());
    });
    let codec = compressor.compress(&raw, &mut payload).unwrap();
    let (mut decompressor, mut again) = (Decompressor::new().unwrap(), Vec::new());
    group.bench_function("decompress", |bencher| {
        bencher.iter(|| {
            decompressor
                .decompress(codec, black_box(&payload), raw.len(), &mut again)
                .unwrap()
        });
    });
    let pack = PackSeal::create(&keys, ChunkKind::Data).unwrap();
    let raw_len = u32::try_from(raw.len()).unwrap();
    group.bench_function("seal and open", |bencher| {
        let mut sealed = raw.clone();
        bencher.iter(|| {
            pack.seal_frame(0, raw_len, Codec::Stored, &mut sealed).unwrap();
            pack.open_frame(0, raw_len, Codec::Stored, black_box(&mut sealed))
                .unwrap();
        });
    });
    group.finish();
}

fn tree(criterion: &mut Criterion) {
    let keys = Arc::new(keys());
    let entries: Vec<Entry> = (0..1000)
        .map(|number| Entry {
            name: format!("file-{number:06}").into_bytes().into(),
            kind: EntryKind::Fifo.into(),
            mode: 0o644,
            mtime_s: 1_700_000_000 + number,
            ..Entry::default()
        })
        .collect();
    let write = || {
        let (mut writer, mut pages) = (FolderWriter::new(Arc::clone(&keys)), Vec::new());
        for entry in &entries {
            writer.push(entry, &mut pages).unwrap();
        }
        writer.finish(&mut pages).unwrap();
        pages
    };
    let mut group = criterion.benchmark_group("1000 entries");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("write pages", |bencher| bencher.iter(write));
    let pages = write();
    group.bench_function("read pages", |bencher| {
        bencher.iter(|| {
            pages
                .iter()
                .map(|page| decode_page(page.raw.clone()).unwrap().entries.len())
                .sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, bytes, tree);
criterion_main!(benches);
