//! An assembler collects the chunks of one lane into frames, in the order in which the chunks come. A frame is full
//! when it has about 1 MiB of raw bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lockstone_proto::limits::{FRAME_MAX_CHUNKS, FRAME_TARGET};
use lockstone_proto::vault::ChunkKind;

use crate::backup::job::BackupContext;
use crate::backup::messages::{ChunkBatch, FrameChunk, FrameJob};
use crate::flow::{Body, Received, Receiver, Sender, Stop};

/// How often an assembler checks whether a stage waits for the bytes that it holds.
const PRESSURE_EVERY: Duration = Duration::from_millis(20);

/// A frame that chunks are being added to.
#[derive(Default)]
struct OpenFrame {
    chunks: Vec<FrameChunk>,
    raw_len: usize,
}

/// Puts the chunks of one lane into frames.
pub(in crate::backup) struct Assembler {
    context: BackupContext,
    kind: ChunkKind,
    inbox: Receiver<ChunkBatch>,
    workers: Sender<FrameJob>,
}

impl Body for Assembler {
    fn run(self) -> Result<(), Stop> {
        let mut frame = OpenFrame::default();
        // Since when bytes have been waiting to be passed on, in a partly filled frame or in an open pack behind it.
        let mut holding: Option<Instant> = None;
        loop {
            let received = match holding {
                None => self.inbox.recv()?.map_or(Received::End, Received::Item),
                Some(_) => self.inbox.recv_within(PRESSURE_EVERY)?,
            };
            match received {
                Received::Item(batch) => {
                    holding.get_or_insert_with(Instant::now);
                    self.add(batch, &mut frame)?;
                }
                Received::Nothing => {
                    // Packs that are being uploaded will free some of the budget anyway.
                    let idle = self.context.generation.uploading.load(Ordering::SeqCst) == 0;
                    let wanted = idle && self.context.generation.budgets[self.kind].is_wanted();
                    let late = holding.is_some_and(|since| since.elapsed() >= self.context.job.tuning.flush_after);
                    if wanted || late {
                        self.send(&mut frame)?;
                        self.workers.send(FrameJob::Flush(self.kind))?;
                        holding = None;
                    }
                }
                Received::End => break,
            }
        }
        self.send(&mut frame)?;
        self.workers.send(FrameJob::Flush(self.kind))?;
        self.workers.finish();
        Ok(())
    }
}

impl Assembler {
    pub(in crate::backup) fn new(
        context: &BackupContext,
        kind: ChunkKind,
        inbox: Receiver<ChunkBatch>,
        workers: Sender<FrameJob>,
    ) -> Self {
        Self {
            context: context.clone(),
            kind,
            inbox,
            workers,
        }
    }

    /// Adds the chunks of a batch to the frame, and sends each frame that is full.
    fn add(&self, batch: ChunkBatch, frame: &mut OpenFrame) -> Result<(), Stop> {
        for chunk in batch.chunks {
            let len = chunk.range.len();
            // A large chunk is not added to a nearly full frame.
            let overflows = frame.raw_len + len > FRAME_TARGET + FRAME_TARGET / 4;
            if overflows || frame.chunks.len() == FRAME_MAX_CHUNKS {
                self.send(frame)?;
            }
            frame.raw_len += len;
            frame.chunks.push(FrameChunk {
                buffer: Arc::clone(&batch.buffer),
                chunk,
            });
            if frame.raw_len >= FRAME_TARGET {
                self.send(frame)?;
            }
        }
        // At the end of a buffer, a nearly full frame is sent, too. It is compressed without a copy, as its bytes are
        // all in this buffer, and then the buffer is free again.
        if frame.raw_len >= FRAME_TARGET / 4 * 3 {
            self.send(frame)?;
        }
        Ok(())
    }

    /// Sends the frame, unless it is empty, and begins the next one.
    fn send(&self, frame: &mut OpenFrame) -> Result<(), Stop> {
        let OpenFrame { chunks, .. } = std::mem::take(frame);
        if chunks.is_empty() {
            return Ok(());
        }
        self.workers.send(FrameJob::Seal(self.kind, chunks))
    }
}
