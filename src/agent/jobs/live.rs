//! The job that runs in this process now, for those who look at it from outside: pages of metrics, the control API.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstone_actors::Progress;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;

use super::observer::JobObserver;

/// A job that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) job: JobId,
    /// The folder of its cache, and what it has done. `None` until the vault is open.
    pub(crate) opened: Option<(PathBuf, Arc<Progress>)>,
}

/// The job that runs. Clones show the same job.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<Mutex<Option<Running>>>);

impl Live {
    /// The job that runs now.
    pub(crate) fn now(&self) -> Option<Running> {
        self.get().clone()
    }

    /// The job has ended, in whatever way.
    pub(crate) fn end(&self) {
        *self.get() = None;
    }

    fn get(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobObserver for Live {
    fn begins(&self, _kind: JobKind, job: JobId) {
        *self.get() = Some(Running { job, opened: None });
    }

    fn runs(&self, _kind: JobKind, cache: &Path, progress: &Arc<Progress>) {
        if let Some(running) = self.get().as_mut() {
            running.opened = Some((cache.to_owned(), Arc::clone(progress)));
        }
    }

    fn ran(&self) {}
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let job = self.now().map(|running| running.job);
        f.debug_tuple("Live").field(&job).finish()
    }
}
