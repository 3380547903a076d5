//! How the index encodes its keys and values. They are private to this machine and to one generation of the cache
//! (`GENERATION`). Values have fixed lengths and are little endian. Keys that are numbers are big endian, so that they
//! sort.

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PackId};
use lockstone_proto::limits::{FRAME_MAX_CHUNKS, FRAME_MAX_RAW, PACK_MAX_FRAMES};
use lockstone_proto::vault::{ChunkKind, Codec, Frame};

use super::places::{ChunkPlace, FramePlace, PackInfo};
use crate::pack::HEADER_LEN;

pub(super) const PLACE_LEN: usize = 14;
/// The most places that are kept of a chunk. Of more, the newest stay. So many packs have one chunk only if so many
/// servers of a domain store it before they hear of each other.
pub(super) const PLACES_MAX: usize = 256;
const FRAME_LEN: usize = 11;
/// Offsets and lengths in a frame need so many bits: a frame has at most 8 MiB.
const LEN_BITS: u32 = 24;
const LEN_MASK: u64 = (1 << LEN_BITS) - 1;
const _: () = assert!(FRAME_MAX_RAW < 1 << LEN_BITS && FRAME_MAX_CHUNKS <= 1 << 16 && PACK_MAX_FRAMES <= 1 << 16);

/// pack u32 ‖ frame u16 ‖ (offset 24 bits, length 24 bits, ordinal in the frame 16 bits) u64.
pub(super) fn place(place: ChunkPlace) -> [u8; PLACE_LEN] {
    let mut value = [0; PLACE_LEN];
    value[..4].copy_from_slice(&place.pack.to_le_bytes());
    value[4..6].copy_from_slice(&(place.frame as u16).to_le_bytes());
    let packed =
        u64::from(place.offset) | u64::from(place.len) << LEN_BITS | u64::from(place.ordinal) << (2 * LEN_BITS);
    value[6..].copy_from_slice(&packed.to_le_bytes());
    value
}

pub(super) fn read_place(value: &[u8]) -> Option<ChunkPlace> {
    let value: &[u8; PLACE_LEN] = value.try_into().ok()?;
    let [a, b, c, d, e, f, packed @ ..] = *value;
    let packed = u64::from_le_bytes(packed);
    Some(ChunkPlace {
        pack: u32::from_le_bytes([a, b, c, d]),
        frame: u32::from(u16::from_le_bytes([e, f])),
        offset: (packed & LEN_MASK) as u32,
        len: (packed >> LEN_BITS & LEN_MASK) as u32,
        ordinal: (packed >> (2 * LEN_BITS)) as u32,
    })
}

/// The places of a chunk, oldest first.
pub(super) fn read_places(value: &[u8]) -> Option<Vec<ChunkPlace>> {
    let places = value.chunks(PLACE_LEN).map(read_place).collect::<Option<Vec<_>>>()?;
    (!places.is_empty()).then_some(places)
}

/// The places of a chunk without those in some packs. `None` if there are none of those.
pub(super) fn places_without(value: &[u8], is_gone: &dyn Fn(u32) -> bool) -> Option<Vec<u8>> {
    let is_gone = |place: &&[u8]| read_place(place).is_some_and(|place| is_gone(place.pack));
    let places = || value.chunks(PLACE_LEN);
    if !places().any(|place| is_gone(&place)) {
        return None;
    }
    Some(places().filter(|place| !is_gone(place)).flatten().copied().collect())
}

/// The newest place of a chunk.
pub(super) fn last_place(value: &[u8]) -> Option<ChunkPlace> {
    if !value.len().is_multiple_of(PLACE_LEN) {
        return None;
    }
    read_place(value.last_chunk::<PLACE_LEN>()?)
}

/// Puts lists of places together, oldest first. Of equal places the last one stays, and of more than `PLACES_MAX` the
/// newest. So the result is the same however the lists are grouped, which RocksDB needs.
pub(super) fn join_places<'a>(before: Option<&'a [u8]>, added: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut lists = before.into_iter().chain(added);
    let (first, second) = (lists.next().unwrap_or_default(), lists.next());
    if second.is_none() && first.len() == PLACE_LEN {
        return first.to_vec();
    }
    let all: Vec<&[u8]> = std::iter::once(first)
        .chain(second)
        .chain(lists)
        .flat_map(|list| list.chunks(PLACE_LEN))
        .collect();
    let mut newest: Vec<&[u8]> = Vec::with_capacity(all.len().min(PLACES_MAX));
    for place in all.into_iter().rev() {
        if newest.len() < PLACES_MAX && !newest.contains(&place) {
            newest.push(place);
        }
    }
    newest.reverse();
    newest.concat()
}

/// id ‖ kind u8 ‖ length u64 ‖ for each frame: sealed length u32, raw length u32, codec u8, chunks u16.
pub(super) fn pack(id: &PackId, kind: ChunkKind, len: u64, frames: &[Frame]) -> Vec<u8> {
    let mut value = Vec::with_capacity(PackId::LEN + 9 + frames.len() * FRAME_LEN);
    value.extend_from_slice(id.as_bytes());
    value.push(kind as u8);
    value.extend_from_slice(&len.to_le_bytes());
    for frame in frames {
        value.extend_from_slice(&frame.sealed_len.to_le_bytes());
        value.extend_from_slice(&frame.raw_len.to_le_bytes());
        value.push(frame.codec() as u8);
        // A frame has at most 16,384 chunks.
        value.extend_from_slice(&(frame.chunk_lens.len() as u16).to_le_bytes());
    }
    value
}

pub(super) fn read_pack(value: &[u8]) -> Option<PackInfo> {
    let (id, rest) = value.split_first_chunk::<{ PackId::LEN }>()?;
    let (kind, rest) = rest.split_first()?;
    let (len, rest) = rest.split_first_chunk()?;
    let mut offset = HEADER_LEN as u64;
    let mut first_chunk = 0;
    let mut frames = Vec::with_capacity(rest.len() / FRAME_LEN);
    for frame in rest.chunks(FRAME_LEN) {
        let [a, b, c, d, e, f, g, h, codec, i, j] = *<&[u8; FRAME_LEN]>::try_from(frame).ok()?;
        let chunks = u32::from(u16::from_le_bytes([i, j]));
        let sealed_len = u32::from_le_bytes([a, b, c, d]);
        frames.push(FramePlace {
            offset,
            sealed_len,
            raw_len: u32::from_le_bytes([e, f, g, h]),
            codec: Codec::try_from(i32::from(codec)).ok()?,
            first_chunk,
            chunks,
        });
        offset += u64::from(sealed_len);
        first_chunk += chunks;
    }
    let kind = ChunkKind::try_from(i32::from(*kind)).ok()?;
    Some(PackInfo {
        id: PackId(*id),
        kind,
        len: u64::from_le_bytes(*len),
        frames,
    })
}

/// For each chunk of a frame: id ‖ length u32.
pub(super) fn members(frame: &Frame) -> Vec<u8> {
    let mut value = Vec::with_capacity(frame.chunk_lens.len() * (ChunkId::LEN + 4));
    for (id, len) in frame.chunk_ids.chunks(ChunkId::LEN).zip(&frame.chunk_lens) {
        value.extend_from_slice(id);
        value.extend_from_slice(&len.to_le_bytes());
    }
    value
}

pub(super) fn read_members(value: &[u8]) -> Option<Vec<(ChunkId, u32)>> {
    value
        .chunks(ChunkId::LEN + 4)
        .map(|member| {
            let (id, len) = member.split_first_chunk::<{ ChunkId::LEN }>()?;
            Some((ChunkId(*id), u32::from_le_bytes(len.try_into().ok()?)))
        })
        .collect()
}

/// The chunks of a pack in order, with their places.
pub(super) fn places(pack: u32, frames: &[Frame]) -> impl Iterator<Item = (&[u8], ChunkPlace)> {
    frames.iter().enumerate().flat_map(move |(ordinal, frame)| {
        let mut offset = 0;
        frame
            .chunk_ids
            .chunks(ChunkId::LEN)
            .zip(&frame.chunk_lens)
            .zip(0..)
            .map(move |((id, len), at)| {
                let place = ChunkPlace {
                    pack,
                    frame: ordinal as u32,
                    ordinal: at,
                    offset,
                    len: *len,
                };
                offset += len;
                (id, place)
            })
    })
}

pub(super) fn key(prefix: u8, number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [prefix, a, b, c, d]
}

pub(super) fn member_key(number: u32, frame: u32) -> [u8; 9] {
    let mut key = [b'f'; 9];
    key[1..5].copy_from_slice(&number.to_be_bytes());
    key[5..].copy_from_slice(&frame.to_be_bytes());
    key
}

pub(super) fn id_key(prefix: u8, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len());
    key.push(prefix);
    key.extend_from_slice(id);
    key
}

/// A copy of a pinned value.
pub(super) fn copied(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn records_survive_their_bytes() {
        let wanted = ChunkPlace {
            pack: 70_000,
            frame: 65_535,
            ordinal: 16_383,
            offset: 8_000_000,
            len: 8 << 20,
        };
        assert_eq!(read_place(&place(wanted)), Some(wanted));
        assert_eq!(read_place(&[0; 13]), None);
        assert_eq!(last_place(&[0; 15]), None);
        assert_eq!(read_places(&[]), None);
        let frame = |sealed_len, codec: Codec| Frame {
            sealed_len,
            raw_len: 9,
            codec: codec.into(),
            chunk_ids: Bytes::from(vec![7; 64]),
            chunk_lens: vec![4, 5],
        };
        let frames = [frame(100, Codec::Zstd), frame(200, Codec::Stored)];
        let read = read_pack(&pack(&PackId([1; 32]), ChunkKind::Tree, 500, &frames)).unwrap();
        assert_eq!((read.id, read.kind, read.len), (PackId([1; 32]), ChunkKind::Tree, 500));
        assert_eq!(read.frames[1].offset, HEADER_LEN as u64 + 100);
        assert_eq!(read.frames[0].codec, Codec::Zstd);
        let wanted = vec![(ChunkId([7; 32]), 4), (ChunkId([7; 32]), 5)];
        assert_eq!(read_members(&members(&frames[0])), Some(wanted));
        let all: Vec<_> = places(3, &frames).map(|(_, place)| place).collect();
        assert_eq!(
            all[3],
            ChunkPlace {
                pack: 3,
                frame: 1,
                ordinal: 1,
                offset: 4,
                len: 5
            }
        );
        assert_eq!((read.frames[1].first_chunk, read.frames[1].chunks), (2, 2));
    }

    #[test]
    fn places_join_the_same_however_they_are_grouped() {
        let one = |pack: u32| {
            place(ChunkPlace {
                pack,
                frame: 1,
                ordinal: 0,
                offset: 2,
                len: 3,
            })
        };
        let numbers = |value: &[u8]| {
            read_places(value)
                .unwrap()
                .iter()
                .map(|place| place.pack)
                .collect::<Vec<_>>()
        };
        let added: Vec<_> = [1, 2, 1, 3, 3, 2]
            .into_iter()
            .chain(10..265)
            .chain([12])
            .map(one)
            .collect();
        let slices = || added.iter().map(<[u8; PLACE_LEN]>::as_slice);
        let whole = join_places(None, slices());
        let wanted: Vec<u32> = [2, 10, 11].into_iter().chain(13..265).chain([12]).collect();
        assert_eq!(numbers(&whole), wanted);
        assert_eq!(last_place(&whole), read_place(&one(12)));
        for cut in 0..=added.len() {
            let (left, right) = (
                join_places(None, slices().take(cut)),
                join_places(None, slices().skip(cut)),
            );
            assert_eq!(
                join_places(Some(left.as_slice()), [right.as_slice()]),
                whole,
                "cut at {cut}"
            );
            assert_eq!(
                join_places(Some(left.as_slice()), slices().skip(cut)),
                whole,
                "cut at {cut}"
            );
        }
    }
}
