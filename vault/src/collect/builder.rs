//! Fills new packs with chunks that are moved, and stores them. What is sealed is opened again before it is stored, as
//! in a backup.

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PackId};
use lockstone_proto::limits::{FRAME_MAX_CHUNKS, FRAME_TARGET, PACK_MAX_CHUNKS, PACK_MAX_FRAMES, TAG_LEN};
use lockstone_proto::vault::{ChunkKind, Codec, Frame, PackDirectory, PackEntry};

use crate::damage::DamageKind;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::pack::frame::{Compressor, Decompressor, FrameBroken};
use crate::pack::{FramePosition, HEADER_LEN, PackBroken, PackSeal, verify_frame};
use crate::store::{StoreError, names};

/// A pack that is being filled.
struct Open {
    seal: PackSeal,
    /// Header and frames.
    body: Vec<u8>,
    directory: PackDirectory,
    chunks: usize,
}

/// Fills packs of one kind.
pub(super) struct Builder<'a> {
    domain: &'a Domain,
    kind: ChunkKind,
    /// The size at which a pack is closed, bytes.
    target: usize,
    compressor: Compressor,
    decompressor: Decompressor,
    open: Option<Open>,
    /// The frame that chunks are added to: its bytes, and what is in it.
    raw: Vec<u8>,
    ids: Vec<u8>,
    lens: Vec<u32>,
    /// The packs that are stored, and in no log entry yet.
    pub(super) stored: Vec<PackEntry>,
    /// Their length, bytes.
    pub(super) stored_bytes: u64,
}

impl<'a> Builder<'a> {
    pub(super) fn new(domain: &'a Domain, kind: ChunkKind, target: u64, zstd_level: i32) -> Result<Self, VaultError> {
        Ok(Self {
            domain,
            kind,
            target: usize::try_from(target).unwrap_or(usize::MAX),
            compressor: Compressor::new(zstd_level).map_err(|why| no_memory(&why))?,
            decompressor: Decompressor::new().map_err(|why| no_memory(&why))?,
            open: None,
            raw: Vec::new(),
            ids: Vec::new(),
            lens: Vec::new(),
            stored: Vec::new(),
            stored_bytes: 0,
        })
    }

    /// Adds a chunk, which was verified.
    pub(super) async fn add_chunk(&mut self, id: &[u8], chunk: &[u8]) -> Result<(), VaultError> {
        let overflows = self.raw.len() + chunk.len() > FRAME_TARGET + FRAME_TARGET / 4;
        if (overflows && !self.raw.is_empty()) || self.lens.len() == FRAME_MAX_CHUNKS {
            self.close_frame().await?;
        }
        self.raw.extend_from_slice(chunk);
        self.ids.extend_from_slice(id);
        self.lens.push(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        if self.raw.len() >= FRAME_TARGET {
            self.close_frame().await?;
        }
        Ok(())
    }

    /// Adds a frame as it is: its directory entry, its payload, and that payload decompressed, which was verified.
    pub(super) async fn add_frame(&mut self, frame: &Frame, payload: &[u8], raw: &[u8]) -> Result<(), VaultError> {
        let codec = Codec::try_from(frame.codec).unwrap_or(Codec::Stored);
        self.put(
            payload.to_vec(),
            raw,
            codec,
            frame.chunk_ids.clone(),
            frame.chunk_lens.clone(),
        )
        .await
    }

    /// Stores what is not stored yet.
    pub(super) async fn flush(&mut self) -> Result<(), VaultError> {
        self.close_frame().await?;
        self.close_pack().await
    }

    /// The packs that were stored, which the caller writes into the log.
    pub(super) fn take_stored(&mut self) -> Vec<PackEntry> {
        self.stored_bytes = 0;
        std::mem::take(&mut self.stored)
    }

    async fn close_frame(&mut self) -> Result<(), VaultError> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let raw = std::mem::take(&mut self.raw);
        let mut payload = Vec::new();
        let codec = self
            .compressor
            .compress(&raw, &mut payload)
            .map_err(|why| no_memory(&why))?;
        let (ids, lens) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.lens));
        self.put(payload, &raw, codec, ids.into(), lens).await?;
        self.raw = raw;
        self.raw.clear();
        Ok(())
    }

    /// Seals a payload as the next frame.
    async fn put(
        &mut self,
        mut payload: Vec<u8>,
        raw: &[u8],
        codec: Codec,
        chunk_ids: Bytes,
        chunk_lens: Vec<u32>,
    ) -> Result<(), VaultError> {
        let sealed_len = payload.len() + TAG_LEN;
        let is_full = |open: &Open| {
            open.body.len() + sealed_len > self.target
                || open.chunks + chunk_lens.len() > PACK_MAX_CHUNKS
                || open.directory.frames.len() == PACK_MAX_FRAMES
        };
        if self.open.as_ref().is_some_and(is_full) {
            self.close_pack().await?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(PackSeal::create(self.domain.keys(), self.kind)?),
        };
        let at = FramePosition {
            ordinal: u32::try_from(open.directory.frames.len()).unwrap_or(u32::MAX),
            raw_len: u32::try_from(raw.len()).unwrap_or(u32::MAX),
            codec,
        };
        let frame = Frame {
            sealed_len: u32::try_from(sealed_len).unwrap_or(u32::MAX),
            raw_len: at.raw_len,
            codec: codec.into(),
            chunk_ids,
            chunk_lens,
        };
        let broken = |why: PackBroken| VaultError::damaged(DamageKind::Pack, "a new pack", why);
        open.seal.seal_frame(at, &mut payload).map_err(broken)?;
        self.verify(&open.seal, at, &payload, &frame)?;
        open.body.extend_from_slice(&payload);
        open.chunks += frame.chunk_lens.len();
        open.directory.frames.push(frame);
        self.open = Some(open);
        Ok(())
    }

    /// Opens what was sealed, and computes all ids again.
    fn verify(&mut self, seal: &PackSeal, at: FramePosition, sealed: &[u8], frame: &Frame) -> Result<(), VaultError> {
        let broken = |why: &dyn std::fmt::Display| {
            let reason = format!("a frame could not be read back after it was sealed: {why}");
            VaultError::damaged(DamageKind::Pack, "a new pack", reason)
        };
        let mut payload = sealed.to_vec();
        seal.open_frame(at, &mut payload).map_err(|why| broken(&why))?;
        let mut raw = Vec::new();
        self.decompressor
            .decompress(at.codec, &payload, at.raw_len as usize, &mut raw)
            .map_err(|why| broken(&why))?;
        verify_frame(self.domain.keys(), self.kind, &raw, frame).map_err(|why| broken(&why))
    }

    async fn close_pack(&mut self) -> Result<(), VaultError> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let tail = open.seal.seal_directory(&open.directory, open.body.len() as u64);
        let tail = tail.map_err(|why| VaultError::damaged(DamageKind::Pack, "a new pack", why))?;
        open.body.extend_from_slice(&tail);
        let (id, len) = (open.seal.id(), open.body.len() as u64);
        let name = names::pack(self.domain.id(), &id);
        if !self.domain.store().create_own(&name, Bytes::from(open.body)).await? {
            // The id is sealed into the pack. The next attempt takes another one.
            return Err(VaultError::Store(StoreError::Unreachable {
                object: name,
                reason: "it was stored cut when the connection broke".to_owned(),
            }));
        }
        self.stored.push(open.seal.entry(open.directory, len));
        self.stored_bytes += len;
        Ok(())
    }
}

impl Open {
    fn new(seal: PackSeal) -> Self {
        let mut body = Vec::with_capacity(HEADER_LEN);
        body.extend_from_slice(&seal.header());
        Self {
            seal,
            body,
            directory: PackDirectory::default(),
            chunks: 0,
        }
    }
}

fn no_memory(why: &FrameBroken) -> VaultError {
    VaultError::damaged(DamageKind::Pack, "a new pack", why)
}

/// The ids of stored packs.
pub(super) fn ids_of(packs: &[PackEntry]) -> impl Iterator<Item = PackId> + '_ {
    packs
        .iter()
        .filter_map(|pack| PackId::try_from(pack.pack_id.as_ref()).ok())
}

/// The chunks of a frame: ids, and their bytes in the opened frame.
pub(super) fn chunks_of<'a>(frame: &'a Frame, raw: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let mut rest = raw;
    frame
        .chunk_ids
        .chunks(ChunkId::LEN)
        .zip(&frame.chunk_lens)
        .map(move |(id, len)| {
            let (chunk, behind) = rest.split_at((*len as usize).min(rest.len()));
            rest = behind;
            (id, chunk)
        })
}
