//! Packs: the objects that hold chunks. Written by the Sealer, read by the Fetcher, the Opener and `check`.
//!
//! ```text
//! header (80 bytes) │ frame 0 │ frame 1 │ … │ directory │ directory length (u32 LE)
//!
//! header:  0 magic "LSTNPACK" · 8 version u32 LE = 1 · 12 kind u8 · 13 three zero bytes · 16 pack id · 48 commitment
//! frame:   AES-256-GCM of the payload (see `frame`); nonce = its ordinal;
//!          AAD = version u32 LE ‖ domain (16) ‖ kind u8 ‖ pack id (32) ‖ ordinal u32 LE ‖ raw length u32 LE ‖ codec u8
//! directory: AES-256-GCM of (length u32 LE ‖ encoded PackDirectory ‖ zeros up to the Padmé length); nonce = 2^64 - 1;
//!          AAD = version u32 LE ‖ domain (16) ‖ kind u8 ‖ pack id (32) ‖ where the frames end, u64 LE
//! ```
//!
//! Each pack has its own key, derived from its random id, so ordinals can be nonces. Promise: what opens here was
//! sealed for this place in this pack of this domain. A directory that opens keeps the rules of `check_directory`, so
//! callers may add up its lengths and index by them.

pub mod frame;
pub mod segment;

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, DomainId, PackId};
use lockstone_proto::limits::{
    CHUNK_MAX, DIRECTORY_MAX, FORMAT_VERSION, FRAME_MAX_CHUNKS, FRAME_MAX_RAW, PACK_MAX, PACK_MAX_CHUNKS,
    PACK_MAX_FRAMES, TAG_LEN,
};
use lockstone_proto::vault::{ChunkKind, Codec, Frame, PackDirectory, PackEntry};
use prost::Message;

use crate::bounds::{Malformed, each_field, has_more_than};
use crate::canonical;
use crate::crypto::keys::{Keys, NoRandom, random};
use crate::crypto::seal::{SealBroken, SealKey};

/// Bytes in a pack's header.
pub const HEADER_LEN: usize = 80;
const MAGIC: [u8; 8] = *b"LSTNPACK";
/// The nonce of a directory's seal. No frame has that ordinal.
const DIRECTORY_NONCE: u64 = u64::MAX;
/// Bytes in the length after the directory, and in the length at the beginning of its plaintext.
pub(crate) const LENGTH_LEN: usize = 4;

/// Why a pack or a part of it cannot be read or made. Never transient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackBroken {
    /// It does not begin with the header of a pack.
    #[error("it is not a pack: {0}")]
    Header(&'static str),
    /// It was written by a newer program.
    #[error("pack format {0} is newer than this program reads")]
    Version(u32),
    /// The header's commitment does not belong to the pack's key: it is damaged, or of another domain.
    #[error("pack {0} was sealed with another key, or its header is damaged")]
    Commitment(PackId),
    /// A frame does not open.
    #[error("the seal of frame {ordinal} of pack {pack} is broken")]
    Frame {
        /// The pack.
        pack: PackId,
        /// The frame's place in it.
        ordinal: u32,
    },
    /// The directory does not open.
    #[error("the seal of the directory of pack {0} is broken")]
    Directory(PackId),
    /// The length at the object's end cannot be that of its directory.
    #[error("a pack of {pack_len} bytes cannot end with a directory of {found}")]
    DirectoryLen {
        /// The length of the whole object, bytes.
        pack_len: u64,
        /// What its last four bytes say.
        found: u32,
    },
    /// The directory breaks the rules of the format.
    #[error("the directory {0}")]
    Malformed(&'static str),
    /// A chunk of an opened frame does not have the id in the directory.
    #[error("chunk {index} of the frame is not {id}")]
    Chunk {
        /// The chunk's place in the frame.
        index: usize,
        /// The id it should have.
        id: ChunkId,
    },
}

/// Which frame of a pack is meant, and how it was stored. A frame opens only with what it was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePosition {
    /// The frame's place in the pack, from 0.
    pub ordinal: u32,
    /// The length of its plaintext, bytes.
    pub raw_len: u32,
    /// How the plaintext is stored under the seal.
    pub codec: Codec,
}

impl From<Malformed> for PackBroken {
    fn from(_: Malformed) -> Self {
        Self::Malformed("cannot be decoded")
    }
}

/// Seals and opens the parts of one pack: its id, kind and key. Can be shared by many threads.
#[derive(Clone)]
pub struct PackSeal {
    domain: DomainId,
    id: PackId,
    kind: ChunkKind,
    key: SealKey,
    commitment: [u8; 32],
}

impl PackSeal {
    /// A new pack with a fresh random id.
    pub fn create(keys: &Keys, kind: ChunkKind) -> Result<Self, NoRandom> {
        Ok(Self::for_id(keys, PackId(random()?), kind))
    }

    /// The pack of that id and kind, as the index knows it.
    #[must_use]
    pub fn for_id(keys: &Keys, id: PackId, kind: ChunkKind) -> Self {
        let object = keys.pack_key(id.as_bytes());
        Self {
            domain: keys.domain(),
            id,
            kind,
            key: SealKey::new(&object.key),
            commitment: object.commitment,
        }
    }

    /// The pack that begins with this header. Checks all of it: magic, version, kind, and that the commitment belongs
    /// to the key that this domain derives from the pack's id.
    pub fn from_header(keys: &Keys, header: &[u8]) -> Result<Self, PackBroken> {
        let header: &[u8; HEADER_LEN] = header
            .get(..HEADER_LEN)
            .and_then(|header| header.try_into().ok())
            .ok_or(PackBroken::Header("it is shorter than a header"))?;
        if header[..8] != MAGIC {
            return Err(PackBroken::Header("its first bytes are not LSTNPACK"));
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if version > FORMAT_VERSION {
            return Err(PackBroken::Version(version));
        }
        let kind = known_kind(i32::from(header[12])).ok_or(PackBroken::Header("its kind is unknown"))?;
        let id = PackId::try_from(&header[16..48]).map_err(|_| PackBroken::Header("its id is cut off"))?;
        let seal = Self::for_id(keys, id, kind);
        let wanted = seal.header();
        if header[..48] != wanted[..48] {
            return Err(PackBroken::Header("its version or its reserved bytes are wrong"));
        }
        // A commitment is not secret, so an ordinary comparison is safe.
        if header[48..] != wanted[48..] {
            return Err(PackBroken::Commitment(id));
        }
        Ok(seal)
    }

    /// The pack's id.
    #[must_use]
    pub fn id(&self) -> PackId {
        self.id
    }

    /// What the pack holds.
    #[must_use]
    pub fn kind(&self) -> ChunkKind {
        self.kind
    }

    /// The first bytes of the object.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        header[12] = self.kind as u8;
        header[16..48].copy_from_slice(self.id.as_bytes());
        header[48..].copy_from_slice(&self.commitment);
        header
    }

    /// Seals a frame's payload in place and appends the tag. Each ordinal may be sealed once: the caller counts from 0.
    /// Refuses what a reader would refuse.
    pub fn seal_frame(&self, at: FramePosition, payload: &mut Vec<u8>) -> Result<(), PackBroken> {
        self.check_position(at, payload.len() + TAG_LEN)?;
        self.key
            .seal_in_place(u64::from(at.ordinal), &self.frame_aad(at), payload)
            .map_err(|SealBroken| self.broken(at))
    }

    /// Seals a frame's payload into `sealed`, which is longer by the tag.
    pub fn seal_frame_into(&self, at: FramePosition, payload: &[u8], sealed: &mut [u8]) -> Result<(), PackBroken> {
        self.check_position(at, sealed.len())?;
        self.key
            .seal_into(u64::from(at.ordinal), &self.frame_aad(at), payload, sealed)
            .map_err(|SealBroken| self.broken(at))
    }

    /// Opens a sealed frame, which stays as it is, into `payload`, which is shorter by the tag.
    pub fn open_frame_into(&self, at: FramePosition, sealed: &[u8], payload: &mut [u8]) -> Result<(), PackBroken> {
        self.key
            .open_into(u64::from(at.ordinal), &self.frame_aad(at), sealed, payload)
            .map_err(|SealBroken| self.broken(at))
    }

    /// Opens a sealed frame in place and cuts the tag off: what is left is the payload for the `Decompressor`.
    pub fn open_frame(&self, at: FramePosition, sealed: &mut Vec<u8>) -> Result<(), PackBroken> {
        let len = self.open_frame_slice(at, sealed)?.len();
        sealed.truncate(len);
        Ok(())
    }

    /// Opens a frame in place that lies in a larger buffer, as when one range read fetched several. Returns the
    /// payload.
    pub fn open_frame_slice<'a>(&self, at: FramePosition, sealed: &'a mut [u8]) -> Result<&'a mut [u8], PackBroken> {
        self.key
            .open_slice(u64::from(at.ordinal), &self.frame_aad(at), sealed)
            .map_err(|SealBroken| self.broken(at))
    }

    /// The end of the object: the sealed directory, padded so that the whole pack has a Padmé length, and its length.
    /// `body_len` is the length of header and frames, bytes. Refuses a directory that a reader would refuse. Also opens
    /// the result with a second implementation of the seal, which finds errors of this machine's processor or library.
    pub fn seal_directory(&self, directory: &PackDirectory, body_len: u64) -> Result<Vec<u8>, PackBroken> {
        check_directory(directory, body_len)?;
        let encoded_len = directory.encoded_len();
        let bare = LENGTH_LEN + encoded_len + TAG_LEN + LENGTH_LEN;
        let pack_len = padme(body_len + bare as u64);
        let tail_len = usize::try_from(pack_len - body_len).map_err(|_| PackBroken::Malformed("is too long"))?;
        let sealed_len = tail_len - LENGTH_LEN;
        if pack_len > PACK_MAX || sealed_len > DIRECTORY_MAX {
            return Err(PackBroken::Malformed("or its pack is too long"));
        }
        let mut tail = Vec::with_capacity(tail_len);
        tail.extend_from_slice(&(encoded_len as u32).to_le_bytes());
        directory.encode_raw(&mut tail);
        tail.resize(sealed_len - TAG_LEN, 0);
        let aad = self.directory_aad(body_len);
        self.key
            .seal_in_place(DIRECTORY_NONCE, &aad, &mut tail)
            .and_then(|()| self.key.opens_elsewhere(DIRECTORY_NONCE, &aad, &tail))
            .map_err(|SealBroken| PackBroken::Directory(self.id))?;
        tail.extend_from_slice(&(sealed_len as u32).to_le_bytes());
        Ok(tail)
    }

    /// Opens the sealed directory (without the length after it) of a pack whose frames end at `frames_end`. The result
    /// keeps the rules of `check_directory`, and its sealed lengths add up to `frames_end`.
    pub fn open_directory(&self, tail: &[u8], frames_end: u64) -> Result<PackDirectory, PackBroken> {
        if tail.len() > DIRECTORY_MAX {
            return Err(PackBroken::Malformed("is too long"));
        }
        let mut plain = tail.to_vec();
        self.key
            .open_in_place(DIRECTORY_NONCE, &self.directory_aad(frames_end), &mut plain)
            .map_err(|SealBroken| PackBroken::Directory(self.id))?;
        let (len, rest) = plain.split_first_chunk().ok_or(PackBroken::Malformed("is empty"))?;
        let (encoded, padding) = usize::try_from(u32::from_le_bytes(*len))
            .ok()
            .and_then(|len| rest.split_at_checked(len))
            .ok_or(PackBroken::Malformed("is shorter than it says"))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(PackBroken::Malformed("is not padded with zeros"));
        }
        check_encoded_directory(encoded)?;
        let end = LENGTH_LEN + encoded.len();
        let encoded = Bytes::from(plain).slice(LENGTH_LEN..end);
        let directory = canonical::decode::<PackDirectory>(encoded)?;
        check_directory(&directory, frames_end)?;
        Ok(directory)
    }

    /// How a segment lists this pack. `len` is the length of the whole object, bytes.
    #[must_use]
    pub fn entry(&self, directory: PackDirectory, len: u64) -> PackEntry {
        PackEntry {
            pack_id: Bytes::copy_from_slice(self.id.as_bytes()),
            kind: self.kind.into(),
            len,
            directory: Some(directory),
        }
    }

    fn check_position(&self, at: FramePosition, sealed_len: usize) -> Result<(), PackBroken> {
        if at.ordinal as usize >= PACK_MAX_FRAMES {
            return Err(PackBroken::Malformed("would list too many frames"));
        }
        check_lens(sealed_len, at.raw_len, at.codec)
    }

    fn broken(&self, at: FramePosition) -> PackBroken {
        PackBroken::Frame {
            pack: self.id,
            ordinal: at.ordinal,
        }
    }

    fn frame_aad(&self, at: FramePosition) -> [u8; 62] {
        let mut aad = [0; 62];
        aad[..53].copy_from_slice(&self.common_aad());
        aad[53..57].copy_from_slice(&at.ordinal.to_le_bytes());
        aad[57..61].copy_from_slice(&at.raw_len.to_le_bytes());
        aad[61] = at.codec as u8;
        aad
    }

    fn directory_aad(&self, frames_end: u64) -> [u8; 61] {
        let mut aad = [0; 61];
        aad[..53].copy_from_slice(&self.common_aad());
        aad[53..].copy_from_slice(&frames_end.to_le_bytes());
        aad
    }

    fn common_aad(&self) -> [u8; 53] {
        let mut aad = [0; 53];
        aad[..4].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        aad[4..20].copy_from_slice(self.domain.as_bytes());
        aad[20] = self.kind as u8;
        aad[21..].copy_from_slice(self.id.as_bytes());
        aad
    }
}

/// The length to which an object of `len` bytes is padded, so that its length reveals little: Padmé, from "Reducing
/// Metadata Leakage from Encrypted Files and Communication with PURBs" (Nikitin and others, PoPETs 2019), section 4. It
/// adds at most 12 %, and less to larger objects.
#[must_use]
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    // floor(log2(exponent)) + 1 bits of the mantissa are kept; the rest become zero, rounding up.
    let kept = exponent.ilog2() + 1;
    let mask = (1_u64 << (exponent - kept)) - 1;
    len.checked_add(mask).map_or(len, |len| len & !mask)
}

/// The length of the sealed directory, from the last four bytes of a pack of `pack_len` bytes. The directory ends
/// before those four bytes. The frames end where it begins.
pub fn read_directory_len(last4: [u8; 4], pack_len: u64) -> Result<usize, PackBroken> {
    let found = u32::from_le_bytes(last4);
    let fits = HEADER_LEN as u64 + u64::from(found) + LENGTH_LEN as u64 <= pack_len;
    let len = found as usize;
    if !fits || !(LENGTH_LEN + TAG_LEN..=DIRECTORY_MAX).contains(&len) || pack_len > PACK_MAX {
        return Err(PackBroken::DirectoryLen { pack_len, found });
    }
    Ok(len)
}

/// Recomputes the id of every chunk of an opened and decompressed frame.
pub fn verify_frame(keys: &Keys, kind: ChunkKind, raw: &[u8], frame: &Frame) -> Result<(), PackBroken> {
    let mut rest = raw;
    let ids = frame.chunk_ids.chunks(ChunkId::LEN);
    if ids.len() != frame.chunk_lens.len() {
        return Err(PackBroken::Malformed("lists ids and lengths that do not pair up"));
    }
    let mut chunks = Vec::with_capacity(ids.len());
    for len in &frame.chunk_lens {
        let (chunk, behind) = rest
            .split_at_checked(*len as usize)
            .ok_or(PackBroken::Malformed("lists chunks beyond the frame"))?;
        chunks.push(chunk);
        rest = behind;
    }
    for (index, (id, found)) in ids.zip(keys.chunk_ids(kind, &chunks)).enumerate() {
        let id = ChunkId::try_from(id).map_err(|_| PackBroken::Malformed("lists an id that is cut off"))?;
        if found != id {
            return Err(PackBroken::Chunk { index, id });
        }
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(PackBroken::Malformed("lists chunks that do not fill the frame"))
    }
}

/// The kind with that number; `None` unless it is `Data` or `Tree`.
pub(crate) fn known_kind(kind: i32) -> Option<ChunkKind> {
    ChunkKind::try_from(kind)
        .ok()
        .filter(|kind| *kind != ChunkKind::Unspecified)
}

/// Counts the parts of an encoded directory before it is decoded.
pub(crate) fn check_encoded_directory(encoded: &[u8]) -> Result<(), PackBroken> {
    if has_more_than(encoded, 1, PACK_MAX_FRAMES)? {
        return Err(PackBroken::Malformed("lists too many frames"));
    }
    let mut chunks = 0;
    each_field(encoded, 1, |frame| {
        // Every chunk takes at least 33 bytes (32 of id, 1 of length), so this counts at least all chunks.
        chunks += frame.len().div_ceil(ChunkId::LEN + 1);
        let allowed = PACK_MAX_CHUNKS + PACK_MAX_CHUNKS / 2 + PACK_MAX_FRAMES;
        if chunks > allowed {
            Err(PackBroken::Malformed("lists too many chunks"))
        } else {
            Ok(())
        }
    })
}

/// Checks that a directory keeps the rules of the format, for a pack whose frames end at `frames_end`.
pub(crate) fn check_directory(directory: &PackDirectory, frames_end: u64) -> Result<(), PackBroken> {
    if directory.frames.is_empty() || directory.frames.len() > PACK_MAX_FRAMES {
        return Err(PackBroken::Malformed("lists no frames, or too many"));
    }
    let (mut end, mut chunks) = (HEADER_LEN as u64, 0);
    for frame in &directory.frames {
        let codec = Codec::try_from(frame.codec).map_err(|_| PackBroken::Malformed("names an unknown codec"))?;
        check_lens(frame.sealed_len as usize, frame.raw_len, codec)?;
        let count = frame.chunk_lens.len();
        if count == 0 || count > FRAME_MAX_CHUNKS || frame.chunk_ids.len() != count * ChunkId::LEN {
            return Err(PackBroken::Malformed(
                "lists a frame whose chunks are none, too many or without ids",
            ));
        }
        let mut raw_len = 0_u64;
        for len in &frame.chunk_lens {
            if *len == 0 || *len as usize > CHUNK_MAX {
                return Err(PackBroken::Malformed("lists a chunk of an impossible length"));
            }
            raw_len += u64::from(*len);
        }
        if raw_len != u64::from(frame.raw_len) {
            return Err(PackBroken::Malformed("lists chunks that do not fill their frame"));
        }
        chunks += count;
        end += u64::from(frame.sealed_len);
    }
    if chunks > PACK_MAX_CHUNKS {
        return Err(PackBroken::Malformed("lists too many chunks"));
    }
    if end != frames_end {
        return Err(PackBroken::Malformed("lists frames that do not fill the pack"));
    }
    Ok(())
}

/// Checks that the lengths of a frame are possible.
fn check_lens(sealed_len: usize, raw_len: u32, codec: Codec) -> Result<(), PackBroken> {
    let raw_len = raw_len as usize;
    let payload_len = sealed_len.saturating_sub(TAG_LEN);
    let possible = match codec {
        Codec::Stored => payload_len == raw_len,
        Codec::Zstd => payload_len > 0 && payload_len < raw_len,
    };
    if possible && (1..=FRAME_MAX_RAW).contains(&raw_len) {
        Ok(())
    } else {
        Err(PackBroken::Malformed("lists a frame of an impossible length"))
    }
}

#[cfg(test)]
pub(crate) mod tests;
