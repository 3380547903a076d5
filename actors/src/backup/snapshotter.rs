//! The Snapshotter stage freezes the sources before anything is read. A snapshot is the frozen *source*. It exists as
//! long as the generation runs and is removed when all stages have exited; after a crash, the next run removes it.

use lockstone_host::snapshot::{self, FrozenSource, SnapshotMode, ToFreeze};

use super::job::BackupContext;
use super::source::{BackupSource, SourceFrom};
use crate::flow::{Body, Fault, Sender, Stop, fault_point};

pub(super) struct Snapshotter {
    context: BackupContext,
    enumerator: Sender<Vec<FrozenSource>>,
}

impl Body for Snapshotter {
    fn run(self) -> Result<(), Stop> {
        fault_point("snapshotter")?;
        let job = &self.context.job;
        job.progress.set_phase("freezing the source");
        let request = &job.request;
        job.warnings
            .all(Vec::new, snapshot::cleanup_leftovers(&request.state_dir));
        let to_freeze: Vec<ToFreeze> = request
            .sources
            .iter()
            .filter_map(|source| self.to_freeze(source))
            .collect();
        let frozen = snapshot::freeze(&to_freeze, &request.state_dir).map_err(|error| {
            Fault::permanent(format!("the source could not be frozen: {error}"))
                .hint("use `--snapshot auto` to read live files where nothing can be frozen, or `--snapshot off`")
        })?;
        for note in frozen.notes() {
            tracing::info!("{note}");
        }
        let mut of_paths = frozen.sources().iter().cloned();
        let frozen_or_made = |source: &BackupSource| match &source.from {
            SourceFrom::Path(_) => of_paths.next(),
            SourceFrom::Made(folder) => Some(FrozenSource::elsewhere(&source.path, folder)),
            SourceFrom::Producer(_) => Some(FrozenSource::live(&source.path)),
        };
        let sources = request.sources.iter().filter_map(frozen_or_made).collect();
        self.context.generation.frozen.lock().push(frozen);
        self.enumerator.send(sources)?;
        self.enumerator.finish();
        Ok(())
    }
}

impl Snapshotter {
    /// What is to be frozen of a source. Nothing if it was made for this backup.
    fn to_freeze(&self, source: &BackupSource) -> Option<ToFreeze> {
        let SourceFrom::Path(mode) = source.from else {
            return None;
        };
        let is_dry = self.context.job.request.dry_run;
        Some(ToFreeze {
            source: source.path.clone(),
            mode: if is_dry { SnapshotMode::Off } else { mode },
            boundaries: source.rules.boundaries.clone(),
        })
    }

    pub(super) fn new(context: &BackupContext, enumerator: Sender<Vec<FrozenSource>>) -> Self {
        Self {
            context: context.clone(),
            enumerator,
        }
    }
}
