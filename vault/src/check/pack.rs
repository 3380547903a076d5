//! Checking the content of one pack: header, directory, every frame, every chunk. It needs only the keys and the store,
//! so many packs can be checked at the same time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::PackId;
use lockstone_proto::vault::{ChunkKind, Frame, PackDirectory};

use crate::crypto::keys::Keys;
use crate::error::VaultError;
use crate::pack::frame::Decompressor;
use crate::pack::{FramePosition, HEADER_LEN, PackSeal, read_directory_len, verify_frame};
use crate::store::{Store, StoreError, names};

/// Neighbouring frames are fetched together, up to this many bytes.
const FETCH: u64 = 4 << 20;
/// The most problems that one reason lists.
const REASONS: usize = 3;

/// A pack to check.
#[derive(Debug, Clone)]
pub struct PackJob {
    /// Its number in the index.
    pub number: u32,
    /// Its id.
    pub id: PackId,
    /// What it holds.
    pub kind: ChunkKind,
    /// How long it should be, bytes.
    pub len: u64,
    /// Its directory in a segment; `None` if the directory in the pack has to be used.
    pub directory: Option<PackDirectory>,
}

/// What a damaged pack has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Nothing that a point needs: header, directory or length are wrong, but the frames open.
    Nothing,
    /// The frames with these ordinals, ascending.
    Frames(Vec<u32>),
    /// Everything.
    All,
    /// Not known yet: the pack was not read.
    Unknown,
}

impl Lost {
    /// Whether a chunk in that frame is lost.
    pub(super) fn has(&self, frame: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Frames(frames) => frames.binary_search(&frame).is_ok(),
            Self::All | Self::Unknown => true,
        }
    }
}

/// The result of checking a pack.
#[derive(Debug)]
pub struct PackOutcome {
    /// Its number in the index.
    pub number: u32,
    /// Its id.
    pub id: PackId,
    /// Bytes read.
    pub bytes_read: u64,
    /// What is wrong with it, if anything.
    pub damage: Option<String>,
    /// What is lost.
    pub lost: Lost,
    /// Its directory, if it is damaged and has one.
    pub directory: Option<PackDirectory>,
    /// Why the pack could not be checked. Then nothing is known about it.
    pub error: Option<VaultError>,
}

/// Reads a pack and opens all of it. Takes at most about 16 MiB of memory. It also opens and hashes the bytes, which
/// blocks the calling task.
pub async fn check_pack(keys: Arc<Keys>, store: Store, job: PackJob) -> PackOutcome {
    let (number, id) = (job.number, job.id);
    let mut look = Look {
        name: names::pack(keys.domain(), &id),
        seal: PackSeal::for_id(&keys, id, job.kind),
        keys,
        store,
        job,
        bytes_read: 0,
        problems: Vec::new(),
        lost: Lost::Nothing,
        directory: None,
    };
    let error = look.all().await.err().map(VaultError::from);
    let count = look.problems.len();
    let damage = (count > 0).then(|| {
        let mut reason = look.problems[..count.min(REASONS)].join("; ");
        if count > REASONS {
            reason += &format!("; and {} more", count - REASONS);
        }
        reason
    });
    PackOutcome {
        number,
        id,
        bytes_read: look.bytes_read,
        damage,
        lost: look.lost,
        directory: look.directory.filter(|_| count > 0),
        error,
    }
}

struct Look {
    name: String,
    seal: PackSeal,
    keys: Arc<Keys>,
    store: Store,
    job: PackJob,
    bytes_read: u64,
    problems: Vec<String>,
    lost: Lost,
    directory: Option<PackDirectory>,
}

impl Look {
    async fn all(&mut self) -> Result<(), StoreError> {
        let why = match self.store.head(&self.name).await {
            Ok(Some(len)) => return self.content(len).await,
            Ok(None) => "it is missing".to_owned(),
            Err(error) if error.is_object_fault() => error.to_string(),
            Err(error) => return Err(error),
        };
        self.problems.push(why);
        self.lost = Lost::All;
        Ok(())
    }

    async fn content(&mut self, len: u64) -> Result<(), StoreError> {
        if len != self.job.len {
            self.problems
                .push(format!("it has {len} bytes instead of {}", self.job.len));
        }
        self.header(len).await?;
        let own = self.directory(len).await?;
        let wanted = self.job.directory.take();
        if let (Some(own), Some(wanted)) = (&own, &wanted)
            && own != wanted
        {
            self.problems
                .push("its directory is not the one its segment has".to_owned());
        }
        let Some(directory) = wanted.or(own) else {
            self.lost = Lost::All;
            return Ok(());
        };
        self.frames(&directory.frames, len).await?;
        self.directory = Some(directory);
        Ok(())
    }

    /// A range of the object; `None` if it is not there.
    async fn read(&mut self, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        match self.store.get_range(&self.name, range).await {
            Ok(bytes) => {
                self.bytes_read += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Err(error) if error.is_object_fault() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn header(&mut self, len: u64) -> Result<(), StoreError> {
        let header = self.read(0..len.min(HEADER_LEN as u64)).await?.unwrap_or_default();
        match PackSeal::from_header(&self.keys, &header) {
            Ok(found) if found.id() == self.job.id && found.kind() == self.job.kind => {}
            Ok(_) => self.problems.push("its header is that of another pack".to_owned()),
            Err(why) => self.problems.push(why.to_string()),
        }
        Ok(())
    }

    async fn directory(&mut self, len: u64) -> Result<Option<PackDirectory>, StoreError> {
        let Some(end) = len.checked_sub(4) else {
            self.problems.push("it is too short for a directory".to_owned());
            return Ok(None);
        };
        let last: Option<[u8; 4]> = self
            .read(end..len)
            .await?
            .and_then(|last| last.as_ref().try_into().ok());
        let Some(last) = last else {
            self.problems.push("its end cannot be read".to_owned());
            return Ok(None);
        };
        let frames_end = match read_directory_len(last, len) {
            Ok(directory_len) => end - directory_len as u64,
            Err(why) => {
                self.problems.push(why.to_string());
                return Ok(None);
            }
        };
        let sealed = self.read(frames_end..end).await?.unwrap_or_default();
        match self.seal.open_directory(&sealed, frames_end) {
            Ok(directory) => Ok(Some(directory)),
            Err(why) => {
                self.problems.push(why.to_string());
                Ok(None)
            }
        }
    }

    async fn frames(&mut self, frames: &[Frame], len: u64) -> Result<(), StoreError> {
        let mut decompressor = match Decompressor::new() {
            Ok(decompressor) => decompressor,
            Err(why) => {
                return Err(StoreError::Io {
                    object: self.name.clone(),
                    reason: why.to_string(),
                });
            }
        };
        let (mut lost, mut raw) = (Vec::new(), Vec::new());
        let (mut at, mut offset) = (0, HEADER_LEN as u64);
        while at < frames.len() {
            let (mut end, mut behind) = (offset, at);
            while let Some(frame) = frames.get(behind)
                && (behind == at || end - offset + u64::from(frame.sealed_len) <= FETCH)
            {
                end += u64::from(frame.sealed_len);
                behind += 1;
            }
            let fetched = if end <= len || offset < len {
                self.read(offset..end.min(len)).await?
            } else {
                None
            };
            let mut fetched = Vec::from(fetched.unwrap_or_default());
            let mut start = 0;
            for (ordinal, frame) in frames.iter().enumerate().take(behind).skip(at) {
                let stop = start + frame.sealed_len as usize;
                let opened = match fetched.get_mut(start..stop) {
                    Some(sealed) => self.open(ordinal as u32, frame, sealed, &mut decompressor, &mut raw),
                    None => Err(format!("frame {ordinal} is cut off")),
                };
                if let Err(why) = opened {
                    self.problems.push(why);
                    lost.push(ordinal as u32);
                }
                start = stop;
            }
            (at, offset) = (behind, end);
        }
        if !lost.is_empty() {
            self.lost = Lost::Frames(lost);
        }
        Ok(())
    }

    fn open(
        &self,
        ordinal: u32,
        frame: &Frame,
        sealed: &mut [u8],
        decompressor: &mut Decompressor,
        raw: &mut Vec<u8>,
    ) -> Result<(), String> {
        let codec = frame.codec();
        let at = FramePosition {
            ordinal,
            raw_len: frame.raw_len,
            codec,
        };
        let payload = self.seal.open_frame_slice(at, sealed).map_err(|why| why.to_string())?;
        decompressor
            .decompress(codec, payload, frame.raw_len as usize, raw)
            .map_err(|why| format!("frame {ordinal}: {why}"))?;
        verify_frame(&self.keys, self.job.kind, raw, frame).map_err(|why| format!("frame {ordinal}: {why}"))
    }
}
