//! Asking a running process to read its settings again (SIGHUP).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts how often a reload was asked for. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReloadRequests(Arc<AtomicU64>);

impl ReloadRequests {
    pub(crate) fn ask(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
