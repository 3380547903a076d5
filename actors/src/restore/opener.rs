//! The Opener stage takes frames out of ranges. It opens a frame, decompresses it, and computes the ids of its wanted
//! chunks again before a byte of it reaches a file. The bytes that come out are paid for frame by frame. A frame that
//! fails only affects the files that need it.
//!
//! The work within a frame can't be shared out. So the stage's own threads do it, as many as the pool has; the pool has
//! nothing to do meanwhile.

use lockstone_proto::limits::TAG_LEN;
use lockstone_proto::vault::Codec;
use lockstone_vault::buffers::Pooled;
use lockstone_vault::pack::PackSeal;
use lockstone_vault::pack::frame::Decompressor;

use super::job::RestoreContext;
use super::messages::{FramePlan, RangeFetched, WriteTask};
use super::writer::fail_wanted;
use crate::flow::{Body, Receiver, Sender, Stop, fault_point};

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
        let RangeFetched { plan, bytes, permit } = fetched;
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
            let opened = open_frame(&seal, &frame, sealed, raw, scratch);
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
                Err(reason) => {
                    let message = format!("pack {} is damaged at frame {}: {reason}", plan.pack.id, frame.ordinal);
                    fail_wanted(&self.context, frame.wanted, &message)?;
                }
            }
        }
        drop((bytes, permit));
        Ok(())
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
