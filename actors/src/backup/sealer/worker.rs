//! A worker compresses, seals and checks frames, and puts them into packs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockstone_proto::limits::TAG_LEN;
use lockstone_proto::vault::{ChunkKind, Codec, Frame};
use lockstone_vault::pack::frame::{Compressor, Decompressor};
use lockstone_vault::pack::{FramePosition, PackSeal, verify_frame};

use super::packs::{OpenPack, Packs, SealedFrame};
use crate::backup::job::BackupContext;
use crate::backup::messages::{FrameChunk, FrameJob, SealedPack};
use crate::flow::{Body, Fault, Permit, Receiver, Sender, Stop, fault_point};

/// Compresses, seals and checks frames.
pub(in crate::backup) struct Worker {
    context: BackupContext,
    inbox: Receiver<FrameJob>,
    packs: Arc<Packs>,
    uploader: Sender<SealedPack>,
}

/// A worker's reusable memory.
struct Scratch {
    compressor: Compressor,
    decompressor: Decompressor,
    raw: Vec<u8>,
    opened: Vec<u8>,
    again: Vec<u8>,
}

impl Body for Worker {
    fn run(self) -> Result<(), Stop> {
        let mut scratch = Scratch {
            compressor: Compressor::new(self.context.job.tuning.zstd_level)?,
            decompressor: Decompressor::new()?,
            raw: Vec::new(),
            opened: Vec::new(),
            again: Vec::new(),
        };
        while let Some(job) = self.inbox.recv()? {
            match job {
                FrameJob::Seal(kind, chunks) => {
                    fault_point("sealer")?;
                    self.seal(kind, chunks, &mut scratch)?;
                }
                FrameJob::Flush(kind) => self.close(kind)?,
            }
        }
        // Every frame of this worker is in its pack. So when the last worker gets here, all frames are.
        if self.packs.worker_ended() {
            self.close(ChunkKind::Data)?;
            self.close(ChunkKind::Tree)?;
        }
        self.uploader.finish();
        Ok(())
    }
}

impl Worker {
    pub(in crate::backup) fn new(
        context: &BackupContext,
        inbox: Receiver<FrameJob>,
        packs: &Arc<Packs>,
        uploader: Sender<SealedPack>,
    ) -> Self {
        Self {
            context: context.clone(),
            inbox,
            packs: Arc::clone(packs),
            uploader,
        }
    }

    fn seal(&self, kind: ChunkKind, chunks: Vec<FrameChunk>, scratch: &mut Scratch) -> Result<(), Stop> {
        let engine = &self.context.job.engine;
        let raw = contiguous(&chunks, &mut scratch.raw);
        let (compressor, pool) = (&mut scratch.compressor, &self.context.job.pool);
        let (payload, codec) = engine.compute(|| compressor.compress_here(raw))?;
        let raw_len = u32::try_from(raw.len()).map_err(|_| Fault::integrity("a frame grew beyond its limit"))?;
        let sealed_len = payload.len() + TAG_LEN;
        let mut sealed = pool.take(sealed_len);
        let frame = Frame {
            sealed_len: u32::try_from(sealed_len).map_err(|_| Fault::integrity("a frame grew beyond its limit"))?,
            raw_len,
            codec: codec.into(),
            chunk_ids: chunks.iter().flat_map(|chunk| *chunk.chunk.id.as_bytes()).collect(),
            chunk_lens: chunks
                .iter()
                .map(|chunk| u32::try_from(chunk.chunk.range.len()).unwrap_or(u32::MAX))
                .collect(),
        };
        let (pack, ordinal) = self.place(kind, sealed_len, chunks.len())?;
        let at = FramePosition {
            ordinal,
            raw_len,
            codec,
        };
        let keys = self.context.job.domain.keys();
        let (decompressor, opened, again) = (&mut scratch.decompressor, &mut scratch.opened, &mut scratch.again);
        let (seal, described) = (&pack.seal, &frame);
        engine
            .compute(|| -> Result<(), Fault> {
                seal.seal_frame_into(at, payload, sealed.spare(sealed_len))?;
                sealed.filled(sealed_len);
                let opened = room(opened, payload.len());
                seal.open_frame_into(at, &sealed, opened)?;
                let again = match codec {
                    Codec::Stored => opened,
                    Codec::Zstd => {
                        let again = room(again, raw.len());
                        decompressor.decompress_into(codec, opened, again)?;
                        again
                    }
                };
                verify_frame(keys, kind, again, described)?;
                Ok(())
            })
            .map_err(|error| {
                Fault::integrity(format!("a frame could not be read back after it was sealed: {error}")).hint(
                    "nothing of it was uploaded; memory or processor of this machine may be failing, so test them",
                )
            })?;
        // The raw bytes are released here. From now on only the sealed frame is paid for.
        let permit = self.repay(kind, chunks, sealed_len as u64)?;
        let sealed = SealedFrame {
            frame,
            bytes: sealed,
            permit,
        };
        if pack.put(ordinal, sealed) {
            self.emit(&pack)?;
        }
        Ok(())
    }

    /// A permit for the sealed bytes. It is cut from the permits of the raw bytes if this frame is the last to use
    /// them.
    fn repay(&self, kind: ChunkKind, chunks: Vec<FrameChunk>, sealed_len: u64) -> Result<Permit, Stop> {
        let budget = &self.context.generation.budgets[kind];
        let mut permit = budget.none();
        for chunk in chunks {
            if let Some(buffer) = Arc::into_inner(chunk.buffer) {
                permit.join(buffer.into_permit());
            }
        }
        permit.shrink_to(sealed_len);
        if permit.bytes() < sealed_len {
            // Other frames still use the buffers. The sealed bytes exist already, so they are counted without waiting:
            // a wait here could be for the very bytes that this worker has to pass on.
            permit.join(budget.overdraw(sealed_len - permit.bytes()));
        }
        Ok(permit)
    }

    /// The pack and the ordinal for a frame of `sealed_len` bytes and `chunks` chunks.
    fn place(&self, kind: ChunkKind, sealed_len: usize, chunks: usize) -> Result<(Arc<OpenPack>, u32), Stop> {
        let target = self.context.generation.pack_targets[kind];
        let mut open = self.packs.open[kind].lock();
        let filled = open.take_if(|pack| pack.is_full_for(sealed_len, chunks, target));
        let pack = match open.as_ref() {
            Some(pack) => Arc::clone(pack),
            None => {
                let seal = PackSeal::create(self.context.job.domain.keys(), kind)?;
                Arc::clone(open.insert(Arc::new(OpenPack::new(seal))))
            }
        };
        let ordinal = pack.reserve(sealed_len, chunks);
        drop(open);
        if let Some(filled) = filled {
            self.close_pack(&filled)?;
        }
        Ok((pack, ordinal))
    }

    fn close(&self, kind: ChunkKind) -> Result<(), Stop> {
        self.packs.take(kind).map_or(Ok(()), |pack| self.close_pack(&pack))
    }

    /// No more frames come. The worker that finishes the last one sends the pack, or this one if all are there.
    fn close_pack(&self, pack: &OpenPack) -> Result<(), Stop> {
        if pack.close() { self.emit(pack) } else { Ok(()) }
    }

    fn emit(&self, pack: &OpenPack) -> Result<(), Stop> {
        let sealed = pack.seal_pack()?;
        self.context.generation.uploading.fetch_add(1, Ordering::SeqCst);
        self.uploader.send(sealed)
    }
}

/// The first `len` bytes of scratch memory, with any content.
fn room(scratch: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if scratch.len() < len {
        scratch.resize(len, 0);
    }
    &mut scratch[..len]
}

/// The chunks as one slice: borrowed if they are side by side in one buffer, else copied together.
fn contiguous<'a>(chunks: &'a [FrameChunk], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let adjacent = chunks.windows(2).all(|pair| {
        Arc::ptr_eq(&pair[0].buffer, &pair[1].buffer) && pair[0].chunk.range.end == pair[1].chunk.range.start
    });
    if let (true, Some(first), Some(last)) = (adjacent, chunks.first(), chunks.last()) {
        return &first.buffer.bytes[first.chunk.range.start..last.chunk.range.end];
    }
    scratch.clear();
    for chunk in chunks {
        scratch.extend_from_slice(&chunk.buffer.bytes[chunk.chunk.range.clone()]);
    }
    scratch
}
