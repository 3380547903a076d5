//! A look at an encoded page that decodes no more than a search needs: names, which of them are folders, and where
//! these lead. An entry that matches is copied as it is encoded. Entries of other kinds than folders are skipped behind
//! their names, so a page costs little more than its names.

use bytes::{Buf, Bytes};
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::EntryKind;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::bounds::Malformed;

/// Field numbers of `Page`.
const LEVEL: u32 = 1;
const ENTRIES: u32 = 2;
const CHILDREN: u32 = 3;
/// Field numbers of `Entry`.
const NAME: u32 = 1;
const KIND: u32 = 2;
const PAGE: u32 = 22;
/// Field numbers of `PageRef`.
const ID: u32 = 1;
const FIRST: u32 = 2;

/// What a search does next in a page, in the page's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// This entry matches. As it is encoded.
    Match(Bytes),
    /// Go to the folder of this name, by its top page.
    Folder { name: Bytes, page: ChunkId },
    /// Go to a page one level lower, of the same folder. Its first name is promised.
    Child { page: ChunkId, first: Bytes },
}

/// What was seen in a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) level: u32,
    /// The first name in the page.
    pub(super) first: Bytes,
    pub(super) steps: Vec<Step>,
}

/// What a search asks about the entries of a page.
pub(super) trait Look {
    /// Whether the entry of this name is wanted.
    fn is_match(&mut self, name: &[u8]) -> bool;

    /// Whether it is known that nothing is to be found in the folder of this name, or without a name in a lower page.
    fn is_barren(&mut self, name: &[u8], page: &ChunkId) -> bool;
}

/// Looks at an encoded page.
pub(super) fn glance(raw: &[u8], look: &mut impl Look) -> Result<Glance, Malformed> {
    let mut seen = Glance::default();
    let mut rest = raw;
    let mut is_first = true;
    while rest.has_remaining() {
        match decode_key(&mut rest)? {
            (LEVEL, WireType::Varint) => {
                seen.level = u32::try_from(decode_varint(&mut rest)?).map_err(|_| Malformed)?;
            }
            (ENTRIES, WireType::LengthDelimited) => {
                let entry = part(&mut rest)?;
                let name = see_entry(entry, look, &mut seen.steps)?;
                if std::mem::take(&mut is_first) {
                    seen.first = Bytes::copy_from_slice(name);
                }
            }
            (CHILDREN, WireType::LengthDelimited) => {
                let (page, first) = child(part(&mut rest)?)?;
                if std::mem::take(&mut is_first) {
                    seen.first = first.clone();
                }
                if !look.is_barren(b"", &page) {
                    seen.steps.push(Step::Child { page, first });
                }
            }
            (tag, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default())?,
        }
    }
    Ok(seen)
}

/// Looks at an entry, and returns its name.
fn see_entry<'e>(entry: &'e [u8], look: &mut impl Look, steps: &mut Vec<Step>) -> Result<&'e [u8], Malformed> {
    let mut rest = entry;
    if decode_key(&mut rest)? != (NAME, WireType::LengthDelimited) {
        return Err(Malformed);
    }
    let name = part(&mut rest)?;
    if look.is_match(name) {
        steps.push(Step::Match(Bytes::copy_from_slice(entry)));
    }
    // Fields come in the order of their numbers.
    if decode_key(&mut rest)? != (KIND, WireType::Varint) {
        return Err(Malformed);
    }
    if decode_varint(&mut rest)? != EntryKind::Folder as u64 {
        return Ok(name);
    }
    if let Some(page) = page_of(rest)? {
        let page = ChunkId::try_from(page).map_err(|_| Malformed)?;
        if !look.is_barren(name, &page) {
            let name = Bytes::copy_from_slice(name);
            steps.push(Step::Folder { name, page });
        }
    }
    Ok(name)
}

/// The value of the field `PAGE` of an entry, whose other fields are passed over. Most of the time of a search is spent
/// here, so this goes from byte to byte.
fn page_of(mut rest: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    const KEY: u64 = (PAGE as u64) << 3 | WireType::LengthDelimited as u64;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => {
                varint(&mut rest)?;
            }
            1 => rest = rest.get(8..).ok_or(Malformed)?,
            2 => {
                let value = part(&mut rest)?;
                if key == KEY {
                    return Ok(Some(value));
                }
            }
            5 => rest = rest.get(4..).ok_or(Malformed)?,
            // There are no groups in this format.
            _ => return Err(Malformed),
        }
    }
    Ok(None)
}

/// A number, most of which have one byte.
#[inline]
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    match rest.split_first() {
        Some((byte, behind)) if *byte < 0x80 => {
            *rest = behind;
            Ok(u64::from(*byte))
        }
        _ => Ok(decode_varint(rest)?),
    }
}

fn child(mut child: &[u8]) -> Result<(ChunkId, Bytes), Malformed> {
    let (mut page, mut first) = (None, Bytes::new());
    while child.has_remaining() {
        match decode_key(&mut child)? {
            (ID, WireType::LengthDelimited) => page = ChunkId::try_from(part(&mut child)?).ok(),
            (FIRST, WireType::LengthDelimited) => first = Bytes::copy_from_slice(part(&mut child)?),
            (tag, wire) => skip_field(wire, tag, &mut child, DecodeContext::default())?,
        }
    }
    Ok((page.ok_or(Malformed)?, first))
}

/// The bytes of a length-delimited field whose key was read.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(varint(rest)?).map_err(|_| Malformed)?;
    let (part, behind) = rest.split_at_checked(len).ok_or(Malformed)?;
    *rest = behind;
    Ok(part)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_proto::vault::{Entry, Page, PageRef};
    use prost::Message as _;

    use super::*;

    /// Wants the names that a function wants, and knows one page without anything.
    struct Names<F>(F, ChunkId);

    impl<F: FnMut(&[u8]) -> bool> Look for Names<F> {
        fn is_match(&mut self, name: &[u8]) -> bool {
            (self.0)(name)
        }

        fn is_barren(&mut self, _name: &[u8], page: &ChunkId) -> bool {
            *page == self.1
        }
    }

    fn entry(name: &'static str, kind: EntryKind, page: &[u8]) -> Entry {
        Entry {
            name: Bytes::from_static(name.as_bytes()),
            kind: kind.into(),
            mtime_s: -5,
            user: Bytes::from_static(b"root"),
            page: Bytes::copy_from_slice(page),
            ..Entry::default()
        }
    }

    #[test]
    fn a_glance_sees_matches_and_folders_in_order() {
        let (empty, full) = (
            entry("b", EntryKind::Folder, &[]),
            entry("c", EntryKind::Folder, &[7; 32]),
        );
        let entries = vec![entry("a", EntryKind::File, &[]), empty, full.clone()];
        let page = Page {
            entries: entries.clone(),
            ..Page::default()
        };
        let mut wanted = Names(|name: &[u8]| name == b"a" || name == b"c", ChunkId([0; 32]));
        let seen = glance(&page.encode_to_vec(), &mut wanted).unwrap();
        assert_eq!((seen.level, &seen.first[..]), (0, &b"a"[..]));
        let found = |entry: &Entry| Step::Match(entry.encode_to_vec().into());
        let folder = Step::Folder {
            name: full.name.clone(),
            page: ChunkId([7; 32]),
        };
        assert_eq!(seen.steps, [found(&entries[0]), found(&full), folder]);
    }

    #[test]
    fn a_glance_at_a_page_of_pages_sees_them() {
        let page = Page {
            level: 3,
            children: vec![PageRef {
                id: Bytes::from_static(&[1; 32]),
                first: Bytes::from_static(b"x"),
            }],
            ..Page::default()
        };
        let seen = glance(
            &page.encode_to_vec(),
            &mut Names(|_: &[u8]| panic!("no names"), ChunkId([0; 32])),
        )
        .unwrap();
        let child = Step::Child {
            page: ChunkId([1; 32]),
            first: Bytes::from_static(b"x"),
        };
        assert_eq!((seen.level, seen.steps), (3, vec![child]));
        let mut known = Names(|_: &[u8]| panic!("no names"), ChunkId([1; 32]));
        let seen = glance(&page.encode_to_vec(), &mut known).unwrap();
        assert!(
            seen.steps.is_empty() && seen.first == "x",
            "what is known to have nothing is passed over"
        );
    }

    #[test]
    fn the_page_of_a_folder_is_found_behind_fields_of_every_kind() {
        // A long number, 8 bytes, 4 bytes, text and a field that is not known come before it.
        let known = [
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[0x21, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x2d, 1, 2, 3, 4],
            &[0x32, 2, b'h', b'i'],
            &[0xa8, 0x06, 7],
        ]
        .concat();
        let page = [&[0xb2, 0x01, 3][..], b"abc"].concat();
        assert_eq!(page_of(&[&known[..], &page].concat()).ok(), Some(Some(&b"abc"[..])));
        assert_eq!(page_of(&known).ok(), Some(None));
        for end in 1..page.len() {
            assert!(page_of(&[&known[..], &page[..end]].concat()).is_err(), "{end}");
        }
        assert!(page_of(&[0x1b]).is_err(), "a group");
    }

    proptest::proptest! {
        #[test]
        fn rubbish_never_panics(raw: Vec<u8>) {
            let _ = glance(&raw, &mut Names(|_: &[u8]| true, ChunkId([0; 32])));
        }
    }
}
