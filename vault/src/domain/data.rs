//! Reading the content of files in order, some chunks at a time. Chunks of one frame are taken from it together, and
//! frames that were read lately are kept, because files that lie side by side share them.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::join_all;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::ChunkKind;

use super::Domain;
use crate::error::VaultError;
use crate::index::ChunkPlace;

/// So many frames are fetched at once. Each needs up to 16 MiB.
const FETCH: usize = 3;
/// Frames of at most this many bytes are kept.
const KEPT_MAX: usize = 12 << 20;

/// The number of a pack, and the position of a frame in it.
type FramePosition = (u32, u32);

/// Frames that were read lately, opened.
#[derive(Default)]
pub struct Frames {
    kept: VecDeque<(FramePosition, Bytes)>,
    bytes: usize,
}

impl Frames {
    fn get(&self, at: FramePosition) -> Option<&Bytes> {
        self.kept.iter().find_map(|(place, raw)| (*place == at).then_some(raw))
    }

    fn keep(&mut self, at: FramePosition, raw: Bytes) {
        self.bytes += raw.len();
        self.kept.push_back((at, raw));
        while self.bytes > KEPT_MAX
            && let Some((_, old)) = self.kept.pop_front()
        {
            self.bytes -= old.len();
        }
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frames({} bytes)", self.bytes)
    }
}

impl Domain {
    /// The verified content of data chunks, in the order of `ids`. `None` for a chunk that is damaged or missing
    /// everywhere. Needs memory for these chunks, and for a few frames.
    pub async fn read_data(&self, ids: &[ChunkId], frames: &mut Frames) -> Result<Vec<Option<Bytes>>, VaultError> {
        let places = self.index.best_places(ids)?;
        let mut found: Vec<Option<Bytes>> = vec![None; ids.len()];
        let mut wanted: Vec<FramePosition> = Vec::new();
        for place in places.iter().flatten() {
            let at = (place.pack, place.frame);
            if !wanted.contains(&at) {
                wanted.push(at);
            }
        }
        for some in wanted.chunks(FETCH) {
            let read = some.iter().map(|at| async {
                match frames.get(*at) {
                    Some(raw) => (*at, Ok(raw.clone())),
                    None => (*at, self.read_frame(*at).await),
                }
            });
            for (at, raw) in join_all(read).await {
                let raw = match raw {
                    Ok(raw) => raw,
                    Err(error) if error.is_damage() => continue,
                    Err(error) => return Err(error),
                };
                for ((id, place), found) in ids.iter().zip(&places).zip(&mut found) {
                    if let Some(place) = place.filter(|place| (place.pack, place.frame) == at) {
                        *found = self.take(id, place, &raw);
                    }
                }
                if frames.get(at).is_none() {
                    frames.keep(at, raw);
                }
            }
        }
        let missing: Vec<usize> = (0..ids.len()).filter(|at| found[*at].is_none()).collect();
        if !missing.is_empty() {
            let lost: Vec<ChunkId> = missing.iter().map(|at| ids[*at]).collect();
            for (at, chunk) in missing.into_iter().zip(self.recover(ChunkKind::Data, &lost).await?) {
                found[at] = chunk;
            }
        }
        Ok(found)
    }

    async fn read_frame(&self, (pack, frame): FramePosition) -> Result<Bytes, VaultError> {
        let pack = self.pack(pack)?;
        if pack.kind != ChunkKind::Data || frame as usize >= pack.frames.len() {
            return Ok(Bytes::new());
        }
        self.open_frame(&pack, frame).await
    }

    /// The chunk, if the opened frame has it at its place. A copy, so that the frame need not stay in memory.
    fn take(&self, id: &ChunkId, place: ChunkPlace, raw: &Bytes) -> Option<Bytes> {
        let start = place.offset as usize;
        let chunk = raw.get(start..start + place.len as usize)?;
        (self.keys.chunk_id(ChunkKind::Data, chunk) == *id).then(|| Bytes::copy_from_slice(chunk))
    }
}
