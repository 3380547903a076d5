//! Segments: slices of the chunk index as objects. The Bookkeeper writes them, and `domain` reads them into the index.
//! A log entry names each segment. A segment that no entry names does not count.
//!
//! ```text
//! header (80 bytes) │ AES-256-GCM of one zstd frame of an encoded Segment
//!
//! header: 0 magic "LSTNSEGM" · 8 version u32 LE = 1 · 12 raw length u32 LE · 16 segment id · 48 commitment
//! nonce = 0; AAD = header ‖ domain (16)
//! ```
//!
//! Promise: in a segment that decodes, every pack, frame and chunk keeps the rules, so that callers may index by it.

use bytes::Bytes;
use lockstone_proto::ids::{DomainId, PackId, SegmentId};
use lockstone_proto::limits::{DIRECTORY_MAX, FORMAT_VERSION, PACK_MAX, SEGMENT_MAX, SEGMENT_MAX_RAW, TAG_LEN};
use lockstone_proto::vault::{Codec, PackEntry, Segment};
use prost::Message;

use crate::bounds::each_field;
use crate::canonical;
use crate::crypto::keys::{Keys, NoRandom, random};
use crate::crypto::seal::{SealBroken, SealKey};
use crate::pack::frame::{Compressor, DEFAULT_LEVEL, Decompressor, FrameBroken};
use crate::pack::{self, PackBroken, check_directory, check_encoded_directory, known_kind};

const HEADER_LEN: usize = 80;
const MAGIC: [u8; 8] = *b"LSTNSEGM";
/// The fewest bytes of a pack besides header and frames: a length, and a sealed directory with its own length.
const TAIL_MIN: u64 = 4 + 4 + TAG_LEN as u64;

/// Why a segment cannot be read or made. Never transient, except `Random`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SegmentBroken {
    /// It does not begin with the header of a segment.
    #[error("segment {id}: {what}")]
    Header {
        /// The segment that was wanted.
        id: SegmentId,
        /// What is wrong.
        what: &'static str,
    },
    /// It was written by a newer program.
    #[error("segment {id}: format {version} is newer than this program reads")]
    Version {
        /// The segment that was wanted.
        id: SegmentId,
        /// Its format.
        version: u32,
    },
    /// The commitment does not belong to the segment's key: it is damaged, or of another domain.
    #[error("segment {0} was sealed with another key, or its header is damaged")]
    Commitment(SegmentId),
    /// It does not open.
    #[error("the seal of segment {0} is broken")]
    Sealed(SegmentId),
    /// It does not decompress.
    #[error("segment {id} cannot be decompressed: {why}")]
    Compressed {
        /// The segment.
        id: SegmentId,
        /// What zstd says.
        why: FrameBroken,
    },
    /// It breaks the rules of the format.
    #[error("segment {id}: pack {index} of it: {why}")]
    Malformed {
        /// The segment.
        id: SegmentId,
        /// The pack's place in it.
        index: usize,
        /// What is wrong.
        why: PackBroken,
    },
    /// It is longer than the format allows.
    #[error("segment {0} is over the format's limits")]
    TooLong(SegmentId),
    /// No random bytes for a new id.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// Makes a segment object with a fresh random id. Refuses what a reader would refuse.
pub fn encode_segment(keys: &Keys, segment: &Segment) -> Result<(SegmentId, Vec<u8>), SegmentBroken> {
    let id = SegmentId(random()?);
    let object = encode_segment_as(keys, id, segment)?;
    Ok((id, object))
}

/// The same under a given id. The id must be new, because the key is derived from it and the nonce is fixed.
pub(crate) fn encode_segment_as(keys: &Keys, id: SegmentId, segment: &Segment) -> Result<Vec<u8>, SegmentBroken> {
    check_segment(id, segment)?;
    let raw = segment.encode_to_vec();
    if raw.len() > SEGMENT_MAX_RAW {
        return Err(SegmentBroken::TooLong(id));
    }
    let object_key = keys.segment_key(id.as_bytes());
    let header = header(id, raw.len() as u32, &object_key.commitment);
    let mut sealed = Vec::new();
    Compressor::new(DEFAULT_LEVEL)
        .and_then(|mut compressor| compressor.compress_always(&raw, &mut sealed))
        .map_err(|why| SegmentBroken::Compressed { id, why })?;
    SealKey::new(&object_key.key)
        .seal_in_place(0, &aad(&header, keys.domain()), &mut sealed)
        .map_err(|SealBroken| SegmentBroken::Sealed(id))?;
    let mut object = Vec::with_capacity(HEADER_LEN + sealed.len());
    object.extend_from_slice(&header);
    object.extend_from_slice(&sealed);
    if object.len() as u64 > SEGMENT_MAX {
        Err(SegmentBroken::TooLong(id))
    } else {
        Ok(object)
    }
}

/// Opens the segment of that id and checks all of it.
pub fn decode_segment(keys: &Keys, id: SegmentId, object: &[u8]) -> Result<Segment, SegmentBroken> {
    if object.len() as u64 > SEGMENT_MAX {
        return Err(SegmentBroken::TooLong(id));
    }
    let broken = |what| SegmentBroken::Header { id, what };
    let (found, sealed) = object
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(broken("it is shorter than a header"))?;
    if found[..8] != MAGIC {
        return Err(broken("its first bytes are not LSTNSEGM"));
    }
    let version = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
    if version > FORMAT_VERSION {
        // A flipped bit must not look like a newer program. Only the seal tells the two apart.
        let mut known = object.to_vec();
        known[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        return Err(match decode_segment(keys, id, &known) {
            Ok(_) => broken("its version is damaged"),
            Err(_) => SegmentBroken::Version { id, version },
        });
    }
    let raw_len = u32::from_le_bytes([found[12], found[13], found[14], found[15]]);
    let object_key = keys.segment_key(id.as_bytes());
    let wanted = header(id, raw_len, &object_key.commitment);
    if found[..48] != wanted[..48] {
        return Err(broken("it is not the segment of that name"));
    }
    if found[48..] != wanted[48..] {
        return Err(SegmentBroken::Commitment(id));
    }
    let mut payload = sealed.to_vec();
    SealKey::new(&object_key.key)
        .open_in_place(0, &aad(found, keys.domain()), &mut payload)
        .map_err(|SealBroken| SegmentBroken::Sealed(id))?;
    let mut raw = Vec::new();
    Decompressor::new()
        .and_then(|mut decompressor| {
            decompressor.decompress_bounded(Codec::Zstd, &payload, raw_len as usize, SEGMENT_MAX_RAW, &mut raw)
        })
        .map_err(|why| SegmentBroken::Compressed { id, why })?;
    drop(payload);

    let raw = Bytes::from(raw);
    let mut index = 0_usize;
    each_field(&raw, 1, |pack| {
        let counted = check_encoded_entry(pack);
        index += 1;
        counted
    })
    .and_then(|()| canonical::decode_list::<PackEntry>(&raw).map_err(PackBroken::from))
    .map_err(|why: PackBroken| SegmentBroken::Malformed {
        id,
        index: index.saturating_sub(1),
        why,
    })
    .and_then(|packs| {
        let segment = Segment { packs };
        check_segment(id, &segment)?;
        Ok(segment)
    })
}

/// Counts the parts of an encoded `PackEntry`.
fn check_encoded_entry(entry: &[u8]) -> Result<(), PackBroken> {
    // An id alone takes 34 bytes. Without this check a segment could list millions of empty packs.
    if entry.len() < 2 + PackId::LEN {
        return Err(PackBroken::Malformed("is missing its pack's id"));
    }
    each_field(entry, 4, check_encoded_directory)
}

fn check_segment(id: SegmentId, segment: &Segment) -> Result<(), SegmentBroken> {
    if segment.packs.is_empty() {
        return Err(SegmentBroken::Malformed {
            id,
            index: 0,
            why: PackBroken::Malformed("is missing: the segment is empty"),
        });
    }
    for (index, entry) in segment.packs.iter().enumerate() {
        check_entry(entry).map_err(|why| SegmentBroken::Malformed { id, index, why })?;
    }
    Ok(())
}

/// Checks that a segment's entry for one pack keeps the rules of the format.
fn check_entry(entry: &PackEntry) -> Result<(), PackBroken> {
    if entry.pack_id.len() != PackId::LEN || known_kind(entry.kind).is_none() {
        return Err(PackBroken::Malformed("names its pack without id or kind"));
    }
    let directory = entry.directory.as_ref().ok_or(PackBroken::Malformed("is missing"))?;
    let frames_end = pack::HEADER_LEN as u64
        + directory
            .frames
            .iter()
            .map(|frame| u64::from(frame.sealed_len))
            .sum::<u64>();
    check_directory(directory, frames_end)?;
    let tail_max = TAIL_MIN + DIRECTORY_MAX as u64;
    if entry.len > PACK_MAX || !(frames_end + TAIL_MIN..=frames_end + tail_max).contains(&entry.len) {
        return Err(PackBroken::Malformed("does not fit the length of its pack"));
    }
    Ok(())
}

fn header(id: SegmentId, raw_len: u32, commitment: &[u8; 32]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&raw_len.to_le_bytes());
    header[16..48].copy_from_slice(id.as_bytes());
    header[48..].copy_from_slice(commitment);
    header
}

fn aad(header: &[u8; HEADER_LEN], domain: DomainId) -> [u8; HEADER_LEN + DomainId::LEN] {
    let mut aad = [0; HEADER_LEN + DomainId::LEN];
    aad[..HEADER_LEN].copy_from_slice(header);
    aad[HEADER_LEN..].copy_from_slice(domain.as_bytes());
    aad
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::crypto::keys::MasterKey;
    use crate::pack::tests::{keys, small_pack};
    use lockstone_proto::vault::{ChunkKind, Frame, PackDirectory};

    fn segment() -> Segment {
        let packs = [ChunkKind::Data, ChunkKind::Tree].map(|kind| {
            let (seal, directory, object) = small_pack(kind, 3);
            seal.entry(directory, object.len() as u64)
        });
        Segment { packs: packs.to_vec() }
    }

    #[test]
    fn a_segment_comes_back() {
        let (keys, segment) = (keys(), segment());
        let (id, object) = encode_segment(&keys, &segment).unwrap();
        assert_eq!(decode_segment(&keys, id, &object).unwrap(), segment);
        let empty = Segment::default();
        assert!(encode_segment(&keys, &empty).is_err(), "an empty segment says nothing");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_detected() {
        let keys = keys();
        let (id, object) = encode_segment(&keys, &segment()).unwrap();
        for bit in 0..object.len() * 8 {
            let mut flipped = object.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_segment(&keys, id, &flipped).is_err(), "bit {bit}");
        }
        for len in 0..object.len() {
            assert!(decode_segment(&keys, id, &object[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_damaged_version_is_no_newer_program() {
        let keys = keys();
        let (id, object) = encode_segment(&keys, &segment()).unwrap();
        for at in 8..12 {
            let mut flipped = object.clone();
            flipped[at] ^= 0x40;
            assert!(matches!(
                decode_segment(&keys, id, &flipped),
                Err(SegmentBroken::Header { .. })
            ));
            // Of a segment that another program wrote, nothing else is known.
            flipped[200.min(object.len() - 1)] ^= 1;
            assert!(matches!(
                decode_segment(&keys, id, &flipped),
                Err(SegmentBroken::Version { .. })
            ));
        }
    }

    #[test]
    fn a_segment_opens_under_its_own_name_and_domain_only() {
        let keys = keys();
        let (id, object) = encode_segment(&keys, &segment()).unwrap();
        assert!(decode_segment(&keys, SegmentId([9; 32]), &object).is_err());
        let elsewhere = Keys::derive(&MasterKey::from_bytes([3; 32]), DomainId([2; 16]));
        assert!(matches!(
            decode_segment(&elsewhere, id, &object),
            Err(SegmentBroken::Sealed(_))
        ));
        let other = Keys::derive(&MasterKey::from_bytes([4; 32]), keys.domain());
        assert!(matches!(
            decode_segment(&other, id, &object),
            Err(SegmentBroken::Commitment(_))
        ));
    }

    #[test]
    fn what_breaks_the_rules_is_refused_on_both_sides() {
        let keys = keys();
        let id = SegmentId([8; 32]);
        let spoil: [fn(&mut PackEntry); 8] = [
            |entry| entry.pack_id = Bytes::from_static(b"short"),
            |entry| entry.kind = 0,
            |entry| entry.kind = 3,
            |entry| entry.len = 10,
            |entry| entry.len = u64::MAX,
            |entry| entry.directory = None,
            |entry| entry.directory = Some(PackDirectory::default()),
            |entry| entry.directory.as_mut().unwrap().frames[0] = Frame::default(),
        ];
        for (index, spoil) in spoil.into_iter().enumerate() {
            let mut segment = segment();
            spoil(&mut segment.packs[1]);
            assert!(encode_segment(&keys, &segment).is_err(), "rule {index}");
            let object = seal_anything(&keys, id, &segment.encode_to_vec());
            assert!(
                matches!(decode_segment(&keys, id, &object), Err(SegmentBroken::Malformed { .. })),
                "rule {index}"
            );
        }
    }

    #[test]
    fn millions_of_empty_parts_are_refused_before_they_are_decoded() {
        let keys = keys();
        let id = SegmentId([8; 32]);
        let empty_packs = [0x0a, 0].repeat(1 << 20);
        let object = seal_anything(&keys, id, &empty_packs);
        assert!(matches!(
            decode_segment(&keys, id, &object),
            Err(SegmentBroken::Malformed { index: 0, .. })
        ));
        let mut directory = vec![0x22];
        prost::encoding::encode_varint(1 << 20, &mut directory);
        directory.extend([0x0a, 0].repeat(1 << 19));
        let mut entry = vec![0x0a];
        prost::encoding::encode_varint(directory.len() as u64, &mut entry);
        entry.extend(directory);
        let object = seal_anything(&keys, id, &entry);
        assert!(matches!(
            decode_segment(&keys, id, &object),
            Err(SegmentBroken::Malformed {
                why: PackBroken::Malformed("lists too many frames"),
                ..
            })
        ));
    }

    /// A well sealed segment of any bytes, as only a holder of the key can make one.
    fn seal_anything(keys: &Keys, id: SegmentId, raw: &[u8]) -> Vec<u8> {
        let object_key = keys.segment_key(id.as_bytes());
        let mut object = header(id, raw.len() as u32, &object_key.commitment).to_vec();
        let mut sealed = Vec::new();
        Compressor::new(1).unwrap().compress_always(raw, &mut sealed).unwrap();
        let aad = aad(&header(id, raw.len() as u32, &object_key.commitment), keys.domain());
        SealKey::new(&object_key.key)
            .seal_in_place(0, &aad, &mut sealed)
            .unwrap();
        object.extend(sealed);
        object
    }
}
