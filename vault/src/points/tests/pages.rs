//! Tests of pages below other pages.

use lockstone_proto::vault::PageRef;
use prost::Message as _;

use super::*;

#[test]
fn a_page_ends_before_what_follows_the_pages_above_it() {
    let mut memory = Memory::default();
    for (last, whole) in [("e", true), ("m", false), ("z", false)] {
        let mut add = |level: u32, names: &[&str], below: &[ChunkId]| {
            let name = |name: &&str| Bytes::copy_from_slice(name.as_bytes());
            let entry = |name| Entry {
                name,
                kind: EntryKind::Fifo.into(),
                ..Entry::default()
            };
            let child = |(first, id): (Bytes, &ChunkId)| PageRef {
                id: Bytes::copy_from_slice(id.as_bytes()),
                first,
            };
            let page = match level {
                0 => Page {
                    entries: names.iter().map(name).map(entry).collect(),
                    ..Page::default()
                },
                _ => Page {
                    level,
                    children: names.iter().map(name).zip(below).map(child).collect(),
                    ..Page::default()
                },
            };
            let raw = Bytes::from(page.encode_to_vec());
            let id = keys().chunk_id(ChunkKind::Tree, &raw);
            memory.pages.insert(id, raw);
            id
        };
        let leaves = [add(0, &["b"], &[]), add(0, &["d", last], &[]), add(0, &["m"], &[])];
        let (left, right) = (add(1, &["b", "d"], &leaves[..2]), add(1, &["m"], &leaves[2..]));
        let top = add(2, &["b", "m"], &[left, right]);
        let mut cursor = FolderCursor::new(&memory, Some(top));
        assert_eq!(block_on(cursor.next()).unwrap().unwrap().name, "b");
        assert_eq!(block_on(cursor.next()).is_ok(), whole, "{last}");
    }
}
