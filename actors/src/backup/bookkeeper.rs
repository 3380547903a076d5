//! The Bookkeeper stage makes the uploaded packs part of the vault's index, and at the end of the backup it makes a
//! recovery point. It is the only stage that writes to the log.
//!
//! The order of durability is: packs acknowledged (by the Uploader) → segment acknowledged → log entry *Segments* →
//! RocksDB. The log entry *Commit* comes last, when the streams of all other stages have ended cleanly, so that every
//! chunk and page is durable. A crash at any moment leaves garbage at worst, and never a recovery point that can't be
//! restored.
//!
//! After a cancel, or a fault in another stage, it still writes a last checkpoint of what is durable already, if the
//! store answers at once. The next run then need not send that again.

use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use lockstone_proto::ids::{ChunkId, SegmentId};
use lockstone_proto::limits::SEGMENT_TARGET_CHUNKS;
use lockstone_proto::vault::{CommitBody, PackEntry, PointStatus, PointSummary};
use lockstone_vault::domain::chunk_count;

use super::job::BackupContext;
use super::messages::PackUploaded;
use crate::flow::{Body, Fault, Received, Receiver, Stop, fault_point};
use crate::progress::{add, get};

/// How long the last checkpoint of a cancelled generation may take.
const LAST_CHECKPOINT: Duration = Duration::from_millis(1200);

pub(super) struct Bookkeeper {
    context: BackupContext,
    inbox: Receiver<PackUploaded>,
}

fn bytes_of<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Vec<Bytes> {
    paths.map(Bytes::copy_from_slice).collect()
}

/// Uploaded packs that are in no log entry yet.
#[derive(Default)]
struct Pending {
    packs: Vec<PackEntry>,
    bytes: u64,
    chunks: usize,
    since: Option<Instant>,
}

impl Body for Bookkeeper {
    fn run(self) -> Result<(), Stop> {
        let mut pending = Pending::default();
        match self.receive(&mut pending) {
            Ok(()) => self.commit(pending),
            Err(stop) => {
                let cancelled = matches!(stop, Stop::Cancelled | Stop::Broken(_));
                if cancelled && !pending.packs.is_empty() {
                    self.last_checkpoint(pending);
                }
                Err(stop)
            }
        }
    }
}

impl Bookkeeper {
    pub(super) fn new(context: &BackupContext, inbox: Receiver<PackUploaded>) -> Self {
        Self {
            context: context.clone(),
            inbox,
        }
    }

    fn receive(&self, pending: &mut Pending) -> Result<(), Stop> {
        let tuning = &self.context.job.tuning;
        loop {
            match self.inbox.recv_within(Duration::from_millis(500))? {
                Received::Item(PackUploaded { entry }) => {
                    fault_point("bookkeeper")?;
                    pending.since.get_or_insert_with(Instant::now);
                    pending.bytes += entry.len;
                    pending.chunks += chunk_count(&entry);
                    pending.packs.push(entry);
                }
                Received::Nothing => {}
                Received::End => return Ok(()),
            }
            let due = pending.bytes >= tuning.checkpoint_bytes
                || pending.chunks >= SEGMENT_TARGET_CHUNKS
                || pending
                    .since
                    .is_some_and(|since| since.elapsed() >= tuning.checkpoint_after);
            if due {
                self.checkpoint(std::mem::take(pending))?;
            }
        }
    }

    /// Writes segments, then the log entry that names them, then the index.
    fn checkpoint(&self, pending: Pending) -> Result<(), Stop> {
        fault_point("checkpoint")?;
        let job = &self.context.job;
        // A cancel in the middle has the same effect as a crash: garbage at worst.
        job.engine.run_cancellable(
            &self.context.generation.cancel,
            write_checkpoint(&self.context, &pending.packs),
        )??;
        self.context
            .generation
            .claims
            .release(pending.packs.iter().flat_map(chunk_ids));
        add(&job.progress.totals.durable, 1);
        tracing::debug!(packs = pending.packs.len(), bytes = pending.bytes, "checkpoint");
        Ok(())
    }

    fn last_checkpoint(&self, pending: Pending) {
        let job = &self.context.job;
        let done = job.engine.run_to_end(async {
            tokio::time::timeout(LAST_CHECKPOINT, write_checkpoint(&self.context, &pending.packs)).await
        });
        match done {
            Ok(Ok(_)) => add(&job.progress.totals.durable, 1),
            Ok(Err(error)) => tracing::debug!(%error, "no last checkpoint"),
            Err(_) => tracing::debug!("no last checkpoint: the store did not answer in time"),
        }
    }

    fn commit(&self, pending: Pending) -> Result<(), Stop> {
        fault_point("commit")?;
        let (job, generation) = (&self.context.job, &self.context.generation);
        job.progress.set_phase("committing");
        let base = generation.base()?;
        let root = generation.root()?;
        // Segments without a log entry are garbage at worst.
        let segments = job
            .engine
            .run_cancellable(&generation.cancel, write_segments(&self.context, &pending.packs))??;
        if let Some(hours) = job.domain.vault().hours_ahead_of_store() {
            job.warnings.add(
                "",
                format!(
                    "this server's clock is {hours} h ahead of that of the vault's store: the recovery point has the \
                     store's time"
                ),
            );
        }
        let warnings = job.warnings.count();
        let status = if warnings == 0 {
            PointStatus::Completed
        } else {
            PointStatus::CompletedWithWarnings
        };
        let tally = &generation.tally;
        let summary = PointSummary {
            point_id: Bytes::copy_from_slice(job.request.point.as_bytes()),
            started_s: job.started.as_secs().cast_signed(),
            started_ns: job.started.subsec_nanos(),
            status: status.into(),
            consistency: base.consistency.into(),
            files: get(&tally.files),
            folders: get(&tally.folders),
            bytes: get(&tally.bytes),
            stored_bytes: get(&job.progress.totals.bytes_stored),
            tags: job.request.tags.clone(),
            expires_s: job.request.expires_s,
            label: job.request.label.clone(),
        };
        let body = CommitBody {
            segment_ids: segments
                .iter()
                .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                .collect(),
            root: root.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes())),
            sources: bytes_of(base.sources.iter().map(|path| &path[..])),
            index_position: base.index_position,
            parents: base
                .parents
                .iter()
                .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                .collect(),
            warnings,
            root_folder: Some(base.root_folder.clone()),
            allowed_volumes: bytes_of(
                job.request
                    .allowed_volumes
                    .iter()
                    .map(|path| path.as_os_str().as_bytes()),
            ),
            temporary: bytes_of(base.temporary.iter().map(|path| &path[..])),
            made: bytes_of(base.made.iter().map(|path| &path[..])),
        };
        let relied = generation.relied();
        let commit = job
            .domain
            .commit(summary, body, &pending.packs, &relied, Timestamp::now());
        // A cancelled job does not wait for a store that is away. The point may be there after all.
        let given_up = async {
            generation.cancel.cancelled().await;
            tokio::time::sleep(LAST_CHECKPOINT).await;
        };
        job.engine.run_to_end(async {
            tokio::select! {
                done = commit => done.map(drop).map_err(Stop::from),
                () = given_up => Err(Stop::Cancelled),
            }
        })?;
        job.committed.store(true, Ordering::SeqCst);
        // From here on the recovery point exists, whatever happens. A journal that stays only costs time.
        if let Err(error) = job.domain.index().journal_clear() {
            tracing::warn!(%error, "the journal could not be cleared");
        }
        Ok(())
    }
}

/// Writes the segments that list these packs, and the log entry that names them.
async fn write_checkpoint(context: &BackupContext, packs: &[PackEntry]) -> Result<(), Fault> {
    let segments = write_segments(context, packs).await?;
    let domain = &context.job.domain;
    domain.append_segments(segments, packs, Timestamp::now()).await?;
    Ok(())
}

/// Writes the segments that list these packs. The commit relies on them.
async fn write_segments(context: &BackupContext, packs: &[PackEntry]) -> Result<Vec<SegmentId>, Fault> {
    let (segments, bytes) = context.job.domain.write_segments(packs).await?;
    add(&context.job.progress.totals.bytes_stored, bytes);
    context.generation.rely_on_own(packs);
    Ok(segments)
}

/// The ids of the chunks in a pack.
fn chunk_ids(pack: &PackEntry) -> impl Iterator<Item = ChunkId> + '_ {
    pack.directory
        .iter()
        .flat_map(|directory| &directory.frames)
        .flat_map(|frame| frame.chunk_ids.chunks_exact(ChunkId::LEN))
        .filter_map(|id| ChunkId::try_from(id).ok())
}
