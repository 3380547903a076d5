//! Decoding messages that have one encoding only: fields in ascending order, default values left out, shortest
//! numbers, `repeated` numbers packed. A message that is encoded otherwise is refused. So two programs never see
//! different things in the same bytes, and the same entry always has the same bytes, and with them the same id.
//!
//! Fields that this program does not know fall in two ranges. A number below `IGNORABLE_FROM` changes what the message
//! means, so the message is refused. Fields from `IGNORABLE_FROM` on are skipped. They stand behind all others.

use bytes::{Buf, Bytes};
use lockstone_proto::limits::IGNORABLE_FROM;
use lockstone_proto::vault::{
    CommitBody, CondemnBody, Content, FoldBody, ForgetBody, HoldBody, PackDirectory, Page, RepackBody, Segment,
    SegmentsBody,
};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

use crate::bounds::Malformed;

/// Which fields of a message are messages themselves.
pub(crate) struct Shape(&'static [(u32, &'static Shape)]);

static FLAT: Shape = Shape(&[]);
static CONTENT: Shape = Shape(&[(4, &FLAT)]);
static ENTRY: Shape = Shape(&[(17, &FLAT), (21, &CONTENT)]);
static PAGE: Shape = Shape(&[(2, &ENTRY), (3, &FLAT)]);
static DIRECTORY: Shape = Shape(&[(1, &FLAT)]);
static PACK_ENTRY: Shape = Shape(&[(4, &DIRECTORY)]);
static SEGMENT: Shape = Shape(&[(1, &PACK_ENTRY)]);
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
    Page: PAGE, Content: CONTENT, PackDirectory: DIRECTORY, Segment: SEGMENT, SegmentsBody: FLAT, CommitBody: COMMIT,
    CondemnBody: FLAT, RepackBody: FLAT, FoldBody: FOLD, ForgetBody: FLAT, HoldBody: FLAT,
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
        if let Some((_, inner)) = inner
            && wire == WireType::LengthDelimited
        {
            let len = decode_varint(&mut message)?;
            let (field, rest) = usize::try_from(len)
                .ok()
                .and_then(|len| message.split_at_checked(len))
                .ok_or(Malformed)?;
            let field = known_fields(inner, field)?;
            encode_key(number, wire, &mut known);
            encode_varint(field.len() as u64, &mut known);
            known.extend_from_slice(&field);
            message = rest;
        } else {
            skip_field(wire, number, &mut message, DecodeContext::default())?;
            if number < IGNORABLE_FROM {
                known.extend_from_slice(&start[..start.len() - message.len()]);
            }
        }
    }
    Ok(known)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use lockstone_proto::vault::{Entry, Hole};

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
}
