//! Reading single chunks. Listings, comparisons and checks read tree pages here. Restore reads data in its own way, by
//! fetching whole ranges; this code is for single chunks.

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PackId};
use lockstone_proto::vault::ChunkKind;

use super::Domain;
use crate::damage::DamageKind;
use crate::error::VaultError;
use crate::index::{ChunkPlace, IndexError, PackInfo};
use crate::pack::PackSeal;
use crate::pack::frame::Decompressor;
use crate::store::names;
use crate::tree::NewPage;

impl Domain {
    /// A verified tree chunk. It comes from the cache if it is there. Otherwise its frame is fetched and all pages in
    /// it are kept, because pages that were written together are usually read together.
    pub async fn read_tree_chunk(&self, id: &ChunkId) -> Result<Bytes, VaultError> {
        if let Some(raw) = self.index.page(id)? {
            // The content of the cache is never trusted: the id is computed again.
            if self.keys.chunk_id(ChunkKind::Tree, &raw) == *id {
                return Ok(raw);
            }
        }
        let (place, pack) = self.place_of(ChunkKind::Tree, id)?;
        let raw = self.open_frame(&pack, place.frame).await?;
        let chunk = self.verified(ChunkKind::Tree, id, place, &pack.id, &raw)?;
        let mut pages = Vec::new();
        let mut offset = 0;
        for (member, len) in self.index.frame_members(place.pack, place.frame)? {
            let end = offset + len as usize;
            let Some(page) = raw.get(offset..end) else { break };
            if self.keys.chunk_id(ChunkKind::Tree, page) == member {
                pages.push(NewPage {
                    id: member,
                    raw: raw.slice(offset..end),
                });
            }
            offset = end;
        }
        self.index.put_pages(&pages)?;
        Ok(chunk)
    }

    /// Any verified chunk, from the store. Each call reads and opens one whole frame.
    pub async fn read_chunk(&self, kind: ChunkKind, id: &ChunkId) -> Result<Bytes, VaultError> {
        let (place, pack) = self.place_of(kind, id)?;
        let raw = self.open_frame(&pack, place.frame).await?;
        self.verified(kind, id, place, &pack.id, &raw)
    }

    fn place_of(&self, kind: ChunkKind, id: &ChunkId) -> Result<(ChunkPlace, std::sync::Arc<PackInfo>), VaultError> {
        let place = self
            .index
            .lookup(std::slice::from_ref(id))?
            .into_iter()
            .next()
            .flatten();
        let place = place.ok_or(VaultError::UnknownChunk(*id))?;
        let pack = self.index.pack(place.pack)?.ok_or_else(|| IndexError::Corrupt {
            folder: self.index.folder().to_string_lossy().into_owned(),
            reason: "a chunk is in a pack that is not known".to_owned(),
        })?;
        if pack.kind != kind || place.frame as usize >= pack.frames.len() {
            return Err(VaultError::UnknownChunk(*id));
        }
        Ok((place, pack))
    }

    async fn open_frame(&self, pack: &PackInfo, ordinal: u32) -> Result<Bytes, VaultError> {
        let name = names::pack(self.id, &pack.id);
        let frame = pack.frames[ordinal as usize];
        let range = frame.offset..frame.offset + u64::from(frame.sealed_len);
        let sealed = match self.store().get_range(&name, range).await {
            Ok(sealed) => sealed,
            Err(error) if error.is_object_fault() => return Err(VaultError::damaged(DamageKind::Pack, name, error)),
            Err(error) => return Err(error.into()),
        };
        let mut sealed = Vec::from(sealed);
        let seal = PackSeal::for_id(&self.keys, pack.id, pack.kind);
        seal.open_frame(frame.position(ordinal), &mut sealed)
            .map_err(|why| VaultError::damaged(DamageKind::Pack, name.as_str(), why))?;
        let mut raw = Vec::new();
        Decompressor::new()
            .and_then(|mut decompressor| {
                decompressor.decompress(frame.codec, &sealed, frame.raw_len as usize, &mut raw)
            })
            .map_err(|why| VaultError::damaged(DamageKind::Pack, name, why))?;
        Ok(raw.into())
    }

    fn verified(
        &self,
        kind: ChunkKind,
        id: &ChunkId,
        place: ChunkPlace,
        pack: &PackId,
        raw: &Bytes,
    ) -> Result<Bytes, VaultError> {
        let (start, end) = (place.offset as usize, place.offset as usize + place.len as usize);
        let chunk = (end <= raw.len()).then(|| raw.slice(start..end));
        chunk
            .filter(|chunk| self.keys.chunk_id(kind, chunk) == *id)
            .ok_or_else(|| {
                let object = names::pack(self.id, pack);
                VaultError::damaged(
                    DamageKind::Pack,
                    object,
                    format!("chunk {id} in it is not what its id says"),
                )
            })
    }
}
