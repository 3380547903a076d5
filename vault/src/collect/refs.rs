//! What a tree chunk names: lower pages, folders, content lists and data chunks. It is a look at the encoded chunk that
//! decodes nothing else, because a collection looks at every page of a vault.

use bytes::Buf;
use lockstone_proto::ids::ChunkId;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::bounds::Malformed;

/// Field numbers of `Page`.
const ENTRIES: u32 = 2;
const CHILDREN: u32 = 3;
/// Field numbers of `Entry`.
const CONTENT: u32 = 21;
const PAGE: u32 = 22;
/// Field number of `PageRef`.
const ID: u32 = 1;
/// Field numbers of `Content`.
const LEVEL: u32 = 1;
const IDS: u32 = 2;

/// What kind of tree chunk an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TreeKind {
    /// A page of a folder.
    Page,
    /// A content list.
    List,
}

/// The chunks that a tree chunk names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Refs {
    /// Tree chunks, which name further ones.
    pub(super) trees: Vec<(ChunkId, TreeKind)>,
    /// Data chunks.
    pub(super) data: Vec<ChunkId>,
}

impl Refs {
    /// As if it named this page alone.
    pub(super) fn to_page(page: ChunkId) -> Self {
        Self {
            trees: vec![(page, TreeKind::Page)],
            data: Vec::new(),
        }
    }
}

/// Looks at an encoded tree chunk of this kind.
pub(super) fn references(raw: &[u8], kind: TreeKind) -> Result<Refs, Malformed> {
    let mut refs = Refs::default();
    match kind {
        TreeKind::Page => page(raw, &mut refs)?,
        TreeKind::List => content(raw, &mut refs)?,
    }
    Ok(refs)
}

fn page(raw: &[u8], refs: &mut Refs) -> Result<(), Malformed> {
    let mut rest = raw;
    while rest.has_remaining() {
        match decode_key(&mut rest)? {
            (ENTRIES, WireType::LengthDelimited) => entry(part(&mut rest)?, refs)?,
            (CHILDREN, WireType::LengthDelimited) => {
                let child = field(part(&mut rest)?, ID)?.ok_or(Malformed)?;
                refs.trees.push((id(child)?, TreeKind::Page));
            }
            (tag, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default())?,
        }
    }
    Ok(())
}

fn entry(raw: &[u8], refs: &mut Refs) -> Result<(), Malformed> {
    let mut rest = raw;
    while rest.has_remaining() {
        match decode_key(&mut rest)? {
            (CONTENT, WireType::LengthDelimited) => content(part(&mut rest)?, refs)?,
            (PAGE, WireType::LengthDelimited) => refs.trees.push((id(part(&mut rest)?)?, TreeKind::Page)),
            (tag, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default())?,
        }
    }
    Ok(())
}

/// A content list. Those of level 0 name data, those above name lists.
fn content(raw: &[u8], refs: &mut Refs) -> Result<(), Malformed> {
    let mut rest = raw;
    let (mut level, mut ids): (u64, &[u8]) = (0, &[]);
    while rest.has_remaining() {
        match decode_key(&mut rest)? {
            (LEVEL, WireType::Varint) => level = decode_varint(&mut rest)?,
            (IDS, WireType::LengthDelimited) => ids = part(&mut rest)?,
            (tag, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default())?,
        }
    }
    for named in ids.chunks(ChunkId::LEN) {
        let named = id(named)?;
        if level == 0 {
            refs.data.push(named);
        } else {
            refs.trees.push((named, TreeKind::List));
        }
    }
    Ok(())
}

/// The bytes of a field of a message.
fn field(message: &[u8], wanted: u32) -> Result<Option<&[u8]>, Malformed> {
    let mut rest = message;
    while rest.has_remaining() {
        match decode_key(&mut rest)? {
            (tag, WireType::LengthDelimited) if tag == wanted => return part(&mut rest).map(Some),
            (tag, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default())?,
        }
    }
    Ok(None)
}

fn id(bytes: &[u8]) -> Result<ChunkId, Malformed> {
    ChunkId::try_from(bytes).map_err(|_| Malformed)
}

/// The bytes of a length-delimited field whose key was read.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(decode_varint(rest)?).map_err(|_| Malformed)?;
    let (part, behind) = rest.split_at_checked(len).ok_or(Malformed)?;
    *rest = behind;
    Ok(part)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;
    use lockstone_proto::vault::{Content, Entry, EntryKind, Page, PageRef};
    use prost::Message as _;

    use super::*;

    fn chunk(n: u8) -> ChunkId {
        ChunkId([n; 32])
    }

    fn list(level: u32, ids: &[u8]) -> Content {
        Content {
            level,
            ids: ids.iter().flat_map(|n| [*n; 32]).collect(),
            lens: vec![1; ids.len()],
            ..Content::default()
        }
    }

    #[test]
    fn a_page_names_folders_data_and_lists() {
        let entry = |content, page: &'static [u8]| Entry {
            name: Bytes::from_static(b"name"),
            kind: EntryKind::File.into(),
            mtime_s: -7,
            content,
            page: Bytes::from_static(page),
            ..Entry::default()
        };
        let entries = vec![
            entry(Some(list(0, &[1, 2])), &[]),
            entry(None, &[3; 32]),
            entry(Some(list(1, &[4])), &[]),
            entry(None, &[]),
        ];
        let page = Page {
            entries,
            ..Page::default()
        };
        let refs = references(&page.encode_to_vec(), TreeKind::Page).unwrap();
        assert_eq!(refs.data, [chunk(1), chunk(2)]);
        assert_eq!(refs.trees, [(chunk(3), TreeKind::Page), (chunk(4), TreeKind::List)]);
    }

    #[test]
    fn an_upper_page_and_a_list_name_what_is_below_them() {
        let page = Page {
            level: 1,
            children: vec![PageRef {
                id: Bytes::from_static(&[5; 32]),
                first: Bytes::from_static(b"x"),
            }],
            ..Page::default()
        };
        let refs = references(&page.encode_to_vec(), TreeKind::Page).unwrap();
        assert_eq!((refs.data, refs.trees), (vec![], vec![(chunk(5), TreeKind::Page)]));
        let refs = references(&list(0, &[6, 7]).encode_to_vec(), TreeKind::List).unwrap();
        assert_eq!((refs.data, refs.trees), (vec![chunk(6), chunk(7)], vec![]));
        let refs = references(&list(2, &[8]).encode_to_vec(), TreeKind::List).unwrap();
        assert_eq!((refs.data, refs.trees), (vec![], vec![(chunk(8), TreeKind::List)]));
    }

    proptest::proptest! {
        #[test]
        fn rubbish_never_panics(raw: Vec<u8>) {
            let _ = references(&raw, TreeKind::Page);
            let _ = references(&raw, TreeKind::List);
        }
    }
}
