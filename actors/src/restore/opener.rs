//! The Opener stage: frames out of ranges. Each is opened, decompressed and its wanted chunks' ids are recomputed, before a
//! byte of it reaches a file. What comes out is paid for frame by frame. A frame that fails costs the files that need it, and no others. There is nothing to share
//! out within a frame, so the stage's own threads do this, one for each of the pool's, which has nothing to do meanwhile.

use lockstone_proto::limits::TAG_LEN;
use lockstone_proto::vault::Codec;
use lockstone_vault::buffers::Pooled;
use lockstone_vault::pack::PackSeal;
use lockstone_vault::pack::frame::Decompressor;

use super::Context;
use super::messages::{FramePlan, RangeFetched, WriteTask};
use crate::flow::{Receiver, Sender, Stop, fault_point};

pub(super) struct Opener {
    pub(super) context: Context,
    pub(super) inbox: Receiver<RangeFetched>,
    pub(super) writer: Sender<WriteTask>,
}

impl Opener {
    pub(super) fn run(self) -> Result<(), Stop> {
        let mut decompressor = Decompressor::new()?;
        let mut payload = Vec::new();
        while let Some(range) = self.inbox.recv()? {
            fault_point("opener")?;
            self.open(range, &mut decompressor, &mut payload)?;
        }
        self.writer.finish();
        Ok(())
    }

    fn open(&self, fetched: RangeFetched, decompressor: &mut Decompressor, payload: &mut Vec<u8>) -> Result<(), Stop> {
        let RangeFetched { plan, bytes, permit } = fetched;
        let Context {
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
            let opened = open_frame(&seal, &frame, sealed, decompressor, payload, raw);
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
                    Err("a chunk is not what its id says".to_owned())
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
                    self.context.fail_wanted(frame.wanted, &message)?;
                }
            }
        }
        drop((bytes, permit));
        Ok(())
    }
}

/// Opens and decompresses a frame into a buffer of the pool; `payload` is scratch.
fn open_frame(
    seal: &PackSeal,
    frame: &FramePlan,
    sealed: &[u8],
    decompressor: &mut Decompressor,
    payload: &mut Vec<u8>,
    mut raw: Pooled,
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
        if payload.len() < payload_len {
            payload.resize(payload_len, 0);
        }
        let payload = &mut payload[..payload_len];
        seal.open_frame_into(at, sealed, payload)
            .map_err(|error| error.to_string())?;
        decompressor
            .decompress_into(codec, payload, raw.spare(wanted))
            .map_err(|error| error.to_string())?;
    }
    raw.filled(wanted);
    Ok(raw)
}
