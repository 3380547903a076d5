//! What can be saved of a damaged pack. Its whole frames are copied into new packs, as far as no good pack has their
//! chunks. Pages that are lost in it come from the cache of this server. So nothing relies on the damaged object any
//! more.

use lockstone_proto::ids::{ChunkId, PackId};
use lockstone_proto::vault::{ChunkKind, Frame, PackDirectory};

use super::super::pack::Lost;
use super::super::{Check, DamageKind};
use super::Fresh;
use crate::error::VaultError;
use crate::index::PackInfo;
use crate::pack::frame::Decompressor;
use crate::pack::{FramePosition, HEADER_LEN, PackSeal, verify_frame};
use crate::store::{StoreError, names};

impl Check<'_> {
    /// Saves what can be saved of a damaged pack, if repair is asked for. The pack is distrusted by now.
    pub(in crate::check) async fn save(
        &mut self,
        number: u32,
        id: &PackId,
        directory: Option<PackDirectory>,
        lost: &Lost,
    ) -> Result<(), VaultError> {
        let Some(pack) = self.domain.index().pack(number)? else {
            return Ok(());
        };
        let Some(mut fresh) = self.fresh.take() else {
            return Ok(());
        };
        let saved = self.save_into(&mut fresh, number, &pack, directory, lost).await;
        self.fresh = Some(fresh);
        let (frames, pages) = saved?;
        let name = names::pack(self.domain.id(), id);
        if frames > 0 {
            self.repaired(
                &name,
                DamageKind::Pack,
                format!("{frames} of its frames, which are whole, were copied to a new pack"),
            );
        }
        if pages > 0 {
            self.repaired(
                &name,
                DamageKind::Pack,
                format!("{pages} of its pages came from the cache of this server"),
            );
        }
        Ok(())
    }

    /// How many frames were copied, and how many pages came from the cache.
    async fn save_into(
        &self,
        fresh: &mut Fresh,
        number: u32,
        pack: &PackInfo,
        directory: Option<PackDirectory>,
        lost: &Lost,
    ) -> Result<(usize, usize), VaultError> {
        let (mut frames, mut pages) = (0, 0);
        let index = self.domain.index();
        let listed = directory.map(|directory| directory.frames).unwrap_or_default();
        let mut offset = HEADER_LEN as u64;
        for ordinal in 0..pack.frames.len().max(listed.len()) as u32 {
            if self.is_cancelled() {
                break;
            }
            let frame = listed.get(ordinal as usize);
            let start = offset;
            offset += frame.map_or(0, |frame| u64::from(frame.sealed_len));
            let ids = match frame {
                Some(frame) => ids_of(frame),
                None => index
                    .frame_members(number, ordinal)?
                    .into_iter()
                    .map(|(id, _)| id)
                    .collect(),
            };
            let known = index.lookup(&ids)?;
            let missing: Vec<ChunkId> = ids
                .into_iter()
                .zip(known)
                .filter_map(|(id, known)| known.is_none().then_some(id))
                .collect();
            if missing.is_empty() {
                continue;
            }
            if let Some(frame) = frame.filter(|_| !lost.has(ordinal))
                && self.copy_frame(fresh, pack, frame, (ordinal, start)).await?
            {
                frames += 1;
                continue;
            }
            if pack.kind == ChunkKind::Tree {
                for id in missing {
                    if let Some(kept) = self.domain.kept_page(&id)?
                        && fresh.page(self.domain, id, kept.raw).await?
                    {
                        pages += 1;
                    }
                }
            }
        }
        Ok((frames, pages))
    }

    /// Copies a frame. `false` if it is not whole after all.
    async fn copy_frame(
        &self,
        fresh: &mut Fresh,
        pack: &PackInfo,
        frame: &Frame,
        (ordinal, start): (u32, u64),
    ) -> Result<bool, VaultError> {
        let name = names::pack(self.domain.id(), &pack.id);
        let range = start..start + u64::from(frame.sealed_len);
        let mut sealed = match self.domain.store().get_range(&name, range).await {
            Ok(sealed) => Vec::from(sealed),
            Err(error) if error.is_object_fault() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let at = FramePosition {
            ordinal,
            raw_len: frame.raw_len,
            codec: frame.codec(),
        };
        let seal = PackSeal::for_id(self.domain.keys(), pack.id, pack.kind);
        if seal.open_frame(at, &mut sealed).is_err() {
            return Ok(false);
        }
        let mut raw = Vec::new();
        let mut decompressor = Decompressor::new().map_err(|why| StoreError::Io {
            object: name,
            reason: why.to_string(),
        })?;
        let opened = decompressor.decompress(at.codec, &sealed, frame.raw_len as usize, &mut raw);
        if opened.is_err() || verify_frame(self.domain.keys(), pack.kind, &raw, frame).is_err() {
            return Ok(false);
        }
        fresh.frame(self.domain, pack.kind, frame, &sealed).await?;
        Ok(true)
    }
}

fn ids_of(frame: &Frame) -> Vec<ChunkId> {
    let ids = frame.chunk_ids.chunks(ChunkId::LEN);
    ids.filter_map(|id| ChunkId::try_from(id).ok()).collect()
}
