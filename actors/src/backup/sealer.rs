//! The Sealer stage: chunks into frames, frames into packs.
//!
//! An *assembler* for each lane lays chunks side by side, in the order they come, until a frame holds about 1 MiB raw.
//! *Workers* take the frames: on the pool they compress, then seal, and then open what they sealed, decompress it and
//! recompute every chunk id (verify before upload). Between compressing and sealing a frame gets its place: its pack and
//! its ordinal, which is its nonce. Frames of a pack may be finished in any order; the pack goes to the Uploader when
//! it is closed and its last frame is there.
//!
//! A timer passes on what is only partly filled (flow rule 5), and so does a budget that somebody waits for: bytes that
//! lie in a half-filled frame or pack never keep the reader from reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lockstone_proto::limits::{FRAME_MAX_CHUNKS, FRAME_TARGET, PACK_MAX_CHUNKS, PACK_MAX_FRAMES, TAG_LEN};
use lockstone_proto::vault::{ChunkKind, Codec, Frame, PackDirectory};
use lockstone_vault::buffers::Pooled;
use lockstone_vault::pack::frame::{Compressor, Decompressor};
use lockstone_vault::pack::{FramePosition, HEADER_LEN, PackSeal, verify_frame};
use parking_lot::Mutex;

use super::Context;
use super::messages::{ChunkBatch, FrameChunk, FrameJob, SealedPack};
use crate::flow::{Fault, Permit, Received, Receiver, Sender, Stop, fault_point};

/// How often a lane looks whether somebody waits for the bytes it holds.
const PRESSURE_EVERY: Duration = Duration::from_millis(20);

/// Lays the chunks of one lane side by side.
pub(super) struct Assembler {
    pub(super) context: Context,
    pub(super) kind: ChunkKind,
    pub(super) inbox: Receiver<ChunkBatch>,
    pub(super) frames: Sender<FrameJob>,
}

impl Assembler {
    pub(super) fn run(self) -> Result<(), Stop> {
        let mut frame: Vec<FrameChunk> = Vec::new();
        let mut raw_len = 0;
        // Since when something has been waiting to be passed on: a partly filled frame, or an open pack behind it.
        let mut holding: Option<Instant> = None;
        loop {
            let received = match holding {
                None => self.inbox.recv()?.map_or(Received::End, Received::Item),
                Some(_) => self.inbox.recv_within(PRESSURE_EVERY)?,
            };
            match received {
                Received::Item(batch) => {
                    holding.get_or_insert_with(Instant::now);
                    for chunk in batch.chunks {
                        let len = chunk.range.len();
                        // A large chunk is not laid behind a nearly full frame.
                        let overflows = raw_len + len > FRAME_TARGET + FRAME_TARGET / 4;
                        if !frame.is_empty() && (overflows || frame.len() == FRAME_MAX_CHUNKS) {
                            self.send(&mut frame)?;
                            raw_len = 0;
                        }
                        raw_len += len;
                        frame.push(FrameChunk {
                            buffer: Arc::clone(&batch.buffer),
                            chunk,
                        });
                        if raw_len >= FRAME_TARGET {
                            self.send(&mut frame)?;
                            raw_len = 0;
                        }
                    }
                    // Nearly full will do where a buffer ends: the frame is then compressed where its bytes lie, and
                    // the buffer is free again.
                    if raw_len >= FRAME_TARGET / 4 * 3 {
                        self.send(&mut frame)?;
                        raw_len = 0;
                    }
                }
                Received::Nothing => {
                    // Packs on their way free the budget by themselves.
                    let idle = self.context.generation.uploading.load(Ordering::SeqCst) == 0;
                    let wanted = idle && self.context.generation.budget(self.kind).is_wanted();
                    let late = holding.is_some_and(|since| since.elapsed() >= self.context.job.tuning.flush_after);
                    if wanted || late {
                        self.send(&mut frame)?;
                        raw_len = 0;
                        self.frames.send(FrameJob::Flush(self.kind))?;
                        holding = None;
                    }
                }
                Received::End => break,
            }
        }
        self.send(&mut frame)?;
        self.frames.send(FrameJob::Flush(self.kind))?;
        self.frames.finish();
        Ok(())
    }

    fn send(&self, frame: &mut Vec<FrameChunk>) -> Result<(), Stop> {
        if frame.is_empty() {
            return Ok(());
        }
        self.frames.send(FrameJob::Seal(self.kind, std::mem::take(frame)))
    }
}

/// The packs being filled; shared by the workers.
pub(super) struct Packs {
    data: Mutex<Option<Arc<OpenPack>>>,
    tree: Mutex<Option<Arc<OpenPack>>>,
    /// Workers that have not ended; the last one out closes what is open.
    workers: AtomicUsize,
}

impl Packs {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            data: Mutex::new(None),
            tree: Mutex::new(None),
            workers: AtomicUsize::new(workers),
        }
    }

    fn lane(&self, kind: ChunkKind) -> &Mutex<Option<Arc<OpenPack>>> {
        if kind == ChunkKind::Data {
            &self.data
        } else {
            &self.tree
        }
    }
}

/// A pack that frames are being put into.
struct OpenPack {
    seal: PackSeal,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// By ordinal; `None` while the frame is being sealed.
    frames: Vec<Option<SealedFrame>>,
    missing: usize,
    chunks: usize,
    sealed_len: usize,
    closed: bool,
}

impl Contents {
    /// Whether a frame of `sealed_len` bytes and `chunks` chunks belongs in the next pack.
    fn is_full_for(&self, sealed_len: usize, chunks: usize, target: usize) -> bool {
        !self.frames.is_empty()
            && (HEADER_LEN + self.sealed_len + sealed_len > target
                || self.chunks + chunks > PACK_MAX_CHUNKS
                || self.frames.len() == PACK_MAX_FRAMES)
    }
}

struct SealedFrame {
    frame: Frame,
    bytes: Pooled,
    permit: Permit,
}

/// Compresses, seals and checks frames.
pub(super) struct Worker {
    pub(super) context: Context,
    pub(super) inbox: Receiver<FrameJob>,
    pub(super) packs: Arc<Packs>,
    pub(super) uploader: Sender<SealedPack>,
}

/// A worker's reusable memory.
struct Scratch {
    compressor: Compressor,
    decompressor: Decompressor,
    raw: Vec<u8>,
    opened: Vec<u8>,
    again: Vec<u8>,
}

impl Worker {
    pub(super) fn run(self) -> Result<(), Stop> {
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
        // Every frame of this worker is in its pack; the last worker to get here knows that all are.
        if self.packs.workers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.close(ChunkKind::Data)?;
            self.close(ChunkKind::Tree)?;
        }
        self.uploader.finish();
        Ok(())
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
                Fault::integrity(format!("a frame could not be read back after it was sealed: {error}"))
                    .hint("test the memory and the processor of this machine: they may be failing; nothing of the frame was uploaded")
            })?;
        // The raw bytes are let go here; what stays paid for is the sealed frame.
        let permit = self.repay(kind, chunks, sealed_len as u64)?;
        let whole = {
            let mut contents = pack.contents.lock();
            if let Some(slot) = contents.frames.get_mut(ordinal as usize) {
                *slot = Some(SealedFrame {
                    frame,
                    bytes: sealed,
                    permit,
                });
            }
            contents.missing -= 1;
            contents.closed && contents.missing == 0
        };
        if whole { self.emit(&pack) } else { Ok(()) }
    }

    /// A permit for the sealed bytes, cut from those of the raw ones where this frame is the last to use them.
    fn repay(&self, kind: ChunkKind, chunks: Vec<FrameChunk>, sealed_len: u64) -> Result<Permit, Stop> {
        let budget = self.context.generation.budget(kind);
        let mut permit = budget.none();
        for chunk in chunks {
            if let Some(buffer) = Arc::into_inner(chunk.buffer) {
                permit.join(buffer.into_permit());
            }
        }
        permit.shrink_to(sealed_len);
        if permit.bytes() < sealed_len {
            // Other frames still hold the buffers. The sealed bytes exist already: they are counted without waiting,
            // for a wait here could be for the very bytes that this worker has to pass on.
            permit.join(budget.overdraw(sealed_len - permit.bytes()));
        }
        Ok(permit)
    }

    /// The pack and the ordinal for a frame of `sealed_len` bytes and `chunks` chunks.
    fn place(&self, kind: ChunkKind, sealed_len: usize, chunks: usize) -> Result<(Arc<OpenPack>, u32), Stop> {
        let target = self.context.pack_target(kind);
        let mut filled = None;
        let mut open = self.packs.lane(kind).lock();
        if let Some(pack) = open.as_ref() {
            let full = pack.contents.lock().is_full_for(sealed_len, chunks, target);
            if full {
                filled = open.take();
            }
        }
        let pack = match open.as_ref() {
            Some(pack) => Arc::clone(pack),
            None => {
                let seal = PackSeal::create(self.context.job.domain.keys(), kind)?;
                let pack = Arc::new(OpenPack {
                    seal,
                    contents: Mutex::default(),
                });
                *open = Some(Arc::clone(&pack));
                pack
            }
        };
        let ordinal = {
            let mut contents = pack.contents.lock();
            contents.frames.push(None);
            contents.missing += 1;
            contents.chunks += chunks;
            contents.sealed_len += sealed_len;
            contents.frames.len() - 1
        };
        drop(open);
        if let Some(filled) = filled {
            self.close_pack(&filled)?;
        }
        Ok((pack, u32::try_from(ordinal).unwrap_or(u32::MAX)))
    }

    fn close(&self, kind: ChunkKind) -> Result<(), Stop> {
        let open = self.packs.lane(kind).lock().take();
        open.map_or(Ok(()), |pack| self.close_pack(&pack))
    }

    /// No more frames come; whoever finishes the last one sends the pack.
    fn close_pack(&self, pack: &OpenPack) -> Result<(), Stop> {
        let whole = {
            let mut contents = pack.contents.lock();
            contents.closed = true;
            contents.missing == 0
        };
        if whole { self.emit(pack) } else { Ok(()) }
    }

    fn emit(&self, pack: &OpenPack) -> Result<(), Stop> {
        let frames = std::mem::take(&mut pack.contents.lock().frames);
        let header = pack.seal.header();
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
        let tail = pack.seal.seal_directory(&directory, len)?;
        len += tail.len() as u64;
        pieces.push(Bytes::from(tail));
        let entry = pack.seal.entry(directory, len);
        self.context.generation.uploading.fetch_add(1, Ordering::SeqCst);
        self.uploader.send(SealedPack {
            entry,
            pieces,
            raw_len,
            permits,
        })
    }
}

/// The first `len` bytes of scratch memory, whatever is in them.
fn room(scratch: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if scratch.len() < len {
        scratch.resize(len, 0);
    }
    &mut scratch[..len]
}

/// The chunks as one slice: borrowed where they lie side by side in one buffer, copied together where not.
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
