//! Tests of `content`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::HashMap;

use super::*;
use crate::pack::tests::keys;
use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Chunk(ChunkId, u64),
    Hole(u64),
}

/// The id of chunk number `n`: never one that ends a list, unless `ends`.
fn id(n: u64, ends: bool) -> ChunkId {
    let mut id = [0; 32];
    id[0] = u8::from(!ends);
    id[8..16].copy_from_slice(&n.to_le_bytes());
    ChunkId(id)
}

fn write(parts: &[Part]) -> (Option<Content>, Vec<NewPage>) {
    let mut writer = ContentWriter::new(Arc::new(keys()));
    let mut out = Vec::new();
    for part in parts {
        match part {
            Part::Chunk(id, len) => writer.chunk(id, *len as u32, &mut out).unwrap(),
            Part::Hole(len) => writer.hole(writer.position(), *len, &mut out).unwrap(),
        }
    }
    (writer.finish(&mut out).unwrap(), out)
}

/// A reader as `docs/format.md` describes it; adjacent holes come back as one.
fn read(content: &Content, base: u64, pages: &HashMap<ChunkId, Bytes>, parts: &mut Vec<Part>) -> u64 {
    let mut position = base;
    if content.level > 0 {
        for (id, len) in content.ids.chunks(32).zip(&content.lens) {
            let raw = pages[&ChunkId::try_from(id).unwrap()].clone();
            let below = decode_content(raw, content.level - 1, position, *len).unwrap();
            position = read(&below, position, pages, parts);
        }
        return position;
    }
    let mut holes = content.holes.iter().peekable();
    let mut skip = |position: &mut u64, parts: &mut Vec<Part>| {
        while let Some(hole) = holes.next_if(|hole| hole.offset == *position) {
            *position += hole.len;
            match parts.last_mut() {
                Some(Part::Hole(len)) => *len += hole.len,
                _ => parts.push(Part::Hole(hole.len)),
            }
        }
    };
    for (id, len) in content.ids.chunks(32).zip(&content.lens) {
        skip(&mut position, parts);
        parts.push(Part::Chunk(ChunkId::try_from(id).unwrap(), *len));
        position += len;
    }
    skip(&mut position, parts);
    position
}

fn round_trip(parts: &[Part]) -> (Content, Vec<NewPage>) {
    let (content, pages) = write(parts);
    let content = content.unwrap();
    let len = check_content(&content, 0).unwrap();
    let by_id = pages.iter().map(|page| (page.id, page.raw.clone())).collect();
    let mut found = Vec::new();
    assert_eq!(read(&content, 0, &by_id, &mut found), len);
    let mut wanted: Vec<Part> = Vec::new();
    for part in parts {
        match (wanted.last_mut(), part) {
            (Some(Part::Hole(len)), Part::Hole(more)) => *len += more,
            _ => wanted.push(*part),
        }
    }
    assert_eq!(found, wanted);
    (content, pages)
}

#[test]
fn an_ordinary_file_has_its_list_in_its_entry() {
    assert_eq!(write(&[]).0, None);
    let (content, pages) = round_trip(&[Part::Chunk(id(1, true), 5)]);
    assert_eq!((content.level, content.lens, pages.len()), (0, vec![5], 0));
    let (content, pages) = round_trip(&[Part::Hole(7), Part::Hole(3)]);
    assert_eq!((content.holes.len(), pages.len()), (1, 0));
    let full: Vec<_> = (0..CONTENT_MAX_IDS as u64)
        .map(|n| Part::Chunk(id(n, false), 9))
        .collect();
    assert_eq!(round_trip(&full).1.len(), 0);
}

#[test]
fn lists_nest_three_levels_deep() {
    // One list a chunk that ends it, once there are enough: 1,024 × 1,024 chunks fill a level-1 list of ids that never
    // end it early only by its own ids, which are hashes; so go by the levels that come out.
    let parts: Vec<_> = (0..(5 << 20))
        .map(|n| Part::Chunk(id(n, n % 1024 == 1023), 1))
        .collect();
    let (content, pages) = round_trip(&parts);
    assert_eq!(content.level, 2);
    assert!(pages.iter().all(|page| page.raw.len() <= PAGE_MAX));
    assert!(pages.len() > 5 * 1024);
}

#[test]
fn many_holes_nest_too() {
    let parts: Vec<_> = (0..10_000)
        .flat_map(|n| [Part::Chunk(id(n, false), 9), Part::Hole(4096)])
        .collect();
    let (content, pages) = round_trip(&parts);
    assert_eq!((content.level, pages.len()), (1, 3));
}

#[test]
fn a_change_in_the_middle_leaves_other_lists_as_they_were() {
    let hashed = |n: u64| Part::Chunk(keys().chunk_id(ChunkKind::Data, &n.to_le_bytes()), 1 << 20);
    let before: Vec<_> = (0..40_000).map(hashed).collect();
    let mut after = before.clone();
    after.splice(20_000..20_001, [hashed(1 << 40), hashed(1 << 41)]);
    let old: Vec<_> = write(&before).1.iter().map(|page| page.id).collect();
    let new: Vec<_> = write(&after).1.iter().map(|page| page.id).collect();
    let changed = new.iter().filter(|id| !old.contains(id)).count();
    assert!(
        old.len() > 12 && changed <= 4,
        "{changed} of {} lists changed",
        new.len()
    );
}

#[test]
fn what_cannot_be_is_not_written() {
    let mut writer = ContentWriter::new(Arc::new(keys()));
    let out = &mut Vec::new();
    assert!(writer.chunk(&id(1, false), 0, out).is_err());
    assert!(writer.chunk(&id(1, false), CHUNK_MAX as u32 + 1, out).is_err());
    assert!(writer.hole(1, 5, out).is_err());
    assert!(writer.hole(0, 0, out).is_err());
    writer.hole(0, u64::MAX, out).unwrap();
    assert!(writer.chunk(&id(1, false), 1, out).is_err());
}

#[test]
fn lists_that_break_the_rules_are_refused() {
    let hole = |offset, len| Hole { offset, len };
    let good = Content {
        level: 0,
        ids: vec![0; 64].into(),
        lens: vec![10, 20],
        holes: vec![hole(110, 5)],
    };
    assert_eq!(check_content(&good, 100), Ok(35));
    assert!(
        check_content(&good, 0).is_err(),
        "holes are placed by the file, not by the list"
    );
    let spoil: [fn(&mut Content); 11] = [
        |c| c.lens[0] = 0,
        |c| c.lens[0] = CHUNK_MAX as u64 + 1,
        |c| c.lens.push(1),
        |c| c.ids = vec![0; 63].into(),
        |c| c.holes[0].offset = 111,
        |c| c.holes[0].len = 0,
        |c| c.holes[0].len = u64::MAX,
        |c| {
            c.holes.insert(
                0,
                Hole {
                    offset: 110,
                    len: u64::MAX - 110,
                },
            )
        },
        |c| c.holes.push(Hole { offset: 100, len: 1 }),
        |c| c.level = 1,
        |c| *c = Content::default(),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(check_content(&bad, 100).is_err(), "rule {index}");
    }
    let encoded = Bytes::from(good.encode_to_vec());
    assert!(decode_content(encoded.clone(), 0, 100, 35).is_ok());
    assert!(decode_content(encoded.clone(), 0, 100, 36).is_err());
    assert!(decode_content(encoded, 1, 100, 35).is_err());
    let holes = Bytes::from([0x22, 0].repeat(CONTENT_MAX_IDS + 1));
    assert!(matches!(
        decode_content(holes, 0, 0, 0),
        Err(TreeError::Content("has too many holes"))
    ));
}

proptest! {
    #[test]
    fn any_file_comes_back(parts in proptest::collection::vec((any::<bool>(), 1u64..5000, any::<bool>()), 1..6000)) {
        let parts: Vec<_> = parts.iter().enumerate().map(|(n, (hole, len, ends))| {
            if *hole { Part::Hole(*len) } else { Part::Chunk(id(n as u64, *ends), *len) }
        }).collect();
        round_trip(&parts);
    }

    #[test]
    fn rubbish_never_panics(bytes: Vec<u8>, level in 0u32..4, base: u64, len: u64) {
        let _ = decode_content(Bytes::from(bytes), level, base, len);
    }
}
