//! Moves the chunks that are needed out of packs that are mostly dead. Everything that is moved is verified first. A
//! pack in which anything is damaged stays where it is, and backups do not rely on it any more.

use std::ops::Range;

use futures::StreamExt;
use lockstone_proto::limits::FRAME_TARGET;
use lockstone_proto::vault::{Codec, Frame, PackDirectory};

use super::builder::{Builder, chunks_of};
use super::marks::PackMarks;
use crate::damage::DamageKind;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::index::PackInfo;
use crate::pack::frame::Decompressor;
use crate::pack::{PackSeal, verify_frame};
use crate::store::names;

/// Neighbouring frames are fetched together, up to this many bytes.
const FETCH: u64 = 4 << 20;
/// So many fetches run ahead.
const AHEAD: usize = 2;

/// Adds the needed chunks of a pack to new packs. An error that is damage concerns this pack alone.
pub(super) async fn move_pack(
    domain: &Domain,
    pack: &PackInfo,
    marks: &PackMarks,
    builder: &mut Builder<'_>,
) -> Result<(), VaultError> {
    let directory = domain.read_directory(pack).await?;
    let name = names::pack(domain.id(), &pack.id);
    let damaged = |why: &dyn std::fmt::Display| VaultError::damaged(DamageKind::Pack, name.as_str(), why);
    let seal = PackSeal::for_id(domain.keys(), pack.id, pack.kind);
    let mut decompressor = Decompressor::new().map_err(|why| damaged(&why))?;
    let wanted = runs(pack, &directory, marks);
    let fetches = wanted.iter().map(|run| {
        let (first, last) = (&pack.frames[run.start], &pack.frames[run.end - 1]);
        let range = first.offset..last.offset + u64::from(last.sealed_len);
        let name = &name;
        async move { domain.store().get_range(name, range).await }
    });
    let mut fetches = futures::stream::iter(fetches).buffered(AHEAD);
    for run in wanted.clone() {
        let fetched = match fetches.next().await {
            Some(Ok(fetched)) => fetched,
            Some(Err(error)) if error.is_object_fault() => return Err(damaged(&error)),
            Some(Err(error)) => return Err(error.into()),
            None => break,
        };
        let mut rest = Vec::from(fetched);
        let mut rest = rest.as_mut_slice();
        for at in run {
            let (place, frame) = (&pack.frames[at], &directory.frames[at]);
            let (sealed, behind) = rest
                .split_at_mut_checked(place.sealed_len as usize)
                .ok_or_else(|| damaged(&"it is too short"))?;
            rest = behind;
            if !is_needed(marks, at, frame) {
                continue;
            }
            let payload = seal
                .open_frame_slice(place.position(at as u32), sealed)
                .map_err(|why| damaged(&why))?;
            let mut raw = Vec::new();
            decompressor
                .decompress(place.codec, payload, place.raw_len as usize, &mut raw)
                .map_err(|why| damaged(&why))?;
            verify_frame(domain.keys(), pack.kind, &raw, frame).map_err(|why| damaged(&why))?;
            move_frame(at, frame, payload, &raw, marks, builder).await?;
        }
    }
    Ok(())
}

/// Moves a frame as it is, if all of it is needed and it is no small one; otherwise the chunks that are needed.
async fn move_frame(
    at: usize,
    frame: &Frame,
    payload: &[u8],
    raw: &[u8],
    marks: &PackMarks,
    builder: &mut Builder<'_>,
) -> Result<(), VaultError> {
    let has = |ordinal: usize| marks.has(at as u32, ordinal as u32);
    if raw.len() >= FRAME_TARGET / 2 && (0..frame.chunk_lens.len()).all(has) {
        return builder.add_frame(frame, payload, raw).await;
    }
    for (ordinal, (id, chunk)) in chunks_of(frame, raw).enumerate() {
        if has(ordinal) {
            builder.add_chunk(id, chunk).await?;
        }
    }
    Ok(())
}

fn is_needed(marks: &PackMarks, at: usize, frame: &Frame) -> bool {
    (0..frame.chunk_lens.len()).any(|ordinal| marks.has(at as u32, ordinal as u32))
}

/// The frames to fetch together, as ranges of their ordinals. Each begins and ends with a frame that is needed.
fn runs(pack: &PackInfo, directory: &PackDirectory, marks: &PackMarks) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, frame) in directory.frames.iter().enumerate() {
        if !is_needed(marks, at, frame) {
            continue;
        }
        let end = pack.frames[at].offset + u64::from(pack.frames[at].sealed_len);
        match runs.last_mut() {
            // A gap of one small frame is read over.
            Some(run) if run.end + 1 >= at && end - pack.frames[run.start].offset <= FETCH => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

impl Domain {
    /// The directory in a pack itself, if it is the one that the index has of it. Damage if it is not.
    pub(crate) async fn read_directory(&self, pack: &PackInfo) -> Result<PackDirectory, VaultError> {
        let name = names::pack(self.id(), &pack.id);
        let damaged = |why: &dyn std::fmt::Display| VaultError::damaged(DamageKind::Pack, name.as_str(), why);
        let frames_end = pack
            .frames
            .last()
            .map_or(0, |last| last.offset + u64::from(last.sealed_len));
        let end = pack.len.saturating_sub(crate::pack::LENGTH_LEN as u64).max(frames_end);
        let sealed = match self.store().get_range(&name, frames_end..end).await {
            Ok(sealed) => sealed,
            Err(error) if error.is_object_fault() => return Err(damaged(&error)),
            Err(error) => return Err(error.into()),
        };
        let directory = PackSeal::for_id(self.keys(), pack.id, pack.kind)
            .open_directory(&sealed, frames_end)
            .map_err(|why| damaged(&why))?;
        let is_same = directory.frames.len() == pack.frames.len()
            && directory.frames.iter().zip(&pack.frames).all(|(own, known)| {
                let codec = Codec::try_from(own.codec).ok();
                own.sealed_len == known.sealed_len
                    && own.raw_len == known.raw_len
                    && codec == Some(known.codec)
                    && own.chunk_lens.len() == known.chunks as usize
            });
        if is_same {
            Ok(directory)
        } else {
            Err(damaged(&"its directory is not the one its segment has"))
        }
    }
}
