//! The packs and segments that a repair makes. They are durable before the log names them, so a repair that is killed
//! leaves objects that no entry names, and nothing else.

use std::collections::HashSet;

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, SegmentId};
use lockstone_proto::limits::{FRAME_TARGET, PACK_MAX_CHUNKS, PACK_MAX_FRAMES, PACK_TARGET, SEGMENT_TARGET_CHUNKS};
use lockstone_proto::vault::{ChunkKind, Codec, Frame, PackDirectory, PackEntry, Segment};

use crate::damage::DamageKind;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::pack::frame::{Compressor, DEFAULT_LEVEL};
use crate::pack::segment::encode_segment;
use crate::pack::{FramePosition, PackBroken, PackSeal};
use crate::store::names;

/// The reason of an object that the store did not take whole.
const CUT: &str = "it was stored cut when the connection broke; run the command again";

/// What a repair makes anew.
#[derive(Default)]
pub(in crate::check) struct Fresh {
    data: Option<NewPack>,
    tree: Option<NewPack>,
    /// Pages that wait for a frame.
    pages: Vec<(ChunkId, Bytes)>,
    page_bytes: usize,
    /// The pages that were taken in, so that none is twice.
    taken: HashSet<ChunkId>,
    /// Packs that no segment lists yet.
    unlisted: Vec<PackEntry>,
    chunks: usize,
    /// The segments that were written.
    segments: Vec<SegmentId>,
}

/// A pack that is being made.
struct NewPack {
    seal: PackSeal,
    object: Vec<u8>,
    directory: PackDirectory,
    chunks: usize,
}

impl Fresh {
    /// Takes in a frame as it is stored elsewhere: its payload without the seal, and what the directory says of it.
    pub(super) async fn frame(
        &mut self,
        domain: &Domain,
        kind: ChunkKind,
        frame: &Frame,
        payload: &[u8],
    ) -> Result<(), VaultError> {
        let place = match kind {
            ChunkKind::Tree => &mut self.tree,
            _ => &mut self.data,
        };
        let pack = match place {
            Some(pack) => pack,
            None => place.insert(NewPack::begin(domain, kind)?),
        };
        pack.add(frame, payload)
            .map_err(|why| broken(domain, &pack.seal, &why))?;
        if pack.is_full()
            && let Some(full) = place.take()
        {
            self.upload(domain, full).await?;
        }
        Ok(())
    }

    /// Takes in a verified tree chunk, once.
    pub(super) async fn page(&mut self, domain: &Domain, id: ChunkId, raw: Bytes) -> Result<bool, VaultError> {
        if !self.taken.insert(id) {
            return Ok(false);
        }
        self.page_bytes += raw.len();
        self.pages.push((id, raw));
        if self.page_bytes >= FRAME_TARGET {
            self.pages_frame(domain).await?;
        }
        Ok(true)
    }

    async fn pages_frame(&mut self, domain: &Domain) -> Result<(), VaultError> {
        let pages = std::mem::take(&mut self.pages);
        self.page_bytes = 0;
        if pages.is_empty() {
            return Ok(());
        }
        let raw = pages
            .iter()
            .flat_map(|(_, raw)| raw.iter().copied())
            .collect::<Vec<u8>>();
        let failed = |why| VaultError::damaged(DamageKind::Pack, "a new pack", why);
        let mut compressor = Compressor::new(DEFAULT_LEVEL).map_err(failed)?;
        let (payload, codec) = compressor.compress_here(&raw).map_err(failed)?;
        let frame = Frame {
            sealed_len: 0,
            raw_len: raw.len() as u32,
            codec: codec.into(),
            chunk_ids: pages.iter().flat_map(|(id, _)| id.0).collect::<Vec<u8>>().into(),
            chunk_lens: pages.iter().map(|(_, raw)| raw.len() as u32).collect(),
        };
        self.frame(domain, ChunkKind::Tree, &frame, payload).await
    }

    async fn upload(&mut self, domain: &Domain, pack: NewPack) -> Result<(), VaultError> {
        let name = names::pack(domain.id(), &pack.seal.id());
        let (entry, object) = pack
            .finish()
            .map_err(|why| VaultError::damaged(DamageKind::Pack, name.as_str(), why))?;
        if !domain.store().create_own(&name, Bytes::from(object)).await? {
            return Err(VaultError::damaged(DamageKind::Pack, name, CUT));
        }
        self.list(domain, entry).await
    }

    /// Takes in a pack that is in the vault, for the next segment.
    pub(super) async fn list(&mut self, domain: &Domain, pack: PackEntry) -> Result<(), VaultError> {
        let frames = pack.directory.iter().flat_map(|directory| &directory.frames);
        let chunks: usize = frames.map(|frame| frame.chunk_lens.len()).sum();
        if self.chunks + chunks > SEGMENT_TARGET_CHUNKS {
            self.segment(domain).await?;
        }
        self.chunks += chunks;
        self.unlisted.push(pack);
        Ok(())
    }

    async fn segment(&mut self, domain: &Domain) -> Result<(), VaultError> {
        let packs = std::mem::take(&mut self.unlisted);
        self.chunks = 0;
        if packs.is_empty() {
            return Ok(());
        }
        let failed = |why| VaultError::damaged(DamageKind::Segment, "a new segment", why);
        let (id, object) = encode_segment(domain.keys(), &Segment { packs }).map_err(failed)?;
        let name = names::segment(domain.id(), &id);
        if !domain.store().create_own(&name, Bytes::from(object)).await? {
            return Err(VaultError::damaged(DamageKind::Segment, name, CUT));
        }
        self.segments.push(id);
        Ok(())
    }

    /// Writes what is left, and returns all segments. All of it is durable.
    pub(super) async fn finish(&mut self, domain: &Domain) -> Result<Vec<SegmentId>, VaultError> {
        self.pages_frame(domain).await?;
        for pack in [self.data.take(), self.tree.take()].into_iter().flatten() {
            self.upload(domain, pack).await?;
        }
        self.segment(domain).await?;
        Ok(std::mem::take(&mut self.segments))
    }
}

fn broken(domain: &Domain, seal: &PackSeal, why: &PackBroken) -> VaultError {
    VaultError::damaged(DamageKind::Pack, names::pack(domain.id(), &seal.id()), why)
}

impl NewPack {
    fn begin(domain: &Domain, kind: ChunkKind) -> Result<Self, VaultError> {
        let seal = PackSeal::create(domain.keys(), kind)?;
        let object = seal.header().to_vec();
        Ok(Self {
            seal,
            object,
            directory: PackDirectory::default(),
            chunks: 0,
        })
    }

    fn add(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), PackBroken> {
        let at = FramePosition {
            ordinal: self.directory.frames.len() as u32,
            raw_len: frame.raw_len,
            codec: Codec::try_from(frame.codec).map_err(|_| PackBroken::Malformed("names an unknown codec"))?,
        };
        let mut sealed = payload.to_vec();
        self.seal.seal_frame(at, &mut sealed)?;
        // What is written is opened again first, as in a backup.
        let mut opened = vec![0; payload.len()];
        self.seal.open_frame_into(at, &sealed, &mut opened)?;
        if opened != payload {
            return Err(PackBroken::Frame {
                pack: self.seal.id(),
                ordinal: at.ordinal,
            });
        }
        self.object.extend_from_slice(&sealed);
        self.chunks += frame.chunk_lens.len();
        self.directory.frames.push(Frame {
            sealed_len: sealed.len() as u32,
            ..frame.clone()
        });
        Ok(())
    }

    /// Whether another frame might not fit.
    fn is_full(&self) -> bool {
        let frames = self.directory.frames.len();
        self.object.len() >= PACK_TARGET || frames >= PACK_MAX_FRAMES / 2 || self.chunks >= PACK_MAX_CHUNKS / 2
    }

    fn finish(mut self) -> Result<(PackEntry, Vec<u8>), PackBroken> {
        let tail = self.seal.seal_directory(&self.directory, self.object.len() as u64)?;
        self.object.extend_from_slice(&tail);
        let len = self.object.len() as u64;
        Ok((self.seal.entry(self.directory, len), self.object))
    }
}
