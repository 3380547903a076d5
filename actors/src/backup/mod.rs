//! The backup pipeline, assembled in the order in which a file's bytes pass through it:
//!
//! ```text
//! Snapshotter → Enumerator → Hasher → Dedup → Assembler → Sealer → Uploader → Bookkeeper
//!  freezes       walks,       reads,    RocksDB  frames     zstd,    paced,    index, log entry,
//!  the source    compares     chunks,   lookup,             AES-GCM, retried,  recovery point
//!                with the     BLAKE3    claims              packs    parallel
//!                last point   (rayon)                                puts
//!                                └─ Cataloguer: fills slots, writes tree pages, which enter Dedup, too
//! ```
//!
//! `Backup::assemble` is this picture in code. The graph has no cycle: file content and tree pages have lanes of their
//! own from Dedup to the Sealer, and from the Uploader on everything only drains.

mod bookkeeper;
mod cataloguer;
mod claims;
mod dedup;
mod dry_run;
mod enumerator;
mod hasher;
mod job;
mod journal;
mod lane;
mod messages;
mod report;
mod sealer;
mod snapshotter;
mod source;
mod suffixes;
mod uploader;
mod window;

use std::sync::Arc;
use std::time::Instant;

use lockstone_proto::job::JobKind;
use lockstone_proto::vault::ChunkKind;

use self::bookkeeper::Bookkeeper;
use self::cataloguer::Cataloguer;
use self::dedup::Dedup;
use self::enumerator::Enumerator;
use self::hasher::Hasher;
use self::job::{BackupContext, BackupJob, Generation};
use self::sealer::{Assembler, Packs, Worker};
use self::snapshotter::Snapshotter;
use self::uploader::Uploader;
use crate::flow::{Assembly, CancelToken, StageName, StageSpec};
use crate::job::JobContext;
use crate::progress::get;
use crate::supervisor::{self, Pipeline};

pub use self::job::{BackupRequest, FileChange, OnFile};
pub use self::report::{BackupReport, LeftOut};
pub use self::source::{BackupSource, Producer, Production, SourceFrom};

/// Runs a backup to its end. Blocks, so call it from a plain thread.
#[must_use]
pub fn backup(mut context: JobContext, request: BackupRequest) -> BackupReport {
    let begun = Instant::now();
    context.tuning = context.tuning.clamped();
    let id = request.job;
    let job = match BackupJob::new(&context, request) {
        Ok(job) => Arc::new(job),
        Err(fault) => return BackupReport::not_started(id, fault),
    };
    let pipeline = Box::new(Backup {
        job: Arc::clone(&job),
        generation: None,
    });
    let end = supervisor::run(JobKind::Backup, id, pipeline, &context);
    BackupReport::of(&job, end, begun.elapsed())
}

struct Backup {
    job: Arc<BackupJob>,
    generation: Option<Arc<Generation>>,
}

impl Backup {
    /// What the stages of a new generation share.
    fn begin(&mut self, number: u32, cancel: &CancelToken) -> BackupContext {
        let job = &self.job;
        job.progress.begin_generation(number);
        job.warnings.clear();
        for warning in &job.request.warnings {
            job.warnings.add(warning.path.clone(), warning.message.clone());
        }
        job.request.rules.forget_counts();
        job.suffixes.clear();
        let generation = Arc::new(Generation::new(&job.tuning, cancel));
        job.metrics.watch_budget("data", &generation.budgets.data);
        job.metrics.watch_budget("tree", &generation.budgets.tree);
        self.generation = Some(Arc::clone(&generation));
        BackupContext {
            job: Arc::clone(job),
            generation,
        }
    }
}

impl Pipeline for Backup {
    fn assemble(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec> {
        let context = &self.begin(number, cancel);
        if self.job.request.dry_run {
            return dry_run::assemble(context, cancel);
        }
        let tuning = &self.job.tuning;
        // One more than the pool has threads, so that the next frame is at hand when a thread is free.
        let sealers = tuning.threads + 1;
        let open_packs = &Arc::new(Packs::new(sealers));

        // Capacities. Batches are about 1 MiB of content, and the budget bounds the bytes: a channel only has to keep
        // its receiver busy over a hiccup of its sender. The sources are one message; packs are 32 MiB each.
        let capacity = tuning.capacity;
        let mut flow = Assembly::new(cancel);
        let (to_enumerator, sources) = flow.channel("sources", 1);
        let (to_hasher, files) = flow.channel("files", capacity);
        let (to_cataloguer, steps) = flow.channel("steps", capacity * 2);
        let (to_dedup, chunks) = flow.channel("chunks", capacity);
        let (to_tree_dedup, pages) = flow.channel("pages", capacity);
        let (to_assembler, new_chunks) = flow.channel("new chunks", capacity);
        let (to_tree_assembler, new_pages) = flow.channel("new pages", capacity);
        let (to_sealer, frames) = flow.channel("frames", tuning.threads);
        let (to_uploader, packs) = flow.channel("packs", 1);
        let (to_bookkeeper, uploaded) = flow.channel("uploaded", capacity);
        let [walk_to_cataloguer, files_to_cataloguer] = to_cataloguer.split_in_two();
        let [data_to_sealer, tree_to_sealer] = to_sealer.split_in_two();

        flow.stage(StageName::Snapshotter)
            .outlets(to_enumerator)
            .thread(|(), enumerator| Snapshotter::new(context, enumerator));
        flow.stage(StageName::Enumerator)
            .inbox(sources)
            .outlets((to_hasher, walk_to_cataloguer))
            .thread(|inbox, to| Enumerator::new(context, inbox, to));
        flow.stage(StageName::Hasher)
            .inbox(files)
            .outlets((files_to_cataloguer, to_dedup))
            .threads(tuning.readers, |inbox, to| Hasher::new(context, inbox, to));
        flow.stage(StageName::Cataloguer)
            .inbox(steps)
            .outlets(to_tree_dedup)
            .thread(|inbox, dedup| Cataloguer::new(context, inbox, dedup));
        flow.stage(StageName::Dedup)
            .inbox(chunks)
            .outlets(to_assembler)
            .thread(|inbox, assembler| Dedup::new(context, ChunkKind::Data, inbox, assembler));
        flow.stage(StageName::TreeDedup)
            .inbox(pages)
            .outlets(to_tree_assembler)
            .thread(|inbox, assembler| Dedup::new(context, ChunkKind::Tree, inbox, assembler));
        flow.stage(StageName::Assembler)
            .inbox(new_chunks)
            .outlets(data_to_sealer)
            .thread(|inbox, workers| Assembler::new(context, ChunkKind::Data, inbox, workers));
        flow.stage(StageName::TreeAssembler)
            .inbox(new_pages)
            .outlets(tree_to_sealer)
            .thread(|inbox, workers| Assembler::new(context, ChunkKind::Tree, inbox, workers));
        flow.stage(StageName::Sealer)
            .inbox(frames)
            .outlets(to_uploader)
            .threads(sealers, |inbox, uploader| {
                Worker::new(context, inbox, open_packs, uploader)
            });
        flow.stage(StageName::Uploader)
            .inbox(packs)
            .outlets(to_bookkeeper)
            .threads(tuning.uploads, |inbox, bookkeeper| {
                Uploader::new(context, inbox, bookkeeper)
            });
        flow.stage(StageName::Bookkeeper)
            .inbox(uploaded)
            .thread(|inbox, ()| Bookkeeper::new(context, inbox));
        flow.into_stages()
    }

    fn settle(&mut self) {
        let Some(generation) = self.generation.take() else {
            return;
        };
        for mut frozen in generation.frozen.lock().drain(..) {
            if let Err(error) = frozen.release() {
                self.job.warnings.add(
                    "",
                    format!("a snapshot could not be removed: {error}; the next run tries again"),
                );
            }
        }
    }

    fn progress(&self) -> u64 {
        get(&self.job.progress.totals.durable)
    }
}
