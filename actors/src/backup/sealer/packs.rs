//! Packs that are being filled. A frame gets its place (its pack and its ordinal) before it is sealed, so frames of one
//! pack can be finished in any order. A pack is whole when it is closed and its last frame is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lockstone_proto::limits::{PACK_MAX_CHUNKS, PACK_MAX_FRAMES};
use lockstone_proto::vault::{ChunkKind, Frame, PackDirectory};
use lockstone_vault::buffers::Pooled;
use lockstone_vault::pack::{HEADER_LEN, PackBroken, PackSeal};
use parking_lot::Mutex;

use crate::backup::lane::PerLane;
use crate::backup::messages::SealedPack;
use crate::flow::Permit;

/// The open pack of each lane, shared by the workers.
pub(in crate::backup) struct Packs {
    pub(super) open: PerLane<Mutex<Option<Arc<OpenPack>>>>,
    /// Workers that have not ended.
    workers: AtomicUsize,
}

impl Packs {
    /// No open packs, and so many workers that will use them.
    pub(in crate::backup) fn new(workers: usize) -> Self {
        Self {
            open: PerLane::default(),
            workers: AtomicUsize::new(workers),
        }
    }

    /// The open pack of a lane, which no frame can join any more.
    pub(super) fn take(&self, kind: ChunkKind) -> Option<Arc<OpenPack>> {
        self.open[kind].lock().take()
    }

    /// A worker has ended. True for the last one, which has to close what is open.
    pub(super) fn worker_ended(&self) -> bool {
        self.workers.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// A pack that frames are being put into.
pub(super) struct OpenPack {
    pub(super) seal: PackSeal,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// By ordinal. `None` while the frame is being sealed.
    frames: Vec<Option<SealedFrame>>,
    /// How many of them are `None`.
    missing: usize,
    chunks: usize,
    sealed_len: usize,
    closed: bool,
}

impl Contents {
    /// Whether no more frames come, and all are there.
    fn is_whole(&self) -> bool {
        self.closed && self.missing == 0
    }
}

/// A sealed frame, and what pays for its bytes.
pub(super) struct SealedFrame {
    pub(super) frame: Frame,
    pub(super) bytes: Pooled,
    pub(super) permit: Permit,
}

impl OpenPack {
    pub(super) fn new(seal: PackSeal) -> Self {
        Self {
            seal,
            contents: Mutex::default(),
        }
    }

    /// Whether a frame of `sealed_len` bytes and `chunks` chunks has to go into the next pack, as this one would grow
    /// beyond `target` bytes or another limit.
    pub(super) fn is_full_for(&self, sealed_len: usize, chunks: usize, target: usize) -> bool {
        let contents = self.contents.lock();
        !contents.frames.is_empty()
            && (HEADER_LEN + contents.sealed_len + sealed_len > target
                || contents.chunks + chunks > PACK_MAX_CHUNKS
                || contents.frames.len() == PACK_MAX_FRAMES)
    }

    /// Reserves the place of a frame; returns its ordinal.
    pub(super) fn reserve(&self, sealed_len: usize, chunks: usize) -> u32 {
        let mut contents = self.contents.lock();
        contents.frames.push(None);
        contents.missing += 1;
        contents.chunks += chunks;
        contents.sealed_len += sealed_len;
        u32::try_from(contents.frames.len() - 1).unwrap_or(u32::MAX)
    }

    /// Puts a frame into its place. True if the pack is whole now.
    pub(super) fn put(&self, ordinal: u32, frame: SealedFrame) -> bool {
        let mut contents = self.contents.lock();
        if let Some(place) = contents.frames.get_mut(ordinal as usize) {
            *place = Some(frame);
        }
        contents.missing -= 1;
        contents.is_whole()
    }

    /// Says that no more frames come. True if the pack is whole now.
    pub(super) fn close(&self) -> bool {
        let mut contents = self.contents.lock();
        contents.closed = true;
        contents.is_whole()
    }

    /// The whole pack as an object: header, frames, sealed directory. Takes the frames out.
    pub(super) fn seal_pack(&self) -> Result<SealedPack, PackBroken> {
        let frames = std::mem::take(&mut self.contents.lock().frames);
        let header = self.seal.header();
        let mut pieces = Vec::with_capacity(frames.len() + 2);
        let mut directory = PackDirectory {
            frames: Vec::with_capacity(frames.len()),
        };
        let mut permits = Vec::with_capacity(frames.len());
        let (mut len, mut raw_len) = (header.len() as u64, 0);
        pieces.push(Bytes::copy_from_slice(&header));
        for sealed in frames.into_iter().flatten() {
            len += sealed.bytes.len() as u64;
            raw_len += u64::from(sealed.frame.raw_len);
            pieces.push(Bytes::from_owner(sealed.bytes));
            directory.frames.push(sealed.frame);
            permits.push(sealed.permit);
        }
        let tail = self.seal.seal_directory(&directory, len)?;
        len += tail.len() as u64;
        pieces.push(Bytes::from(tail));
        Ok(SealedPack {
            entry: self.seal.entry(directory, len),
            pieces,
            raw_len,
            permits,
        })
    }
}
