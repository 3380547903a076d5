//! The Opener stage takes frames out of ranges. It opens a frame, decompresses it, and computes the ids of its wanted
//! chunks again before a byte of it reaches a file. The bytes that come out are paid for frame by frame. A frame that
//! fails is read again, or its chunks come from other packs. Otherwise it only affects the files that need it.
//!
//! The work within a frame can't be shared out. So the stage's own threads do it, as many as the pool has; the pool has
//! nothing to do meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::TAG_LEN;
use lockstone_proto::vault::Codec;
use lockstone_vault::buffers::Pooled;
use lockstone_vault::index::PackInfo;
use lockstone_vault::pack::PackSeal;
use lockstone_vault::pack::frame::Decompressor;

use super::job::RestoreContext;
use super::messages::{FramePlan, RangeFetched, WriteTask};
use super::writer::fail_wanted;
use crate::flow::{Body, Fault, Permit, Receiver, Sender, Stop, fault_point};

pub(super) struct Opener {
    context: RestoreContext,
    inbox: Receiver<RangeFetched>,
    writer: Sender<WriteTask>,
}

/// A thread's reusable memory.
struct Scratch {
    decompressor: Decompressor,
    payload: Vec<u8>,
}

impl Body for Opener {
    fn run(self) -> Result<(), Stop> {
        let mut scratch = Scratch {
            decompressor: Decompressor::new()?,
            payload: Vec::new(),
        };
        while let Some(range) = self.inbox.recv()? {
            fault_point("opener")?;
            self.open(range, &mut scratch)?;
        }
        self.writer.finish();
        Ok(())
    }
}

impl Opener {
    pub(super) fn new(context: &RestoreContext, inbox: Receiver<RangeFetched>, writer: Sender<WriteTask>) -> Self {
        Self {
            context: context.clone(),
            inbox,
            writer,
        }
    }

    fn open(&self, fetched: RangeFetched, scratch: &mut Scratch) -> Result<(), Stop> {
        let RangeFetched {
            plan,
            bytes,
            failure,
            permit,
        } = fetched;
        let RestoreContext {
            job,
            raw_budget,
            cancel,
            ..
        } = &self.context;
        let keys = job.domain.keys();
        let seal = PackSeal::for_id(keys, plan.pack.id, plan.pack.kind);
        for frame in plan.frames {
            let start = usize::try_from(frame.place.offset - plan.range.start).unwrap_or(usize::MAX);
            let sealed = bytes
                .get(start..start.saturating_add(frame.place.sealed_len as usize))
                .unwrap_or_default();
            let raw_permit = raw_budget.take(u64::from(frame.place.raw_len), cancel)?;
            let raw = job.pool.take(frame.place.raw_len as usize);
            let opened = match &failure {
                None => open_frame(&seal, &frame, sealed, raw, scratch),
                Some(failure) => Err(failure.clone()),
            };
            let raw = opened.and_then(|raw| {
                let chunks: Option<Vec<&[u8]>> = frame
                    .wanted
                    .iter()
                    .map(|wanted| raw.get(wanted.range.clone()))
                    .collect();
                let intact = chunks.is_some_and(|chunks| {
                    let found = keys.chunk_ids(plan.pack.kind, &chunks);
                    found.iter().eq(frame.wanted.iter().map(|wanted| &wanted.id))
                });
                if intact {
                    Ok(raw)
                } else {
                    Err("a chunk does not have the content that its id names".to_owned())
                }
            });
            match raw {
                Ok(raw) => self.writer.send(WriteTask::Chunks {
                    raw,
                    wanted: frame.wanted,
                    permit: raw_permit,
                })?,
                Err(reason) => self.recover(&plan.pack, frame, raw_permit, &reason)?,
            }
        }
        drop((bytes, permit));
        Ok(())
    }

    /// Gets the chunks of a frame that failed: from the same place once more, or from another one. The files that need
    /// a chunk that no place has are lost. `permit` pays for the frame.
    fn recover(&self, pack: &PackInfo, frame: FramePlan, permit: Permit, reason: &str) -> Result<(), Stop> {
        let RestoreContext { job, cancel, .. } = &self.context;
        let (domain, kind) = (Arc::clone(&job.domain), pack.kind);
        let ids: Vec<ChunkId> = frame.wanted.iter().map(|wanted| wanted.id).collect();
        let found = job
            .engine
            .run_spawned(cancel, async move { domain.recover(kind, &ids).await })?;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let fault = Fault::from(error);
                if !fault.costs_one_object() {
                    return Err(fault.into());
                }
                vec![None; frame.wanted.len()]
            }
        };
        let len = found.iter().flatten().map(Bytes::len).sum();
        let mut raw = job.pool.take(len);
        let spare = raw.spare(len);
        let (mut recovered, mut lost, mut end) = (Vec::new(), Vec::new(), 0);
        for (mut wanted, chunk) in frame.wanted.into_iter().zip(found) {
            let Some(chunk) = chunk else {
                lost.push(wanted);
                continue;
            };
            wanted.range = end..end + chunk.len();
            spare[wanted.range.clone()].copy_from_slice(&chunk);
            end += chunk.len();
            recovered.push(wanted);
        }
        raw.filled(len);
        if !lost.is_empty() {
            let message = format!("pack {} is damaged at frame {}: {reason}", pack.id, frame.ordinal);
            fail_wanted(&self.context, lost, &message)?;
        }
        if recovered.is_empty() {
            return Ok(());
        }
        tracing::info!(pack = %pack.id, frame = frame.ordinal, reason, "read again or from another pack");
        self.writer.send(WriteTask::Chunks {
            raw,
            wanted: recovered,
            permit,
        })
    }
}

/// Opens and decompresses a frame into a buffer of the pool.
fn open_frame(
    seal: &PackSeal,
    frame: &FramePlan,
    sealed: &[u8],
    mut raw: Pooled,
    scratch: &mut Scratch,
) -> Result<Pooled, String> {
    let (at, codec) = (frame.place.position(frame.ordinal), frame.place.codec);
    let wanted = frame.place.raw_len as usize;
    let payload_len = sealed.len().saturating_sub(TAG_LEN);
    if codec == Codec::Stored {
        if payload_len != wanted {
            return Err("it is not as long as it should be".to_owned());
        }
        seal.open_frame_into(at, sealed, raw.spare(wanted))
            .map_err(|error| error.to_string())?;
    } else {
        if scratch.payload.len() < payload_len {
            scratch.payload.resize(payload_len, 0);
        }
        let payload = &mut scratch.payload[..payload_len];
        seal.open_frame_into(at, sealed, payload)
            .map_err(|error| error.to_string())?;
        scratch
            .decompressor
            .decompress_into(codec, payload, raw.spare(wanted))
            .map_err(|error| error.to_string())?;
    }
    raw.filled(wanted);
    Ok(raw)
}
