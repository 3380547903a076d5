//! What a backup makes of the log before it reads any file.

use std::sync::Arc;

use lockstone_vault::damage::Damage;
use lockstone_vault::log::LogView;

use super::Enumerator;
use crate::flow::Stop;

/// Nobody who knew better wrote behind it, so all machines will pass over it.
const LOST_FOR_ALL: &str = "; if it held a recovery point, that point is lost";

impl Enumerator {
    /// Reads the log, and settles which packs the backup may rely on. Fails if the vault was set back: no entry of this
    /// backup would be written.
    pub(super) fn read_log(&self) -> Result<Arc<LogView>, Stop> {
        let (job, cancel) = (&self.context.job, &self.context.generation.cancel);
        let view = job.engine.run_cancellable(cancel, job.domain.refresh())??;
        job.engine.run_cancellable(cancel, job.domain.refuse_if_set_back())??;
        // The first entry of this backup accounts for them. So this is said once.
        for Damage { object, reason, .. } in &view.behind {
            let text = format!("{object} counts as no log entry from now on: {reason}{LOST_FOR_ALL}");
            job.warnings.add("", text);
        }
        if view.log_damaged {
            // A lost entry may have condemned packs, which may be deleted by now.
            job.engine.run_cancellable(cancel, job.domain.distrust_missing())??;
        }
        job.engine.run_cancellable(cancel, job.domain.verify_foreign())??;
        Ok(view)
    }
}
