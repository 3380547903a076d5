//! The Snapshotter stage: freezes the sources before anything is read. A snapshot is the frozen *source*; it lives as
//! long as the generation and is removed when all stages have exited, or, after a crash, by the next run.

use lockstone_host::snapshot::{self, FrozenSource};

use super::Context;
use crate::flow::{Fault, Sender, Stop, fault_point};

pub(super) struct Snapshotter {
    pub(super) context: Context,
    pub(super) enumerator: Sender<Vec<FrozenSource>>,
}

impl Snapshotter {
    pub(super) fn run(self) -> Result<(), Stop> {
        fault_point("snapshotter")?;
        let job = &self.context.job;
        job.progress.set_phase("freezing the source");
        let request = &job.request;
        for problem in snapshot::cleanup_leftovers(&request.state_dir) {
            job.warnings.add("", problem);
        }
        let frozen = snapshot::freeze(
            request.snapshot,
            &request.sources,
            &request.state_dir,
            request.rules.one_file_system,
        )
        .map_err(|error| {
            Fault::permanent(format!("the source could not be frozen: {error}"))
                .hint("use `--snapshot auto` to fall back to reading live files, or `--snapshot off`")
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
