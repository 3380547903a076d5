//! Decoding messages that have one encoding only: fields in ascending order, default values left out, shortest
//! numbers, `repeated` numbers packed. A message that is encoded otherwise is refused. So two programs never see
//! different things in the same bytes, and the same entry always has the same bytes, and with them the same id.
//!
//! Fields that this program does not know fall in two ranges. A number below `IGNORABLE_FROM` changes what the message
//! means, so the message is refused. Fields from `IGNORABLE_FROM` on are skipped. They stand behind all others.

use bytes::{Buf, Bytes};
use lockstone_proto::limits::IGNORABLE_FROM;
use lockstone_proto::vault::{
    CommitBody, CondemnBody, Content, FoldBody, ForgetBody, HoldBody, PackDirectory, PackEntry, Page, RepackBody,
    RepairBody, SegmentsBody,
};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::bounds::Malformed;

/// Which fields of a message are messages themselves.
pub(crate) struct Shape(&'static [(u32, &'static Shape)]);

static FLAT: Shape = Shape(&[]);
static CONTENT: Shape = Shape(&[(4, &FLAT)]);
static ENTRY: Shape = Shape(&[(17, &FLAT), (21, &CONTENT)]);
static PAGE: Shape = Shape(&[(2, &ENTRY), (3, &FLAT)]);
static DIRECTORY: Shape = Shape(&[(1, &FLAT)]);
static PACK_ENTRY: Shape = Shape(&[(4, &DIRECTORY)]);
static COMMIT: Shape = Shape(&[(7, &ENTRY)]);
static FOLD_POINT: Shape = Shape(&[(2, &COMMIT), (5, &FLAT)]);
static FOLD: Shape = Shape(&[(3, &FOLD_POINT)]);

/// A message whose encoding is checked when it is decoded.
pub(crate) trait Canonical: Message + Default {
    /// Where messages lie within it.
    fn shape() -> &'static Shape;
}

macro_rules! shapes {
    ($($message:ty: $shape:ident),* $(,)?) => {
        $(impl Canonical for $message {
            fn shape() -> &'static Shape {
                &$shape
            }
        })*
    };
}

shapes! {
    Page: PAGE, Content: CONTENT, PackDirectory: DIRECTORY, PackEntry: PACK_ENTRY, SegmentsBody: FLAT, CommitBody: COMMIT,
    CondemnBody: FLAT, RepackBody: FLAT, FoldBody: FOLD, ForgetBody: FLAT, HoldBody: FLAT,
    RepairBody: FLAT,
}

/// Decodes a message and refuses every encoding but the canonical one. Fields that may be ignored are passed over.
pub(crate) fn decode<M: Canonical>(raw: Bytes) -> Result<M, Malformed> {
    let message = M::decode(raw.clone())?;
    let again = message.encode_to_vec();
    // Only a message with fields that this program does not know takes the second comparison.
    if again == raw || again == known_fields(M::shape(), &raw)? {
        Ok(message)
    } else {
        Err(Malformed)
    }
}

/// Decodes a message that only lists others, in field 1. `decode` would refuse the same ones. It would encode the whole
/// list again to compare it; here each part is compared by itself, so that a long list takes little more memory.
pub(crate) fn decode_list<P: Canonical>(raw: &Bytes) -> Result<Vec<P>, Malformed> {
    let (mut parts, mut last, mut rest) = (Vec::new(), 0, raw.as_ref());
    while rest.has_remaining() {
        let start = rest;
        let (number, wire) = decode_key(&mut rest)?;
        if number < last {
            return Err(Malformed);
        }
        last = number;
        let (field, behind) = split_field(start, (number, wire), rest)?;
        if number == 1 && wire == WireType::LengthDelimited {
            parts.push(decode(raw.slice_ref(field))?);
        } else if number < IGNORABLE_FROM {
            return Err(Malformed);
        }
        rest = behind;
    }
    Ok(parts)
}

/// The content of a field (of a varint: nothing), and what comes behind the field. `start` begins at the field's key,
/// `rest` behind the key. Key, length and varint must be as short as they can be. Groups are no part of the format.
fn split_field<'a>(
    start: &[u8],
    (number, wire): (u32, WireType),
    mut rest: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let mut head = Vec::with_capacity(16);
    encode_key(number, wire, &mut head);
    let len = match wire {
        WireType::Varint => {
            encode_varint(decode_varint(&mut rest)?, &mut head);
            0
        }
        WireType::LengthDelimited => {
            let len = decode_varint(&mut rest)?;
            encode_varint(len, &mut head);
            len
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
    };
    if start[..start.len() - rest.len()] != head {
        return Err(Malformed);
    }
    usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(Malformed)
}

/// The encoded message without the fields that may be ignored, also in the messages within it.
fn known_fields(shape: &Shape, mut message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (mut known, mut last) = (Vec::with_capacity(message.len()), 0);
    while message.has_remaining() {
        let start = message;
        let (number, wire) = decode_key(&mut message)?;
        let inner = shape.0.iter().find(|(tag, _)| *tag == number);
        if last >= IGNORABLE_FROM && number < last {
            return Err(Malformed);
        }
        last = number;
        let (field, behind) = split_field(start, (number, wire), message)?;
        if let Some((_, inner)) = inner
            && wire == WireType::LengthDelimited
        {
            let field = known_fields(inner, field)?;
            encode_key(number, wire, &mut known);
            encode_varint(field.len() as u64, &mut known);
            known.extend_from_slice(&field);
        } else if number < IGNORABLE_FROM {
            known.extend_from_slice(&start[..start.len() - behind.len()]);
        }
        message = behind;
    }
    Ok(known)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use lockstone_proto::vault::{Entry, Hole, Segment};

    fn page() -> Page {
        let content = Content {
            holes: vec![Hole { offset: 0, len: 300 }],
            ..Content::default()
        };
        let entry = Entry {
            name: Bytes::from_static(b"a"),
            kind: 1,
            content: Some(content),
            ..Entry::default()
        };
        Page {
            entries: vec![entry],
            ..Page::default()
        }
    }

    fn read<M: Canonical>(raw: &[u8]) -> Result<M, Malformed> {
        decode(Bytes::copy_from_slice(raw))
    }

    #[test]
    fn one_encoding_is_accepted() {
        let raw = page().encode_to_vec();
        assert_eq!(read::<Page>(&raw), Ok(page()));
        // Level 0 written out; a number with a needless byte; a field twice; a field behind a higher one; a `repeated`
        // number that is not packed; a number of more than 32 bits in a field of 32.
        assert!(read::<Page>(&[&[8, 0], raw.as_slice()].concat()).is_err());
        assert_eq!(read::<Content>(&[8, 1]).map(|content| content.level), Ok(1));
        assert!(read::<Content>(&[8, 0x81, 0]).is_err());
        assert!(read::<Content>(&[8, 1, 8, 1]).is_err());
        assert!(read::<Content>(&[0x1a, 1, 7, 8, 1]).is_err());
        assert_eq!(read::<Content>(&[0x1a, 1, 7]).map(|content| content.lens), Ok(vec![7]));
        assert!(read::<Content>(&[0x18, 7]).is_err());
        assert!(read::<Content>(&[8, 0x81, 0x80, 0x80, 0x80, 0x10]).is_err());
    }

    #[test]
    fn low_unknown_fields_are_refused_and_high_ones_are_skipped() {
        let raw = page().encode_to_vec();
        let with = |number: u32| {
            let mut longer = raw.clone();
            encode_key(number, WireType::Varint, &mut longer);
            encode_varint(5, &mut longer);
            longer
        };
        assert!(read::<Page>(&with(4)).is_err());
        assert!(read::<Page>(&with(IGNORABLE_FROM - 1)).is_err());
        assert_eq!(read::<Page>(&with(IGNORABLE_FROM)), Ok(page()));
        // Within the entry, and behind it a field that must be known.
        let mut entry = page().entries[0].encode_to_vec();
        encode_key(IGNORABLE_FROM + 9, WireType::LengthDelimited, &mut entry);
        encode_varint(1, &mut entry);
        entry.push(b'x');
        let wrap = |entry: &[u8]| {
            let mut outer = Vec::new();
            encode_key(2, WireType::LengthDelimited, &mut outer);
            encode_varint(entry.len() as u64, &mut outer);
            [outer.as_slice(), entry].concat()
        };
        assert_eq!(read::<Page>(&wrap(&entry)), Ok(page()));
        encode_key(3, WireType::Varint, &mut entry);
        encode_varint(1, &mut entry);
        assert!(read::<Page>(&wrap(&entry)).is_err());
    }

    #[test]
    fn keys_and_lengths_are_as_short_as_they_can_be() {
        let entry = page().entries[0].encode_to_vec();
        let len = u8::try_from(entry.len()).unwrap();
        assert!(len < 0x80 && read::<Page>(&[&[0x12, len], &entry[..]].concat()).is_ok());
        for head in [&[0x12, len | 0x80, 0][..], &[0x92, 0, len]] {
            let page = [head, &entry[..]].concat();
            assert!(read::<Page>(&page).is_err());
            // Also where the message has a field that is skipped.
            let mut longer = page.clone();
            encode_key(IGNORABLE_FROM, WireType::Varint, &mut longer);
            encode_varint(5, &mut longer);
            assert!(read::<Page>(&longer).is_err());
        }
        // The same of a field that is skipped: 128, a varint and bytes. A group is no field.
        let raw = page().encode_to_vec();
        let with = |field: &[u8]| read::<Page>(&[&raw[..], field].concat());
        for field in [
            &[0x80, 8, 5][..],
            &[0x82, 8, 1, b'x'],
            &[0x81, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        ] {
            assert_eq!(with(field), Ok(page()));
        }
        for field in [
            &[0x80, 0x88, 0, 5][..],
            &[0x80, 8, 0x85, 0],
            &[0x82, 8, 0x81, 0, b'x'],
            &[0x82, 8, 2, b'x'],
            &[0x83, 8, 0x84, 8],
        ] {
            assert!(with(field).is_err());
        }
    }

    #[test]
    fn a_list_is_read_part_by_part_with_the_same_rules() {
        let pack = |len| PackEntry {
            pack_id: Bytes::from_static(&[7; 32]),
            kind: 1,
            len,
            directory: Some(PackDirectory::default()),
        };
        let packs = vec![pack(1), pack(300)];
        let raw = Segment { packs: packs.clone() }.encode_to_vec();
        let read = |raw: &[u8]| decode_list::<PackEntry>(&Bytes::copy_from_slice(raw));
        assert_eq!(read(&raw), Ok(packs.clone()));
        assert_eq!(read(&[]), Ok(Vec::new()));
        let mut longer = raw.clone();
        encode_key(IGNORABLE_FROM, WireType::Varint, &mut longer);
        encode_varint(5, &mut longer);
        assert_eq!(read(&longer), Ok(packs));
        // A part behind a field that is skipped; a field that must be known; a part that is cut off; a length and a
        // key with a needless byte; a part that breaks the rules itself; a part that is no message.
        assert!(read(&[&longer[..], &raw].concat()).is_err());
        assert!(read(&[&raw[..], &[0x10, 1]].concat()).is_err());
        assert!(read(&raw[..raw.len() - 1]).is_err());
        let first = usize::from(raw[1]);
        assert!(read(&[&[0x0a, raw[1] | 0x80, 0], &raw[2..2 + first]].concat()).is_err());
        assert!(read(&[&[0x8a, 0, raw[1]], &raw[2..2 + first]].concat()).is_err());
        assert!(read(&[0x0a, 2, 0x10, 0]).is_err());
        assert!(read(&[0x08, 1]).is_err());
    }
}
