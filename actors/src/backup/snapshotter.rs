//! The Snapshotter stage freezes the sources before anything is read. A snapshot is the frozen *source*. It exists as
//! long as the generation runs and is removed when all stages have exited; after a crash, the next run removes it.

use lockstone_host::snapshot::{self, FrozenSource};

use super::job::BackupContext;
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
        let frozen = snapshot::freeze(
            request.snapshot,
            &request.sources,
            &request.state_dir,
            request.rules.one_file_system,
        )
        .map_err(|error| {
            Fault::permanent(format!("the source could not be frozen: {error}"))
                .hint("use `--snapshot auto` to read live files where nothing can be frozen, or `--snapshot off`")
        })?;
        for note in frozen.notes() {
            tracing::info!("{note}");
        }
        let sources = frozen.sources().to_vec();
        self.context.generation.frozen.lock().push(frozen);
        self.enumerator.send(sources)?;
        self.enumerator.finish();
        Ok(())
    }
}

impl Snapshotter {
    pub(super) fn new(context: &BackupContext, enumerator: Sender<Vec<FrozenSource>>) -> Self {
        Self {
            context: context.clone(),
            enumerator,
        }
    }
}
