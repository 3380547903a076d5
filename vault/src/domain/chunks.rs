//! Reading single chunks. Listings, comparisons and checks read tree pages here. Restore reads data in its own way, by
//! fetching whole ranges; this code is for single chunks.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PackId};
use lockstone_proto::vault::ChunkKind;

use super::Domain;
use crate::damage::DamageKind;
use crate::error::VaultError;
use crate::index::{ChunkPlace, IndexError, KeptPage, PackInfo};
use crate::pack::PackSeal;
use crate::pack::frame::Decompressor;
use crate::store::names;
use crate::tree::NewPage;

impl Domain {
    /// A verified tree chunk. It comes from the cache if it is there. Otherwise its frame is fetched and all pages in
    /// it are kept, because pages that were written together are usually read together.
    pub async fn read_tree_chunk(&self, id: &ChunkId) -> Result<Bytes, VaultError> {
        if let Some(kept) = self.kept_page(id)? {
            return Ok(kept.raw);
        }
        self.fetch_tree_chunk(id).await
    }

    /// A tree chunk from the cache. The content of the cache is never trusted: the id is computed again.
    pub(crate) fn kept_page(&self, id: &ChunkId) -> Result<Option<KeptPage>, VaultError> {
        let kept = self.index.page(id)?;
        Ok(kept.filter(|kept| self.keys.chunk_id(ChunkKind::Tree, &kept.raw) == *id))
    }

    /// A verified tree chunk from the store.
    pub(crate) async fn fetch_tree_chunk(&self, id: &ChunkId) -> Result<Bytes, VaultError> {
        let read = self.read_place(ChunkKind::Tree, id).await;
        let (chunk, place, raw) = match read {
            Ok(read) => read,
            Err(error) if error.is_damage() => return self.recover_one(ChunkKind::Tree, id, error).await,
            Err(error) => return Err(error),
        };
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
        self.index.put_fetched_pages(&pages)?;
        Ok(chunk)
    }

    /// Any verified chunk, from the store. Each call reads and opens one whole frame.
    pub async fn read_chunk(&self, kind: ChunkKind, id: &ChunkId) -> Result<Bytes, VaultError> {
        match self.read_place(kind, id).await {
            Ok((chunk, ..)) => Ok(chunk),
            Err(error) if error.is_damage() => self.recover_one(kind, id, error).await,
            Err(error) => Err(error),
        }
    }

    /// Chunks whose frame could not be read or did not verify. Everything that the index knows is tried in turn: first
    /// the same place once more, because one bad answer of a store is not damage, then the other places. If that does
    /// not help, the log is read on: a collection may have moved chunks and deleted their old packs. `None` for those
    /// that no place has whole. Packs that are found damaged are distrusted from now on.
    pub async fn recover(&self, kind: ChunkKind, ids: &[ChunkId]) -> Result<Vec<Option<Bytes>>, VaultError> {
        let mut found = self.try_places(kind, ids).await?;
        let missing: Vec<usize> = (0..ids.len()).filter(|at| found[*at].is_none()).collect();
        let before = self.view().head;
        if missing.is_empty() || self.refresh().await?.head == before {
            return Ok(found);
        }
        let again: Vec<ChunkId> = missing.iter().map(|at| ids[*at]).collect();
        for (at, chunk) in missing.into_iter().zip(self.try_places(kind, &again).await?) {
            found[at] = chunk;
        }
        Ok(found)
    }

    /// Tries all places that the index has of some chunks.
    async fn try_places(&self, kind: ChunkKind, ids: &[ChunkId]) -> Result<Vec<Option<Bytes>>, VaultError> {
        let places = ids
            .iter()
            .map(|id| self.index.places(id))
            .collect::<Result<Vec<_>, _>>()?;
        let mut found: Vec<Option<Bytes>> = vec![None; ids.len()];
        let mut tried: HashSet<(u32, u32)> = HashSet::new();
        loop {
            let missing = places.iter().zip(&found).filter(|(_, found)| found.is_none());
            let mut untried = missing
                .flat_map(|(places, _)| places)
                .map(|place| (place.pack, place.frame));
            let Some((number, frame)) = untried.find(|place| !tried.contains(place)) else {
                return Ok(found);
            };
            tried.insert((number, frame));
            let pack = self.pack(number)?;
            if pack.kind != kind || frame as usize >= pack.frames.len() {
                continue;
            }
            for last in [false, true] {
                let raw = match self.open_frame(&pack, frame).await {
                    Ok(raw) => raw,
                    Err(error) if error.is_damage() => {
                        if last {
                            self.distrust(&pack.id, &error);
                        }
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let mut whole = true;
                for (at, id) in ids
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| found[*at].is_none())
                    .collect::<Vec<_>>()
                {
                    let place = places[at]
                        .iter()
                        .find(|place| (place.pack, place.frame) == (number, frame));
                    let Some(place) = place else { continue };
                    match self.verified(kind, id, *place, &pack.id, &raw) {
                        Ok(chunk) => found[at] = Some(chunk),
                        Err(error) if last => {
                            whole = false;
                            self.distrust(&pack.id, &error);
                        }
                        Err(_) => whole = false,
                    }
                }
                if whole {
                    break;
                }
            }
        }
    }

    async fn recover_one(&self, kind: ChunkKind, id: &ChunkId, error: VaultError) -> Result<Bytes, VaultError> {
        let found = self.recover(kind, std::slice::from_ref(id)).await?;
        found.into_iter().next().flatten().ok_or(error)
    }

    /// Backups do not rely on that pack any more. It only costs the healing if this cannot be noted.
    fn distrust(&self, pack: &PackId, error: &VaultError) {
        tracing::warn!(%pack, %error, "a pack is damaged");
        if let Err(error) = self.index.distrust(&[(*pack, error.to_string())]) {
            tracing::warn!(%pack, %error, "it cannot be noted that a pack is damaged");
        }
    }

    /// A chunk from its best place: the chunk, the place, and the opened frame.
    async fn read_place(&self, kind: ChunkKind, id: &ChunkId) -> Result<(Bytes, ChunkPlace, Bytes), VaultError> {
        let place = self
            .index
            .best_places(std::slice::from_ref(id))?
            .into_iter()
            .next()
            .flatten();
        let place = place.ok_or(VaultError::UnknownChunk(*id))?;
        let pack = self.pack(place.pack)?;
        if pack.kind != kind || place.frame as usize >= pack.frames.len() {
            return Err(VaultError::UnknownChunk(*id));
        }
        let raw = self.open_frame(&pack, place.frame).await?;
        Ok((self.verified(kind, id, place, &pack.id, &raw)?, place, raw))
    }

    pub(crate) fn pack(&self, number: u32) -> Result<Arc<PackInfo>, VaultError> {
        let pack = self.index.pack(number)?.ok_or_else(|| IndexError::Corrupt {
            folder: self.index.folder().to_string_lossy().into_owned(),
            reason: "a chunk is in a pack that is not known".to_owned(),
        })?;
        Ok(pack)
    }

    pub(super) async fn open_frame(&self, pack: &PackInfo, ordinal: u32) -> Result<Bytes, VaultError> {
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

#[cfg(test)]
mod tests;
