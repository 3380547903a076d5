//! Who watches a job from outside: a display, an exporter of metrics.

use std::path::Path;
use std::sync::Arc;

use lockstone_actors::Progress;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;

/// Is told what a job does. All methods are called on the thread that runs the job's skeleton, and must not block for
/// long.
pub(crate) trait JobObserver: Sync {
    /// The job has the lock, and is about to start.
    fn begins(&self, kind: JobKind, job: JobId);

    /// The vault is open, and the pipeline is about to run. `cache` is the folder of its cache.
    fn runs(&self, kind: JobKind, cache: &Path, progress: &Arc<Progress>);

    /// The pipeline has ended.
    fn ran(&self);
}
