//! Tests of searches and histories over many recovery points: what they find, and how often they look at a page.

use std::fmt::Write as _;

use super::*;

/// Wants names that contain a text, or paths that do.
struct Contains(&'static [u8], bool);

impl Wanted for Contains {
    fn is_by_path(&self) -> bool {
        self.1
    }

    fn is_match(&self, path: &[u8], name: &[u8]) -> bool {
        let text = if self.1 { path } else { name };
        text.windows(self.0.len()).any(|window| window == self.0)
    }
}

/// Wants a name.
struct Named(&'static [u8]);

impl Wanted for Named {
    fn is_by_path(&self) -> bool {
        false
    }

    fn is_match(&self, _: &[u8], name: &[u8]) -> bool {
        name == self.0
    }
}

#[derive(Default)]
struct Heard {
    found: Vec<String>,
    damaged: Vec<String>,
}

impl Findings for Heard {
    fn found(&mut self, path: &[u8], entry: &Entry) -> ControlFlow<()> {
        assert!(path.ends_with(&entry.name));
        self.found.push(String::from_utf8(path.to_vec()).unwrap());
        ControlFlow::Continue(())
    }

    fn damaged(&mut self, path: &[u8], error: VaultError) {
        assert!(error.is_damage());
        self.damaged.push(String::from_utf8(path.to_vec()).unwrap());
    }
}

fn heard(search: &Search<Memory>, root: Option<ChunkId>) -> Heard {
    let mut heard = Heard::default();
    assert!(block_on(search.find(root, &mut heard)).unwrap().is_continue());
    heard
}

/// 12 folders of 12 folders of 5 files; in each next tree the content of one file is another.
fn trees(memory: &mut Memory, count: usize) -> Vec<Option<ChunkId>> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for n in 0..12 * 12 * 5 {
        let (a, b, c) = (n / 60, n / 5 % 12, n % 5);
        files.push((
            format!("/{a:02}/{b:02}/file-{c}"),
            vec![(n % 251) as u8, (n / 251) as u8],
        ));
    }
    let mut change = |n: usize| {
        let len = files.len();
        files[n * 7 % len].1 = n.to_le_bytes().to_vec();
        build(memory, &files)
    };
    (0..count).map(&mut change).collect()
}

#[test]
fn a_search_through_many_points_looks_at_each_page_once() {
    for by_path in [false, true] {
        let mut memory = Memory::default();
        let roots = trees(&mut memory, 60);
        let pages = memory.pages.len() as u32;
        let search = Search::new(Arc::new(memory), Arc::new(Contains(b"file-3", by_path)));
        for root in &roots {
            assert_eq!(heard(&search, *root).found.len(), 144);
        }
        assert_eq!(search.source().count(), pages);
        assert_eq!(search.looked_at(), u64::from(pages));
        // What was looked at ahead is not looked at again.
        let nothing = Search::new(search.into_source(), Arc::new(Contains(b"nothing", by_path)));
        for root in roots.iter().rev() {
            block_on(nothing.look_ahead(*root)).unwrap();
        }
        assert_eq!(nothing.looked_at(), u64::from(pages));
        for root in &roots {
            assert!(heard(&nothing, *root).found.is_empty());
        }
        assert_eq!(nothing.looked_at(), u64::from(pages));
    }
}

#[test]
fn a_search_with_more_matches_than_memory_finds_them_all() {
    let mut memory = Memory::default();
    let root = large(&mut memory, 100_000, |_| false);
    let search = Search::new(Arc::new(memory), Arc::new(Contains(b"long", false)));
    for _ in 0..2 {
        assert_eq!(heard(&search, root).found.len(), 100_000);
    }
}

#[test]
fn a_search_tells_damage_once_and_goes_on() {
    let mut memory = Memory::default();
    let files: Vec<_> = ["/a/1", "/b/21", "/c/31"]
        .map(|path| (path.to_owned(), vec![]))
        .to_vec();
    let first = build(&mut memory, &files);
    let second = build(
        &mut memory,
        &[files.clone(), vec![("/d/41".to_owned(), vec![])]].concat(),
    );
    let Found::Entry(b) = block_on(lookup(&memory, first, b"/b")).unwrap() else {
        panic!()
    };
    memory.lost.insert(folder_page(&b).unwrap());
    let search = Search::new(Arc::new(memory), Arc::new(Contains(b"1", false)));
    block_on(search.look_ahead(second)).unwrap();
    let (first, second) = (heard(&search, first), heard(&search, second));
    assert_eq!(
        (first.found, first.damaged),
        (vec!["/a/1".into(), "/c/31".into()], vec!["/b".into()])
    );
    assert_eq!(second.found, ["/a/1", "/c/31", "/d/41"]);
    assert!(second.damaged.is_empty());
}

#[test]
fn deep_trees_are_searched() {
    let mut memory = Memory::default();
    let mut path = String::new();
    for n in 0..3000 {
        let _ = write!(path, "/{n}");
    }
    let root = build_deep(&mut memory, 3000);
    let search = Search::new(Arc::new(memory), Arc::new(Contains(b"2999", false)));
    for _ in 0..2 {
        assert_eq!(heard(&search, root).found, [path.as_str()]);
    }
}

/// Folders `0`, `1`, … within each other.
fn build_deep(memory: &mut Memory, depth: usize) -> Option<ChunkId> {
    let mut page: Option<ChunkId> = None;
    for n in (0..depth).rev() {
        let (mut writer, mut pages) = (FolderWriter::new(keys()), Vec::new());
        let entry = Entry {
            name: n.to_string().into(),
            kind: EntryKind::Folder.into(),
            page: page
                .map(|page| Bytes::copy_from_slice(page.as_bytes()))
                .unwrap_or_default(),
            ..Entry::default()
        };
        writer.push(&entry, &mut pages).unwrap();
        page = writer.finish(&mut pages).unwrap();
        memory.pages.extend(pages.into_iter().map(|page| (page.id, page.raw)));
    }
    page
}

fn at(root: Option<ChunkId>, source: &'static str) -> Point {
    let mut point = point([1, 1], 1, 1, false);
    point.body.root = root
        .map(|root| Bytes::copy_from_slice(root.as_bytes()))
        .unwrap_or_default();
    point.body.sources = vec![Bytes::from_static(source.as_bytes())];
    point
}

#[test]
fn a_history_has_a_version_for_each_change() {
    let mut memory = Memory::default();
    let mut tree = |files: &[(&str, u8)]| {
        let files: Vec<_> = files
            .iter()
            .map(|(path, content)| ((*path).to_owned(), vec![*content]))
            .collect();
        build(&mut memory, &files)
    };
    let roots = [
        tree(&[("/s/other", 1)]),
        tree(&[("/s/a/x", 1)]),
        tree(&[("/s/a/x", 1), ("/s/b", 1)]),
        tree(&[("/s/a/x", 2), ("/s/b", 1)]),
        tree(&[("/s/b", 1)]),
        tree(&[("/s/a/x/folder", 1)]),
    ];
    let changes = |path: &str| {
        let mut history = History::new(&memory, path.as_bytes());
        let points = roots.map(|root| at(root, "/s"));
        let versions = points.iter().enumerate().map(|(place, point)| {
            let version = block_on(history.next(point)).unwrap();
            version.map(|version| (place, version.change))
        });
        versions.flatten().collect::<Vec<_>>()
    };
    let (added, modified, removed) = (Change::Added, Change::Modified, Change::Removed);
    assert_eq!(changes("/s/a/x"), [(1, added), (3, modified), (4, removed), (5, added)]);
    assert_eq!(changes("/s/a"), [(1, added), (3, modified), (4, removed), (5, added)]);
    assert_eq!(changes("/s/b"), [(2, added), (5, removed)]);
    assert_eq!(changes("").len(), 6, "the root has changed each time");
    assert!(changes("/s/nothing").is_empty());
}

#[test]
fn a_history_looks_at_each_page_on_the_way_once() {
    let mut memory = Memory::default();
    let roots = trees(&mut memory, 60);
    let mut history = History::new(&memory, b"/03/07/file-2");
    let mut versions = 0;
    memory.count();
    for root in roots.iter().chain(&roots) {
        versions += usize::from(block_on(history.next(&at(*root, "/"))).unwrap().is_some());
    }
    // The root each time, a folder below it five times, and one below that hardly ever.
    let read = memory.count();
    assert!(versions >= 1 && read <= 60 + 20, "{versions} versions, {read} pages");
}

#[test]
fn only_points_with_a_source_there_tell_about_a_path() {
    let point = |source: &'static str| at(None, source);
    for (source, path, tells) in [
        ("/", "/a", true),
        ("/a", "/a", true),
        ("/a", "/a/b", true),
        ("/a", "/ab", false),
        ("/a/b", "/a", true),
        ("/a/b", "", true),
        ("/b", "/a", false),
    ] {
        assert_eq!(tells_about(&point(source), path.as_bytes()), tells, "{source} {path}");
    }
}

/// What a search and a history through 1,000 points of a tree like the kernel's source cost, with the real index. Run
/// it by hand: it needs 1 GB of disk and some minutes. `--run-ignored only -E 'test(thousand_points)' --no-capture`.
#[test]
#[ignore = "a measurement"]
fn a_thousand_points_of_a_large_tree_are_searched() {
    use crate::testing::Lab;
    let lab = Lab::new();
    let domain = lab.open(Some(lab.server(1)), "1");
    let mut tree = Large::new(Arc::clone(&lab.keys));
    let roots: Vec<_> = (0..1000)
        .map(|n| {
            for file in 0..80 {
                tree.change(n * 7919 + file * 1009);
            }
            let (root, pages) = tree.write();
            domain.index().put_pages(&pages).unwrap();
            root
        })
        .collect();
    println!("{} pages, {} MiB", tree.pages, tree.bytes >> 20);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let kinds = [("nothing", &b"no such name"[..]), ("one name", b"file-3-77")];
    for ((text, wanted), threads) in kinds.into_iter().flat_map(|kind| [(kind, 0), (kind, 2)]) {
        let (begun, cpu) = (std::time::Instant::now(), cpu_ticks());
        let search = Search::new(Arc::clone(&domain), Arc::new(Named(wanted)));
        let mut heard = Heard::default();
        let own = runtime();
        let _ = own.block_on(search.find(roots[999], &mut heard)).unwrap();
        // As `points find` does: each thread looks into some points that follow one another.
        let runs = std::sync::Mutex::new(roots.rchunks(16));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let own = runtime();
                    loop {
                        let Some(run) = runs.lock().unwrap().next() else { break };
                        for root in run.iter().rev() {
                            own.block_on(search.look_ahead(*root)).unwrap();
                        }
                    }
                });
            }
        });
        for root in roots.iter().rev().skip(1) {
            let _ = own.block_on(search.find(*root, &mut heard)).unwrap();
        }
        println!(
            "{text}, {threads} threads ahead: {} found, {} pages in {:?}, {} ms of a core",
            heard.found.len(),
            search.looked_at(),
            begun.elapsed(),
            (cpu_ticks() - cpu) * 10
        );
    }
    let begun = std::time::Instant::now();
    let mut history = History::new(&*domain, b"/usr/src/linux/17/33/file-4-33");
    let versions = roots
        .iter()
        .filter(|root| block_on(history.next(&at(**root, "/"))).unwrap().is_some());
    println!("history: {} versions in {:?}", versions.count(), begun.elapsed());
}

/// The time of cores that this process has used, hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let numbers = behind_name.split_whitespace().skip(11).take(2);
    numbers.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// `/usr/src/linux` with 60 folders of 80 folders of 17 files, of which only what has changed is written again.
struct Large {
    keys: Arc<Keys>,
    /// For each file how often it was changed.
    files: Vec<u64>,
    /// The top page of each folder of files; `None` if it has changed.
    folders: Vec<Option<ChunkId>>,
    above: Vec<Option<ChunkId>>,
    pages: usize,
    bytes: usize,
}

impl Large {
    fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            files: vec![0; 60 * 80 * 17],
            folders: vec![None; 60 * 80],
            above: vec![None; 60],
            pages: 0,
            bytes: 0,
        }
    }

    fn change(&mut self, file: usize) {
        let file = file % self.files.len();
        self.files[file] += 1;
        self.folders[file / 17] = None;
        self.above[file / 17 / 80] = None;
    }

    fn write(&mut self) -> (Option<ChunkId>, Vec<crate::tree::NewPage>) {
        let mut pages = Vec::new();
        let folder = |entries: Vec<(String, EntryKind, Bytes)>, pages: &mut Vec<_>, keys: &Arc<Keys>| {
            let mut writer = FolderWriter::new(Arc::clone(keys));
            let mut sorted = entries;
            sorted.sort();
            for (name, kind, link) in sorted {
                let is_file = kind == EntryKind::File;
                let content = Content {
                    ids: link.clone(),
                    lens: vec![4096],
                    ..Content::default()
                };
                let entry = Entry {
                    name: name.into(),
                    kind: kind.into(),
                    mode: 0o644,
                    user: "root".into(),
                    group: "root".into(),
                    mtime_s: 1_700_000_000,
                    mtime_ns: 123_456_789,
                    ctime_s: 1_700_000_000,
                    ctime_ns: 123_456_789,
                    inode: 1_234_567,
                    device: 66_306,
                    size: if is_file { 4096 } else { 0 },
                    content: is_file.then_some(content),
                    page: if is_file { Bytes::new() } else { link },
                    ..Entry::default()
                };
                writer.push(&entry, pages).unwrap();
            }
            writer.finish(pages).unwrap().unwrap()
        };
        let bytes = |id: ChunkId| Bytes::copy_from_slice(id.as_bytes());
        for at in 0..self.folders.len() {
            if self.folders[at].is_none() {
                let file = |n: usize| {
                    let id = blake3::hash(format!("{at} {n} {}", self.files[at * 17 + n]).as_bytes());
                    (
                        format!("file-{n}-{}", at % 80),
                        EntryKind::File,
                        Bytes::copy_from_slice(id.as_bytes()),
                    )
                };
                self.folders[at] = Some(folder((0..17).map(file).collect(), &mut pages, &self.keys));
            }
        }
        for at in 0..60 {
            if self.above[at].is_none() {
                let below = |n: usize| {
                    (
                        format!("{n}"),
                        EntryKind::Folder,
                        bytes(self.folders[at * 80 + n].unwrap()),
                    )
                };
                self.above[at] = Some(folder((0..80).map(below).collect(), &mut pages, &self.keys));
            }
        }
        let below = |n: usize| (format!("{n}"), EntryKind::Folder, bytes(self.above[n].unwrap()));
        let mut top = folder((0..60).map(below).collect(), &mut pages, &self.keys);
        for name in ["linux", "src", "usr"] {
            top = folder(
                vec![(name.to_owned(), EntryKind::Folder, bytes(top))],
                &mut pages,
                &self.keys,
            );
        }
        self.pages += pages.len();
        self.bytes += pages.iter().map(|page| page.raw.len()).sum::<usize>();
        (Some(top), pages)
    }
}
