//! What a collection of a large vault costs: a million chunks in a thousand points of a tree like the kernel's source.
//! Run it by hand: it needs 2 GB of disk and some minutes.
//! `--run-ignored only -E 'test(a_million_chunks)' --no-capture`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Instant;

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PackId, PointId};
use lockstone_proto::vault::{
    ChunkKind, Codec, CommitBody, Content, Entry, EntryKind, Frame, PackDirectory, PackEntry, PointSummary,
};

use super::*;
use crate::domain::Relied;
use crate::store::names;
use crate::testing::{Lab, block_on, now, summary};
use crate::tree::{FolderWriter, NewPage};

const FOLDERS: usize = 60 * 80;
const FILES: usize = 17;
/// Chunks of a file.
const CHUNKS: usize = 6;
/// Chunks of a frame.
const FRAME: usize = 256;

struct Large {
    lab: Lab,
    /// For each file how often it was changed.
    versions: Vec<u64>,
    folders: Vec<Option<ChunkId>>,
    above: Vec<Option<ChunkId>>,
    chunks: usize,
}

impl Large {
    fn new() -> Self {
        Self {
            lab: Lab::new(),
            versions: vec![0; FOLDERS * FILES],
            folders: vec![None; FOLDERS],
            above: vec![None; 60],
            chunks: 0,
        }
    }

    /// Changes a file, and returns its new chunks.
    fn change(&mut self, file: usize) -> Vec<ChunkId> {
        let file = file % self.versions.len();
        self.versions[file] += 1;
        self.folders[file / FILES] = None;
        self.above[file / FILES / 80] = None;
        self.content(file)
    }

    fn content(&self, file: usize) -> Vec<ChunkId> {
        let version = self.versions[file];
        let id = |n| ChunkId(*blake3::hash(format!("{file} {version} {n}").as_bytes()).as_bytes());
        (0..CHUNKS).map(id).collect()
    }

    fn folder(&self, entries: Vec<(String, Option<Content>, Bytes)>, pages: &mut Vec<NewPage>) -> ChunkId {
        let mut writer = FolderWriter::new(Arc::clone(&self.lab.keys));
        let mut sorted = entries;
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, content, page) in sorted {
            let kind = if content.is_some() {
                EntryKind::File
            } else {
                EntryKind::Folder
            };
            let entry = Entry {
                name: name.into(),
                kind: kind.into(),
                mode: 0o644,
                mtime_s: 1_700_000_000,
                ctime_s: 1_700_000_000,
                inode: 1_234_567,
                size: if content.is_some() { 4096 * CHUNKS as u64 } else { 0 },
                content,
                page,
                ..Entry::default()
            };
            writer.push(&entry, pages).unwrap();
        }
        writer.finish(pages).unwrap().unwrap()
    }

    /// Writes the folders that have changed.
    fn write(&mut self) -> (ChunkId, Vec<NewPage>) {
        let mut pages = Vec::new();
        let bytes = |id: ChunkId| Bytes::copy_from_slice(id.as_bytes());
        for at in 0..FOLDERS {
            if self.folders[at].is_none() {
                let file = |n: usize| {
                    let content = Content {
                        ids: self.content(at * FILES + n).iter().flat_map(|id| id.0).collect(),
                        lens: vec![4096; CHUNKS],
                        ..Content::default()
                    };
                    (format!("file-{n}"), Some(content), Bytes::new())
                };
                self.folders[at] = Some(self.folder((0..FILES).map(file).collect(), &mut pages));
            }
        }
        for at in 0..60 {
            if self.above[at].is_none() {
                let below = |n: usize| (format!("{n}"), None, bytes(self.folders[at * 80 + n].unwrap()));
                self.above[at] = Some(self.folder((0..80).map(below).collect(), &mut pages));
            }
        }
        let below = |n: usize| (format!("{n}"), None, bytes(self.above[n].unwrap()));
        let top = self.folder((0..60).map(below).collect(), &mut pages);
        (top, pages)
    }

    /// A pack that is only listed: its object is empty.
    fn pack(&mut self, kind: ChunkKind, chunks: &[(ChunkId, u32)]) -> PackEntry {
        let frames = chunks.chunks(FRAME).map(|chunks| {
            let raw_len = chunks.iter().map(|(_, len)| len).sum();
            Frame {
                sealed_len: raw_len + 16,
                raw_len,
                codec: Codec::Stored.into(),
                chunk_ids: chunks.iter().flat_map(|(id, _)| id.0).collect(),
                chunk_lens: chunks.iter().map(|(_, len)| *len).collect(),
            }
        });
        self.chunks += chunks.len();
        let id = PackId(*blake3::hash(&chunks[0].0.0).as_bytes());
        block_on(
            self.lab
                .vault
                .store()
                .create(&names::pack(self.lab.domain, &id), Bytes::new()),
        )
        .unwrap();
        PackEntry {
            pack_id: Bytes::copy_from_slice(id.as_bytes()),
            kind: kind.into(),
            len: 200 + chunks.iter().map(|(_, len)| u64::from(*len) + 16).sum::<u64>(),
            directory: Some(PackDirectory {
                frames: frames.collect(),
            }),
        }
    }

    fn backup(&mut self, domain: &Domain, point: u16, data: &[ChunkId]) {
        let (root, pages) = self.write();
        domain.index().put_pages(&pages).unwrap();
        let data: Vec<_> = data.iter().map(|id| (*id, 4096)).collect();
        let trees: Vec<_> = pages.iter().map(|page| (page.id, page.raw.len() as u32)).collect();
        let mut packs: Vec<PackEntry> = data.chunks(4096).map(|some| self.pack(ChunkKind::Data, some)).collect();
        packs.extend(trees.chunks(4096).map(|some| self.pack(ChunkKind::Tree, some)));
        let mut id = [0; 16];
        id[..2].copy_from_slice(&point.to_le_bytes());
        let summary = PointSummary {
            point_id: Bytes::copy_from_slice(PointId(id).as_bytes()),
            ..summary(1)
        };
        let (segments, _) = block_on(domain.write_segments(&packs)).unwrap();
        let body = CommitBody {
            segment_ids: segments
                .iter()
                .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                .collect(),
            root: Bytes::copy_from_slice(root.as_bytes()),
            sources: vec![Bytes::from_static(b"/")],
            ..CommitBody::default()
        };
        block_on(domain.commit(summary, body, &packs, &Relied::default(), now())).unwrap();
    }
}

/// Looks at tree chunks on a runtime's threads.
struct Tokio;

impl Spawn for Tokio {
    fn spawn(&self, work: futures::future::BoxFuture<'static, Looked>) -> futures::future::BoxFuture<'static, Looked> {
        let task = tokio::spawn(work);
        Box::pin(async move { task.await.unwrap() })
    }
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
#[ignore = "a measurement"]
fn a_million_chunks_in_a_thousand_points_are_collected() {
    let mut large = Large::new();
    let signer = large.lab.server(1);
    let domain = large.lab.open(Some(signer), "one");
    let first: Vec<ChunkId> = (0..FOLDERS * FILES).flat_map(|file| large.content(file)).collect();
    large.backup(&domain, 0, &first);
    for point in 1..1000_u16 {
        let changed = (0..80).flat_map(|file| large.change(usize::from(point) * 7919 + file * 1009));
        let changed: Vec<ChunkId> = changed.collect();
        large.backup(&domain, point, &changed);
    }
    println!("{} chunks, {} MiB before", large.chunks, peak_mib());
    let options = CollectOptions {
        workers: 3,
        ..CollectOptions::usual(now())
    };
    for what in ["first", "nothing to free"] {
        let begun = Instant::now();
        let report = block_on(collect(&domain, &options, &Tokio, &|_| {}, &|| false)).unwrap();
        assert_eq!((report.packs_condemned, report.packs_repacked), (0, 0), "{report:?}");
        println!("{what}: {:?}, peak {} MiB", begun.elapsed(), peak_mib());
    }
}
