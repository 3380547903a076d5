//! Tests of `tree`, and the entries other tests are made with.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::pack::tests::keys;
use lockstone_proto::vault::{Content, Xattr};
use proptest::prelude::*;

/// A small file's entry.
pub(crate) fn file(name: &[u8], size: u64) -> Entry {
    Entry {
        name: Bytes::copy_from_slice(name),
        kind: EntryKind::File.into(),
        mode: 0o644,
        uid: 1000,
        user: Bytes::from_static(b"someone"),
        mtime_s: 1_700_000_000,
        mtime_ns: 123_456_789,
        inode: 42,
        size,
        content: (size > 0).then(|| Content {
            ids: keys().chunk_id(ChunkKind::Data, name).0.to_vec().into(),
            lens: vec![size],
            ..Content::default()
        }),
        ..Entry::default()
    }
}

fn write(entries: &[Entry]) -> (Option<ChunkId>, Vec<NewPage>) {
    let mut writer = FolderWriter::new(Arc::new(keys()));
    let mut out = Vec::new();
    for entry in entries {
        writer.push(entry, &mut out).unwrap();
    }
    (writer.finish(&mut out).unwrap(), out)
}

fn read(id: &[u8], pages: &HashMap<ChunkId, Bytes>, entries: &mut Vec<Entry>) -> Page {
    let page = decode_page(pages[&ChunkId::try_from(id).unwrap()].clone()).unwrap();
    entries.extend(page.entries.iter().cloned());
    for (index, child) in page.children.iter().enumerate() {
        let below = read(&child.id, pages, entries);
        check_child(&page, index, &below).unwrap();
    }
    page
}

fn round_trip(entries: &[Entry]) -> Vec<NewPage> {
    let (top, pages) = write(entries);
    let by_id: HashMap<_, _> = pages.iter().map(|page| (page.id, page.raw.clone())).collect();
    let mut found = Vec::new();
    if let Some(top) = top {
        read(top.as_bytes(), &by_id, &mut found);
    }
    assert_eq!(found, entries);
    for page in &pages {
        assert_eq!(page.id, keys().chunk_id(ChunkKind::Tree, &page.raw));
        assert!(page.raw.len() <= PAGE_MAX);
    }
    pages
}

fn many(count: u32) -> Vec<Entry> {
    (0..count)
        .map(|n| file(format!("file {n:08}").as_bytes(), u64::from(n % 5000)))
        .collect()
}

#[test]
fn an_empty_folder_has_no_page_and_a_small_one_has_one() {
    assert_eq!(write(&[]), (None, vec![]));
    assert_eq!(round_trip(&many(3)).len(), 1);
}

#[test]
fn a_page_is_what_the_schema_says() {
    let entries = many(3);
    let (_, pages) = write(&entries);
    assert_eq!(
        pages[0].raw,
        Page {
            level: 0,
            entries,
            children: vec![]
        }
        .encode_to_vec()
    );
    let above = round_trip(&many(30_000)).pop().unwrap();
    let page = decode_page(above.raw.clone()).unwrap();
    assert_eq!(page.level, 1);
    assert_eq!(above.raw, page.encode_to_vec());
}

#[test]
fn large_folders_become_pages_of_pages() {
    let pages = round_trip(&many(100_000));
    let mean = pages.iter().map(|page| page.raw.len()).sum::<usize>() / pages.len();
    assert!(
        (50 << 10..160 << 10).contains(&mean),
        "pages of {mean} bytes on average"
    );
}

#[test]
fn pages_stay_small_when_entries_are_large() {
    let entries: Vec<_> = (0..300)
        .map(|n| Entry {
            xattrs: vec![Xattr {
                name: Bytes::from_static(b"user.x"),
                value: vec![7; 100_000].into(),
            }],
            ..file(format!("{n:04}").as_bytes(), 1)
        })
        .collect();
    let pages = round_trip(&entries);
    assert!(pages.len() > 290, "each is more than an end's distance");
}

#[test]
fn an_insertion_changes_neighbouring_pages_only() {
    let before = many(50_000);
    let old: Vec<_> = write(&before).1.into_iter().map(|page| page.id).collect();
    for at in [0, 17, 25_000, 49_999] {
        let mut after = before.clone();
        after.insert(at + 1, file(format!("file {at:08} and one more").as_bytes(), 1));
        let new: Vec<_> = write(&after).1.into_iter().map(|page| page.id).collect();
        let changed = new.iter().filter(|id| !old.contains(id)).count();
        assert!(changed <= 5, "{changed} of {} pages changed", new.len());
    }
}

#[test]
fn an_entry_too_large_for_a_page_is_refused_and_the_others_stay() {
    let mut writer = FolderWriter::new(Arc::new(keys()));
    let mut out = Vec::new();
    let huge = |name: &[u8]| Entry {
        xattrs: vec![Xattr {
            name: Bytes::from_static(b"user.x"),
            value: vec![7; PAGE_MAX].into(),
        }],
        ..file(name, 1)
    };
    assert!(writer.push(&huge(b"a"), &mut out).is_err());
    writer.push(&file(b"b", 1), &mut out).unwrap();
    assert!(writer.push(&huge(b"c"), &mut out).is_err());
    writer.push(&file(b"d", 1), &mut out).unwrap();
    let top = writer.finish(&mut out).unwrap().unwrap();
    assert_eq!((out.len(), out[0].id), (1, top));
    let names: Vec<_> = decode_page(out[0].raw.clone())
        .unwrap()
        .entries
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(names, ["b", "d"]);
}

#[test]
fn entries_that_break_the_rules_are_refused_on_both_sides() {
    let spoil: [fn(&mut Entry); 23] = [
        |e| e.name = Bytes::new(),
        |e| e.name = Bytes::from_static(b"."),
        |e| e.name = Bytes::from_static(b".."),
        |e| e.name = Bytes::from_static(b"../x"),
        |e| e.name = Bytes::from_static(b"/etc"),
        |e| e.name = Bytes::from_static(b"a\0b"),
        |e| e.name = vec![b'n'; NAME_MAX + 1].into(),
        |e| e.kind = 0,
        |e| e.kind = 7,
        |e| e.kind = EntryKind::Folder.into(),
        |e| e.mode = 0o10000,
        |e| e.flags = 1,
        |e| e.mtime_ns = 1_000_000_000,
        |e| e.ctime_ns = 1_000_000_000,
        |e| e.size -= 1,
        |e| e.content.as_mut().unwrap().lens[0] = 0,
        |e| e.content.as_mut().unwrap().ids = Bytes::new(),
        |e| e.page = vec![0; 32].into(),
        |e| (e.kind, e.content, e.page) = (EntryKind::Folder.into(), None, vec![0; 31].into()),
        |e| e.link_target = Bytes::from_static(b"x"),
        |e| (e.kind, e.content) = (EntryKind::Symlink.into(), None),
        |e| e.xattrs = vec![Xattr::default()],
        |e| {
            e.xattrs = vec![
                Xattr {
                    name: Bytes::from_static(b"user.a"),
                    value: Bytes::new()
                };
                2
            ]
        },
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut bad = file(b"name", 10);
        assert!(check_entry(&bad).is_ok());
        spoil(&mut bad);
        assert!(
            FolderWriter::new(Arc::new(keys())).push(&bad, &mut Vec::new()).is_err(),
            "rule {index}"
        );
        let raw = Page {
            level: 0,
            entries: vec![bad],
            children: vec![],
        }
        .encode_to_vec();
        assert!(decode_page(raw.into()).is_err(), "rule {index}");
    }
}

#[test]
fn pages_that_break_the_rules_are_refused() {
    let child = |first: &'static str| PageRef {
        id: vec![1; 32].into(),
        first: first.into(),
    };
    let page = |level, entries, children| {
        decode_page(
            Page {
                level,
                entries,
                children,
            }
            .encode_to_vec()
            .into(),
        )
    };
    assert!(page(0, vec![file(b"a", 1), file(b"b", 1)], vec![]).is_ok());
    assert!(page(1, vec![], vec![child("a"), child("b")]).is_ok());

    assert!(page(0, vec![], vec![]).is_err());
    assert!(page(0, vec![file(b"b", 1), file(b"a", 1)], vec![]).is_err());
    assert!(page(0, vec![file(b"a", 1), file(b"a", 1)], vec![]).is_err());
    assert!(page(0, vec![file(b"a", 1)], vec![child("a")]).is_err());
    assert!(page(0, vec![], vec![child("a")]).is_err());
    assert!(page(1, vec![file(b"a", 1)], vec![]).is_err());
    assert!(page(1, vec![], vec![child("b"), child("a")]).is_err());
    assert!(page(1, vec![], vec![child("..")]).is_err());
    assert!(
        page(
            1,
            vec![],
            vec![PageRef {
                id: Bytes::new(),
                first: "a".into()
            }]
        )
        .is_err()
    );
    assert!(page(LEVEL_MAX + 1, vec![], vec![child("a")]).is_err());
    assert!(decode_page(vec![0; PAGE_MAX + 1].into()).is_err());
    let empty_entries = Bytes::from([ENTRY_KEY, 0].repeat(PAGE_MAX_ENTRIES + 1));
    assert_eq!(decode_page(empty_entries), Err(TreeError::Page("has too many entries")));

    let mut writer = FolderWriter::new(Arc::new(keys()));
    writer.push(&file(b"b", 1), &mut Vec::new()).unwrap();
    assert!(writer.push(&file(b"a", 1), &mut Vec::new()).is_err());
    assert!(writer.push(&file(b"b", 1), &mut Vec::new()).is_err());
}

#[test]
fn a_page_in_the_wrong_place_is_noticed() {
    let child = |first: &'static str| PageRef {
        id: vec![1; 32].into(),
        first: first.into(),
    };
    let parent = Page {
        level: 1,
        entries: vec![],
        children: vec![child("b"), child("d")],
    };
    let leaf = |names: &[&[u8]]| Page {
        entries: names.iter().map(|n| file(n, 1)).collect(),
        ..Page::default()
    };
    assert!(check_child(&parent, 0, &leaf(&[b"b", b"c"])).is_ok());
    assert!(check_child(&parent, 1, &leaf(&[b"d", b"z"])).is_ok());
    assert!(check_child(&parent, 0, &leaf(&[b"c"])).is_err());
    assert!(check_child(&parent, 0, &leaf(&[b"b", b"d"])).is_err());
    assert!(check_child(&parent, 2, &leaf(&[b"d"])).is_err());
    assert!(
        check_child(
            &parent,
            0,
            &Page {
                level: 1,
                entries: vec![],
                children: vec![child("b")]
            }
        )
        .is_err()
    );
    assert!(check_child(&leaf(&[b"b"]), 0, &leaf(&[b"b"])).is_err());
}

#[test]
fn decoding_copies_no_bytes() {
    let (_, pages) = write(&many(10));
    let raw = pages[0].raw.clone();
    let page = decode_page(raw.clone()).unwrap();
    let within = |part: &Bytes| raw.as_ptr_range().contains(&part.as_ptr());
    assert!(
        page.entries
            .iter()
            .all(|entry| within(&entry.name) && within(&entry.user))
    );
    assert!(within(&page.entries[1].content.as_ref().unwrap().ids));
}

proptest! {
    #[test]
    fn any_folder_comes_back(
        names in proptest::collection::btree_set(proptest::collection::vec(1u8..=255, 1..40), 0..400),
        weight in 0usize..2000,
    ) {
        let names: BTreeSet<_> = names.into_iter().filter(|n| check_name(&n.clone().into()).is_ok()).collect();
        let entries: Vec<_> = names
            .iter()
            .map(|name| Entry { user: vec![b'u'; weight].into(), ..file(name, 5) })
            .collect();
        round_trip(&entries);
    }

    #[test]
    fn rubbish_never_panics(bytes: Vec<u8>) {
        let _ = decode_page(Bytes::from(bytes));
    }
}
