//! Counting the parts of an encoded message before it is decoded. A decoder makes a struct of a hundred bytes or more
//! from a field of two bytes, so a hostile object of 32 MiB could cost gigabytes of memory. Therefore the repeated
//! parts of pack directories, segments and tree pages are counted here first, and too many are refused before anything
//! is allocated.

use bytes::Buf;
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The bytes are not a protobuf message of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a message of the expected shape")]
pub struct Malformed;

impl From<DecodeError> for Malformed {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

/// Calls `each` with the bytes of every length-delimited field `tag` of the message, in order; other fields are
/// skipped.
pub(crate) fn each_field<'a, E: From<Malformed>>(
    mut message: &'a [u8],
    tag: u32,
    mut each: impl FnMut(&'a [u8]) -> Result<(), E>,
) -> Result<(), E> {
    while message.has_remaining() {
        let (found, wire) = decode_key(&mut message).map_err(Malformed::from)?;
        if found == tag && wire == WireType::LengthDelimited {
            let len = decode_varint(&mut message).map_err(Malformed::from)?;
            let (field, rest) = usize::try_from(len)
                .ok()
                .and_then(|len| message.split_at_checked(len))
                .ok_or(Malformed)?;
            each(field)?;
            message = rest;
        } else {
            skip_field(wire, found, &mut message, DecodeContext::default()).map_err(Malformed::from)?;
        }
    }
    Ok(())
}

/// Whether the message has more than `max` length-delimited fields `tag`.
pub(crate) fn has_more_than(message: &[u8], tag: u32, max: usize) -> Result<bool, Malformed> {
    let mut count = 0;
    each_field::<Malformed>(message, tag, |_| {
        count += 1;
        Ok(())
    })?;
    Ok(count > max)
}

/// How many length-delimited fields the message has, whatever their numbers. Nested messages are such fields.
pub(crate) fn count_parts(mut message: &[u8]) -> Result<usize, Malformed> {
    let mut count = 0;
    while message.has_remaining() {
        let (tag, wire) = decode_key(&mut message)?;
        count += usize::from(wire == WireType::LengthDelimited);
        skip_field(wire, tag, &mut message, DecodeContext::default())?;
    }
    Ok(count)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use lockstone_proto::vault::{Hole, Page, PageRef};
    use prost::Message;

    fn lens_of(message: &[u8], tag: u32) -> Result<Vec<usize>, Malformed> {
        let mut lens = Vec::new();
        each_field::<Malformed>(message, tag, |field| {
            lens.push(field.len());
            Ok(())
        })?;
        Ok(lens)
    }

    #[test]
    fn fields_are_counted_without_decoding() {
        let page = Page {
            level: 1,
            entries: vec![],
            children: vec![PageRef::default(); 5],
        };
        let bytes = page.encode_to_vec();
        assert_eq!(count_parts(&bytes), Ok(5));
        assert_eq!(lens_of(&bytes, 3), Ok(vec![0; 5]));
        assert_eq!(lens_of(&bytes, 2), Ok(vec![]));
        assert_eq!(has_more_than(&bytes, 3, 5), Ok(false));
        assert_eq!(has_more_than(&bytes, 3, 4), Ok(true));
        assert_eq!(count_parts(&Hole { offset: 300, len: 7 }.encode_to_vec()), Ok(0));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        for bytes in [
            &[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[0x1a, 0x02, 0x00],
            &[0x1a],
            &[0x80],
            &[0x1f],
        ] {
            assert_eq!(count_parts(bytes), Err(Malformed));
            assert_eq!(lens_of(bytes, 3), Err(Malformed));
        }
    }
}
