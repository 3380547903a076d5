//! Tests of recovery points: finding the one that is meant, and comparing trees with a model, a sorted map of paths.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lockstone_proto::ids::DomainId;
use lockstone_proto::vault::{ChunkKind, CommitBody};
use proptest::prelude::*;

use super::*;
use crate::crypto::keys::{Keys, MasterKey};
use crate::log::LogHead;
use crate::testing::{Tree, block_on, summary};
use crate::tree::FolderWriter;
use crate::tree::content::ContentWriter;

mod pages;
mod search;

/// Tree chunks in memory; counts what is read, and loses what it is told to.
#[derive(Default)]
struct Memory {
    pages: HashMap<ChunkId, Bytes>,
    lost: HashSet<ChunkId>,
    read: Mutex<u32>,
}

impl Memory {
    fn add(&mut self, tree: &Tree) {
        self.pages
            .extend(tree.pages.iter().map(|page| (page.id, page.raw.clone())));
    }

    fn raw(&self, id: &ChunkId) -> Result<Bytes, VaultError> {
        *self.read.lock().unwrap() += 1;
        let known = self.pages.get(id).filter(|_| !self.lost.contains(id));
        known.cloned().ok_or(VaultError::UnknownChunk(*id))
    }

    fn count(&self) -> u32 {
        std::mem::take(&mut self.read.lock().unwrap())
    }
}

#[async_trait]
impl PageSource for Memory {
    async fn page(&self, id: &ChunkId) -> Result<Page, VaultError> {
        decode_page(self.raw(id)?).map_err(|why| VaultError::damaged(DamageKind::Page, id.hex(), why))
    }

    async fn content(&self, id: &ChunkId, level: u32, base: u64, len: u64) -> Result<Content, VaultError> {
        decode_content(self.raw(id)?, level, base, len)
            .map_err(|why| VaultError::damaged(DamageKind::Page, id.hex(), why))
    }
}

fn keys() -> Arc<Keys> {
    Arc::new(Keys::derive(&MasterKey::from_bytes([1; 32]), DomainId([1; 16])))
}

fn build(memory: &mut Memory, files: &[(String, Vec<u8>)]) -> Option<ChunkId> {
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(path, content)| (path.as_str(), content.clone()))
        .collect();
    let tree = Tree::build(&keys(), &files);
    memory.add(&tree);
    tree.root
}

fn walk(source: &dyn PageSource, root: Option<ChunkId>) -> Vec<String> {
    let mut seen = Vec::new();
    block_on(find(source, root, &mut |path, _| {
        seen.push(String::from_utf8_lossy(path).into_owned());
        ControlFlow::Continue(())
    }))
    .unwrap();
    seen
}

fn point(id: [u8; 2], n: u64, server: u8, forgotten: bool) -> Point {
    let mut bytes = [0xab; 16];
    bytes[..2].copy_from_slice(&id);
    Point {
        id: PointId(bytes),
        n,
        server: ServerId([server; 16]),
        time_s: 0,
        summary: summary(1),
        body: CommitBody::default(),
        forgotten: forgotten.then_some(7),
        removal: None,
        hold: None,
    }
}

/// All chunks of a file; `ready` is how many of them needed no read.
fn chunks_of(entry: &Entry, source: &dyn PageSource) -> Result<(Vec<PlacedChunk>, usize), VaultError> {
    block_on(async {
        let (mut chunks, mut all, mut ready) = (FileChunks::of(entry, source), Vec::new(), 0);
        loop {
            while let Some(chunk) = chunks.next_ready() {
                all.push(chunk);
                ready += 1;
            }
            match chunks.next().await? {
                Some(chunk) => all.push(chunk),
                None => break,
            }
        }
        assert!(chunks.is_finished());
        Ok((all, ready))
    })
}

#[test]
fn the_chunks_of_a_file_come_in_order_and_lists_are_read_as_they_are_reached() {
    let mut memory = Memory::default();
    for count in [0_u64, 1, 3, 10_000] {
        let (mut writer, mut pages) = (ContentWriter::new(keys()), Vec::new());
        let mut wanted = Vec::new();
        for n in 0..count {
            if n % 5 == 0 {
                writer.hole(writer.position(), 7, &mut pages).unwrap();
            }
            let id = keys().chunk_id(ChunkKind::Data, &n.to_le_bytes());
            let (offset, len) = (writer.position(), 1 + (n % 9) as u32);
            wanted.push(PlacedChunk { id, offset, len });
            writer.chunk(&id, len, &mut pages).unwrap();
        }
        let size = writer.position();
        memory
            .pages
            .extend(pages.iter().map(|page| (page.id, page.raw.clone())));
        let entry = Entry {
            kind: EntryKind::File.into(),
            size,
            content: writer.finish(&mut pages).unwrap(),
            ..Entry::default()
        };
        memory
            .pages
            .extend(pages.iter().map(|page| (page.id, page.raw.clone())));
        memory.count();
        let (found, ready) = chunks_of(&entry, &memory).unwrap();
        assert_eq!(found, wanted);
        let lists = memory.count() as usize;
        assert_eq!(found.len() - ready, lists, "one chunk a list is waited for");
        if count < 1000 {
            assert_eq!(lists, 0, "a small file needs no read");
        } else {
            let list = pages.first().unwrap().id;
            memory.lost.insert(list);
            let lost = chunks_of(&entry, &memory);
            assert!(matches!(lost, Err(VaultError::UnknownChunk(id)) if id == list));
        }
    }
}

#[test]
fn a_point_is_found_by_id_prefix_and_latest() {
    let points = vec![
        point([1, 0], 1, 1, false),
        point([2, 0], 2, 1, false),
        point([1, 1], 3, 2, false),
        point([3, 0], 4, 1, true),
    ];
    let view = LogView {
        head: LogHead::START,
        points,
        damage: vec![],
        log_damaged: false,
        behind: Vec::new(),
        lossy: Vec::new(),
    };
    let (one, two) = (Some(ServerId([1; 16])), Some(ServerId([2; 16])));
    let found = |text: &str, server| resolve(&view, text, server).map(|point| point.n);
    assert_eq!(found("latest", None).unwrap(), 3);
    assert_eq!(found("latest", one).unwrap(), 2);
    assert_eq!(found("latest", two).unwrap(), 3);
    assert!(matches!(
        found("latest", Some(ServerId([9; 16]))),
        Err(VaultError::NoSuchPoint(_))
    ));
    assert_eq!(found("0200ab", None).unwrap(), 2);
    assert_eq!(found("0101AB", None).unwrap(), 3);
    assert_eq!(found("0300ab", None).unwrap(), 4);
    assert_eq!(found(&view.points[0].id.hex(), None).unwrap(), 1);
    assert!(matches!(found("0200ab", two), Err(VaultError::NoSuchPoint(_))));
    assert!(matches!(found("0200a", None), Err(VaultError::BadPoint(_))));
    assert!(matches!(found("newest", None), Err(VaultError::BadPoint(_))));
    assert!(matches!(found("", None), Err(VaultError::BadPoint(_))));
    assert!(matches!(found("ffffff", None), Err(VaultError::NoSuchPoint(_))));

    let mut twins = view.clone();
    twins.points[1].id.0 = [5; 16];
    twins.points[2].id.0 = [5; 16];
    twins.points[2].id.0[15] = 6;
    assert!(
        matches!(resolve(&twins, "050505", None), Err(VaultError::AmbiguousPoint { points, .. }) if points.len() == 2)
    );
}

#[test]
fn a_path_leads_to_its_entry() {
    let mut memory = Memory::default();
    let files = ["/etc/hosts", "/etc/ssl/certs/a", "/home/", "/z"].map(|path| (path.to_owned(), b"x".to_vec()));
    let root = build(&mut memory, &files);
    let at = |path: &str| block_on(lookup(&memory, root, path.as_bytes())).unwrap();
    assert_eq!(at("/"), Found::Root);
    assert_eq!(at(""), Found::Root);
    assert!(matches!(at("/etc/ssl"), Found::Entry(entry) if entry.kind() == EntryKind::Folder));
    assert!(matches!(at("etc//./ssl/certs/a/"), Found::Entry(entry) if entry.kind() == EntryKind::File));
    assert!(matches!(at("/home"), Found::Entry(entry) if entry.page.is_empty()));
    for path in ["/nothing", "/etc/hosts/x", "/etc/..", "/home/x", "/etc/host"] {
        assert_eq!(at(path), Found::Missing, "{path}");
    }
    let names = |path: &str| {
        let mut names = Vec::new();
        let there = block_on(list(&memory, root, path.as_bytes(), &mut |path, _| {
            names.push(String::from_utf8(path.to_vec()).unwrap());
            ControlFlow::Continue(())
        }));
        there.unwrap().then_some(names)
    };
    assert_eq!(names("/").unwrap(), ["/etc", "/home", "/z"]);
    assert_eq!(names("/etc/").unwrap(), ["/etc/hosts", "/etc/ssl"]);
    assert_eq!(names("/etc/hosts").unwrap(), ["/etc/hosts"]);
    assert_eq!(names("/home").unwrap(), [] as [&str; 0]);
    assert_eq!(names("/x"), None);
    assert_eq!(block_on(lookup(&memory, None, b"/etc")).unwrap(), Found::Missing);
}

/// A folder of so many entries that it has several levels of pages.
fn large(memory: &mut Memory, count: u32, skip: impl Fn(u32) -> bool) -> Option<ChunkId> {
    let (mut writer, mut pages) = (FolderWriter::new(keys()), Vec::new());
    for n in (0..count).filter(|n| !skip(*n)) {
        let name = format!("{n:08} {}", "long name ".repeat(20));
        let entry = Entry {
            name: Bytes::from(name),
            kind: EntryKind::Fifo.into(),
            ..Entry::default()
        };
        writer.push(&entry, &mut pages).unwrap();
    }
    let root = writer.finish(&mut pages).unwrap();
    memory.pages.extend(pages.into_iter().map(|page| (page.id, page.raw)));
    root
}

#[test]
fn a_large_folder_is_searched_without_reading_all_of_it() {
    let mut memory = Memory::default();
    let root = large(&mut memory, 20_000, |n| n == 777);
    let pages = memory.pages.len() as u32;
    assert!(pages > 40, "{pages}");
    let name = |n: u32| format!("{n:08} {}", "long name ".repeat(20));
    for n in [0, 1, 776, 777, 778, 12_345, 19_999, 20_000] {
        let found = block_on(lookup(&memory, root, name(n).as_bytes())).unwrap();
        assert_eq!(found == Found::Missing, n == 777 || n == 20_000);
        assert!(memory.count() <= 4);
    }
    let mut cursor = FolderCursor::new(&memory, root);
    block_on(async {
        cursor.seek(b"00019998").await.unwrap();
        for n in [19_998, 19_999] {
            assert_eq!(cursor.next().await.unwrap().unwrap().name, name(n));
            // Parking changes nothing but memory.
            cursor.park();
        }
        assert!(cursor.next().await.unwrap().is_none());
        cursor.park();
        assert!(cursor.next().await.unwrap().is_none());
        cursor.seek(b"").await.unwrap();
        cursor.park();
        assert_eq!(cursor.next().await.unwrap().unwrap().name, name(0));
        cursor.seek(b"00000777").await.unwrap();
        assert_eq!(cursor.next().await.unwrap().unwrap().name, name(778));
    });
    assert_eq!(walk(&memory, root).len(), 19_999);
}

#[test]
fn comparing_costs_what_differs() {
    let mut memory = Memory::default();
    let first = large(&mut memory, 20_000, |_| false);
    let second = large(&mut memory, 20_000, |n| n == 9_999);
    let pages = memory.pages.len() as u32;
    memory.count();
    let mut changes = Vec::new();
    block_on(diff((&memory, first), (&memory, second), &mut |path, change, _, _| {
        changes.push((path[1..9].to_vec(), change));
        ControlFlow::Continue(())
    }))
    .unwrap();
    assert_eq!(changes, [(b"00009999".to_vec(), Change::Removed)]);
    let read = memory.count();
    assert!(read <= 8, "{read} of {pages}");
    let nothing = block_on(diff((&memory, first), (&memory, first), &mut |_, _, _, _| {
        panic!("no difference")
    }));
    nothing.unwrap();
    assert_eq!(memory.count(), 0);
}

#[test]
fn deep_trees_are_walked_and_compared() {
    let mut memory = Memory::default();
    let deep = |last: &str| {
        let mut files = Vec::new();
        let mut path = String::new();
        for n in 0..300 {
            path += &format!("/folder {n}");
            files.push((format!("{path}/a"), vec![]));
            files.push((format!("{path}/z"), vec![]));
        }
        files.push((format!("{path}/{last}"), vec![]));
        files
    };
    let (first, second) = (build(&mut memory, &deep("x")), build(&mut memory, &deep("y")));
    assert_eq!(walk(&memory, first).len(), 901);
    let mut changes = Vec::new();
    block_on(diff((&memory, first), (&memory, second), &mut |path, change, _, _| {
        changes.push((path[path.len() - 1], change));
        ControlFlow::Continue(())
    }))
    .unwrap();
    assert_eq!(changes, [(b'x', Change::Removed), (b'y', Change::Added)]);
}

#[test]
fn a_walk_goes_on_past_damage() {
    let mut memory = Memory::default();
    let files: Vec<_> = ["/a/1", "/b/2", "/c/3", "/d"]
        .map(|path| (path.to_owned(), vec![]))
        .to_vec();
    let root = build(&mut memory, &files);
    let Found::Entry(b) = block_on(lookup(&memory, root, b"/b")).unwrap() else {
        panic!()
    };
    memory.lost.insert(folder_page(&b).unwrap());
    let (mut seen, mut damaged, mut left) = (Vec::new(), Vec::new(), Vec::new());
    block_on(async {
        let mut walk = TreeWalk::new(&memory, root, Vec::new());
        while let Some(step) = walk.next().await.unwrap() {
            match step {
                Walked::Entry { path, .. } => seen.push(String::from_utf8(path).unwrap()),
                Walked::Leave { path } => left.push(String::from_utf8(path).unwrap()),
                Walked::Damaged { path, error } => {
                    assert!(error.is_damage());
                    damaged.push(String::from_utf8(path).unwrap());
                }
            }
        }
    });
    assert_eq!(seen, ["/a", "/a/1", "/b", "/c", "/c/3", "/d"]);
    assert_eq!(left, ["/a", "/b", "/c", ""]);
    assert_eq!(damaged, ["/b"]);

    // A large folder loses only the entries of the lost page.
    let mut memory = Memory::default();
    let root = large(&mut memory, 20_000, |_| false);
    let top = block_on(memory.page(&root.unwrap())).unwrap();
    memory
        .lost
        .insert(ChunkId::try_from(top.children[1].id.as_ref()).unwrap());
    let mut count = 0;
    let mut damaged = 0;
    block_on(async {
        let mut walk = TreeWalk::new(&memory, root, Vec::new());
        while let Some(step) = walk.next().await.unwrap() {
            match step {
                Walked::Entry { .. } => count += 1,
                Walked::Damaged { .. } => damaged += 1,
                Walked::Leave { .. } => {}
            }
        }
    });
    assert!(damaged == 1 && count > 15_000 && count < 20_000, "{count}");
}

fn arbitrary_files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let path = proptest::collection::vec("[a-c]", 1..5).prop_map(|names| format!("/{}", names.join("/")));
    proptest::collection::btree_map(path, proptest::collection::vec(any::<u8>(), 0..2), 0..12).prop_map(|files| {
        // A path that is a folder for another cannot be a file.
        let paths: Vec<String> = files.keys().cloned().collect();
        let is_folder = |path: &str| paths.iter().any(|other| other.starts_with(&format!("{path}/")));
        files.into_iter().filter(|(path, _)| !is_folder(path)).collect()
    })
}

/// Every path of a tree; a folder has no content.
fn model(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Option<&Vec<u8>>> {
    let mut all = BTreeMap::new();
    for (path, content) in files {
        for (at, _) in path.match_indices('/').skip(1) {
            all.insert(path[..at].to_owned(), None);
        }
        all.insert(path.clone(), Some(content));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn trees_agree_with_a_plain_model(first in arbitrary_files(), second in arbitrary_files()) {
        let mut memory = Memory::default();
        let list_of = |files: &BTreeMap<String, Vec<u8>>| files.clone().into_iter().collect::<Vec<_>>();
        let (a, b) = (build(&mut memory, &list_of(&first)), build(&mut memory, &list_of(&second)));
        let (first, second) = (model(&first), model(&second));
        let mut walked = walk(&memory, a);
        walked.sort();
        prop_assert_eq!(walked, first.keys().cloned().collect::<Vec<_>>());

        let mut found = BTreeMap::new();
        block_on(diff((&memory, a), (&memory, b), &mut |path, change, _, _| {
            assert!(found.insert(String::from_utf8(path.to_vec()).unwrap(), change).is_none());
            ControlFlow::Continue(())
        })).unwrap();
        let mut wanted = BTreeMap::new();
        for path in first.keys().chain(second.keys()) {
            let change = match (first.get(path), second.get(path)) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(_), Some(_)) => Change::Modified,
                (Some(_), None) => Change::Removed,
                (None, _) => Change::Added,
            };
            wanted.insert(path.clone(), change);
        }
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn only_what_is_kept_of_an_entry_counts_as_a_change() {
    let mut memory = Memory::default();
    let mut tree = |change: &dyn Fn(&mut Entry)| {
        let (mut writer, mut pages) = (FolderWriter::new(keys()), Vec::new());
        let mut entry = Entry {
            name: Bytes::from_static(b"x"),
            kind: EntryKind::Symlink.into(),
            link_target: Bytes::from_static(b"t"),
            ..Entry::default()
        };
        change(&mut entry);
        writer.push(&entry, &mut pages).unwrap();
        let root = writer.finish(&mut pages).unwrap();
        memory.pages.extend(pages.into_iter().map(|page| (page.id, page.raw)));
        root
    };
    let plain = tree(&|_| {});
    let cases = [
        (tree(&|entry| entry.inode = 9), None),
        (tree(&|entry| entry.ctime_s = 9), None),
        (tree(&|entry| entry.mtime_s = 9), Some(Change::Metadata)),
        (tree(&|entry| entry.uid = 9), Some(Change::Metadata)),
        (
            tree(&|entry| entry.link_target = Bytes::from_static(b"u")),
            Some(Change::Modified),
        ),
    ];
    for (other, wanted) in cases {
        let mut found = None;
        block_on(diff((&memory, plain), (&memory, other), &mut |_, change, _, _| {
            found = Some(change);
            ControlFlow::Continue(())
        }))
        .unwrap();
        assert_eq!(found, wanted);
    }
}
