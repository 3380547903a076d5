//! Trees: a folder's entries to pages and back, and the walk of a source.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::{Rules, WalkEvent, Walker};
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::tree::{FolderWriter, decode_page};
use support::{keys, tree_of};

/// Files in the tree that is walked.
const FILES: usize = 20_000;

fn pages(criterion: &mut Criterion) {
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
    let mut group = criterion.benchmark_group("tree page");
    group.throughput(Throughput::Elements(entries.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(write));
    let pages = write();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            pages
                .iter()
                .map(|page| decode_page(page.raw.clone()).unwrap().entries.len())
                .sum::<usize>()
        });
    });
    group.finish();
}

fn walk(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    tree_of(folder.path(), FILES);
    let frozen = FrozenSource::live(folder.path());
    let mut group = criterion.benchmark_group("walk");
    group.throughput(Throughput::Elements(FILES as u64));
    group.bench_function("20,000 files in 200 folders", |bencher| {
        bencher.iter(|| {
            let files = Walker::new(&frozen, &Rules::default())
                .unwrap()
                .filter(|event| matches!(event, WalkEvent::Entry { .. }))
                .count();
            assert_eq!(files, FILES);
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = pages, walk }
criterion_main!(benches);
