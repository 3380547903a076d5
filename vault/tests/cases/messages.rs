//! Pages and content lists.

use bytes::Bytes;
use lockstone_proto::vault::{Content, Entry, Hole, Page, PageRef, Xattr};
use prost::Message;
use serde_json::json;

use super::{Cases, with};

pub(crate) fn entry(kind: i32) -> Entry {
    Entry {
        name: Bytes::from_static(b"a"),
        kind,
        ..Entry::default()
    }
}

pub(crate) fn file(content: Content, size: u64) -> Entry {
    Entry {
        content: Some(content),
        size,
        ..entry(1)
    }
}

pub(crate) fn xattr(name: &'static [u8]) -> Xattr {
    Xattr {
        name: Bytes::from_static(name),
        value: Bytes::new(),
    }
}

pub(crate) fn page(entries: Vec<Entry>) -> Vec<u8> {
    Page {
        entries,
        ..Page::default()
    }
    .encode_to_vec()
}

pub(crate) fn child(first: &'static [u8]) -> PageRef {
    PageRef {
        id: vec![7; 32].into(),
        first: Bytes::from_static(first),
    }
}

/// A list of one chunk of 10 bytes and a hole of 5.
pub(crate) fn list() -> Content {
    Content {
        level: 0,
        ids: vec![7; 32].into(),
        lens: vec![10],
        holes: vec![Hole { offset: 10, len: 5 }],
    }
}

pub(crate) fn pages(cases: &mut Cases) {
    let mut add = |accepted, why: &str, bytes: Vec<u8>| cases.add("page", accepted, why, &bytes, json!({}));
    let good = page(vec![file(list(), 15)]);
    let above = |children| Page {
        level: 1,
        children,
        ..Page::default()
    };
    add(true, "a page of level 0", good.clone());
    add(
        true,
        "a page of level 1",
        above(vec![child(b"a"), child(b"b")]).encode_to_vec(),
    );
    add(
        true,
        "a field 128 that may be skipped",
        [&good[..], &[0x80, 0x08, 1]].concat(),
    );
    let heads = [
        ("the length of an entry", vec![0x12, good[1] | 0x80, 0]),
        ("the key of an entry", vec![0x92, 0, good[1]]),
    ];
    for (what, head) in heads {
        let long = [&head[..], &good[2..]].concat();
        add(false, &format!("a needless byte in {what}"), long.clone());
        let why = format!("a needless byte in {what}, before a field 128");
        add(false, &why, [&long[..], &[0x80, 0x08, 1]].concat());
    }
    for (why, field) in [
        ("a field 128 whose key has a needless byte", &[0x80, 0x88, 0, 1][..]),
        ("a field 128 whose number has a needless byte", &[0x80, 0x08, 0x81, 0]),
        (
            "a field 128 whose length has a needless byte",
            &[0x82, 0x08, 0x81, 0, 7],
        ),
        ("a field 128 that is a group", &[0x83, 0x08, 0x84, 0x08]),
        ("a field 129 before a field 128", &[0x88, 0x08, 1, 0x80, 0x08, 1]),
    ] {
        add(false, why, [&good[..], field].concat());
    }
    add(false, "an unknown field 4", [&good[..], &[0x20, 1]].concat());
    add(false, "an unknown field 127", [&good[..], &[0xf8, 0x07, 1]].concat());
    add(false, "level 0 is written out", [&[8, 0], &good[..]].concat());
    add(
        false,
        "the level is twice there",
        [&[8, 1, 8, 1], &above(vec![child(b"a")]).encode_to_vec()[2..]].concat(),
    );
    add(
        false,
        "a level that needs one byte has two",
        [&[8, 0x81, 0], &above(vec![child(b"a")]).encode_to_vec()[2..]].concat(),
    );
    add(
        false,
        "a level of more than 32 bits",
        [
            &[8, 0x81, 0x80, 0x80, 0x80, 0x10],
            &above(vec![child(b"a")]).encode_to_vec()[2..],
        ]
        .concat(),
    );
    add(
        false,
        "the level stands behind the children",
        [&above(vec![child(b"a")]).encode_to_vec()[2..], &[8, 1]].concat(),
    );
    add(false, "nothing on it", vec![]);
    add(false, "cut off", good[..good.len() - 1].to_vec());
    add(
        false,
        "level 9",
        with(above(vec![child(b"a")]), |it| it.level = 9).encode_to_vec(),
    );
    add(
        false,
        "level 1 with entries",
        with(Page::decode(&good[..]).unwrap(), |it| it.level = 1).encode_to_vec(),
    );
    add(
        false,
        "children out of order",
        above(vec![child(b"b"), child(b"a")]).encode_to_vec(),
    );
    add(
        false,
        "a child without id",
        above(vec![with(child(b"a"), |it| it.id = Bytes::new())]).encode_to_vec(),
    );
}

/// Names and plain fields of entries.
pub(crate) fn entries(cases: &mut Cases) {
    let mut add = |accepted, why: &str, bytes: Vec<u8>| cases.add("page", accepted, why, &bytes, json!({}));
    let named = |name: Vec<u8>| with(entry(2), |it| it.name = name.into());
    add(true, "a folder", page(vec![entry(2)]));
    add(
        false,
        "names out of order",
        page(vec![named(b"b".to_vec()), named(b"a".to_vec())]),
    );
    add(
        false,
        "a name twice",
        page(vec![named(b"a".to_vec()), named(b"a".to_vec())]),
    );
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
        add(false, "an impossible name", page(vec![named(name.to_vec())]));
    }
    add(false, "a name of 4,096 bytes", page(vec![named(vec![b'x'; 4096])]));
    add(true, "a name of 4,095 bytes", page(vec![named(vec![b'x'; 4095])]));
    add(false, "kind 0", page(vec![entry(0)]));
    add(false, "kind 7", page(vec![entry(7)]));
    add(false, "mode 010000", page(vec![with(entry(1), |it| it.mode = 0o10000)]));
    add(
        false,
        "an unknown inode flag",
        page(vec![with(entry(1), |it| it.flags = 1)]),
    );
    add(
        false,
        "a billion nanoseconds",
        page(vec![with(entry(1), |it| it.mtime_ns = 1_000_000_000)]),
    );
}

/// What only some kinds of entries have.
pub(crate) fn kinds(cases: &mut Cases) {
    let mut add = |accepted, why: &str, bytes: Vec<u8>| cases.add("page", accepted, why, &bytes, json!({}));
    add(
        false,
        "content of a folder",
        page(vec![with(file(list(), 15), |it| it.kind = 2)]),
    );
    add(false, "content beyond the size", page(vec![file(list(), 14)]));
    add(
        true,
        "the end of a file that no list covers",
        page(vec![file(list(), 16)]),
    );
    add(
        false,
        "a page of a file",
        page(vec![with(entry(1), |it| it.page = vec![7; 32].into())]),
    );
    add(
        false,
        "a page's id of 31 bytes",
        page(vec![with(entry(2), |it| it.page = vec![7; 31].into())]),
    );
    add(
        true,
        "a folder with a page",
        page(vec![with(entry(2), |it| it.page = vec![7; 32].into())]),
    );
    add(
        true,
        "a symlink",
        page(vec![with(entry(3), |it| it.link_target = Bytes::from_static(b"x"))]),
    );
    add(
        true,
        "attributes and flags",
        page(vec![with(entry(1), |it| {
            it.flags = 0x0080_0070;
            it.xattrs = vec![xattr(b"user.a"), xattr(b"user.b")];
        })]),
    );
    add(false, "a symlink without target", page(vec![entry(3)]));
    add(
        false,
        "a link target of a file",
        page(vec![with(entry(1), |it| it.link_target = Bytes::from_static(b"x"))]),
    );
    add(
        false,
        "a zero byte in a link target",
        page(vec![with(entry(3), |it| it.link_target = Bytes::from_static(b"x\0"))]),
    );
    add(
        false,
        "an attribute without name",
        page(vec![with(entry(1), |it| it.xattrs = vec![xattr(b"")])]),
    );
    add(
        false,
        "a zero byte in an attribute's name",
        page(vec![with(entry(1), |it| it.xattrs = vec![xattr(b"user.\0")])]),
    );
    add(
        false,
        "attributes out of order",
        page(vec![with(entry(1), |it| {
            it.xattrs = vec![xattr(b"user.b"), xattr(b"user.a")]
        })]),
    );
    add(false, "an unknown field 25 of an entry", {
        let raw = [&entry(1).encode_to_vec()[..], &[0xc8, 0x01, 1]].concat();
        [&[0x12, raw.len() as u8][..], &raw].concat()
    });
    add(
        true,
        "an unsettled entry",
        page(vec![with(entry(1), |it| it.unsettled = true)]),
    );
    add(
        false,
        "a hole of 0 bytes in an entry",
        page(vec![file(
            Content {
                holes: vec![Hole { offset: 10, len: 0 }],
                ..list()
            },
            15,
        )]),
    );
}

pub(crate) fn lists(cases: &mut Cases) {
    let mut add = |accepted, why: &str, content: Content, level: u32, len: u64| {
        let place = json!({ "level": level, "base": 0, "len": len });
        cases.add("content", accepted, why, &content.encode_to_vec(), place);
    };
    add(true, "a chunk and a hole", list(), 0, 15);
    add(false, "another length than the list above says", list(), 0, 16);
    add(false, "another level than the list above says", list(), 1, 15);
    add(
        false,
        "a hole of 0 bytes",
        Content {
            holes: vec![Hole { offset: 10, len: 0 }],
            ..list()
        },
        0,
        10,
    );
    add(
        false,
        "a hole out of place",
        Content {
            holes: vec![Hole { offset: 11, len: 4 }],
            ..list()
        },
        0,
        15,
    );
    add(
        false,
        "a chunk of 0 bytes",
        Content {
            lens: vec![0],
            holes: vec![],
            ..list()
        },
        0,
        0,
    );
    add(
        false,
        "a chunk above 4 MiB",
        Content {
            lens: vec![(4 << 20) + 1],
            holes: vec![],
            ..list()
        },
        0,
        (4 << 20) + 1,
    );
    add(false, "covers nothing", Content::default(), 0, 0);
    add(
        false,
        "more lengths than ids",
        Content {
            lens: vec![5, 5],
            holes: vec![],
            ..list()
        },
        0,
        10,
    );
    add(false, "holes above level 0", with(list(), |it| it.level = 1), 1, 15);
    add(
        false,
        "level 9",
        Content {
            level: 9,
            holes: vec![],
            ..list()
        },
        9,
        10,
    );
    add(
        false,
        "lengths that overflow",
        Content {
            level: 1,
            ids: vec![7; 64].into(),
            lens: vec![u64::MAX, 2],
            holes: vec![],
        },
        1,
        1,
    );
}

/// Lists at other places of a file, and lists of lists.
pub(crate) fn places(cases: &mut Cases) {
    let mut far = |accepted, why: &str, base: u64, len: u64| {
        let content = Content {
            lens: vec![len],
            holes: vec![],
            ..list()
        };
        let place = json!({ "level": 0, "base": base, "len": len });
        cases.add("content", accepted, why, &content.encode_to_vec(), place);
    };
    far(true, "a chunk of 4 MiB at another place of the file", 5, 4 << 20);
    far(false, "a list that ends behind 2^64 - 1", u64::MAX - 5, 10);
    let place = json!({ "level": 0, "base": 100, "len": 15 });
    let hole = |offset| Content {
        holes: vec![Hole { offset, len: 5 }],
        ..list()
    };
    cases.add(
        "content",
        true,
        "a hole's offset is that in the file",
        &hole(110).encode_to_vec(),
        place.clone(),
    );
    cases.add(
        "content",
        false,
        "a hole's offset is not that in the list",
        &hole(10).encode_to_vec(),
        place,
    );
    let nested = Content {
        level: 1,
        holes: vec![],
        ..list()
    };
    cases.add(
        "content",
        true,
        "a list of lists",
        &nested.encode_to_vec(),
        json!({ "level": 1, "base": 0, "len": 10 }),
    );
    let unpacked = [&[0x12, 32][..], &[7; 32], &[0x18, 10]].concat();
    cases.add(
        "content",
        false,
        "numbers that are not packed",
        &unpacked,
        json!({ "level": 0, "base": 0, "len": 10 }),
    );
}

/// Pages below others. All of them are whole.
pub(crate) fn children(cases: &mut Cases) {
    let above = |level, children| Page {
        level,
        children,
        ..Page::default()
    };
    let named = |names: &[&'static [u8]]| {
        let named = |name: &&'static [u8]| with(entry(1), |it| it.name = Bytes::from_static(name));
        page(names.iter().map(named).collect())
    };
    let parent = above(1, vec![child(b"b"), child(b"d")]);
    let mut add = |accepted, why: &str, parent: &Page, index: u32, bytes: Vec<u8>| {
        let more = json!({ "parent": hex::encode(parent.encode_to_vec()), "index": index });
        cases.add("child", accepted, why, &bytes, more);
    };
    add(true, "the first child", &parent, 0, named(&[b"b", b"c"]));
    add(true, "the last child", &parent, 1, named(&[b"d", b"z"]));
    add(false, "another first name", &parent, 0, named(&[b"a", b"c"]));
    add(false, "it begins later than promised", &parent, 0, named(&[b"c"]));
    add(false, "the next child's first name", &parent, 0, named(&[b"b", b"d"]));
    add(
        false,
        "a name behind the next child's first",
        &parent,
        0,
        named(&[b"b", b"e"]),
    );
    let same_level = above(1, vec![child(b"b")]).encode_to_vec();
    add(false, "a child of the same level", &parent, 0, same_level.clone());
    let high = above(2, vec![child(b"b"), child(b"d")]);
    add(true, "a child of level 1", &high, 0, same_level);
    add(false, "a child two levels lower", &high, 0, named(&[b"b"]));
    let beyond = above(1, vec![child(b"b"), child(b"d")]).encode_to_vec();
    add(
        false,
        "a child of level 1 with a child behind the next one",
        &high,
        0,
        beyond,
    );
}
