//! Cancelling, for plain threads and for tasks. A token is cheap to clone. A child token is cancelled with its parent,
//! and never the other way round: cancelling a job cancels its generation, but a failed generation does not cancel the
//! job.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Tells everything that waits that the work is no longer wanted. A cancelled token stays cancelled.
#[derive(Clone)]
pub struct CancelToken {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

struct Inner {
    cancelled: AtomicBool,
    /// Dropping the sender wakes every thread that selects on `signal`.
    hold: Mutex<Option<crossbeam_channel::Sender<Infallible>>>,
    signal: crossbeam_channel::Receiver<Infallible>,
    notify: Notify,
    children: Mutex<Vec<Weak<Inner>>>,
}

impl Inner {
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.hold.lock().take();
        self.notify.notify_waiters();
        // Taken out first, so that a child's lock is never held together with this one.
        let children = std::mem::take(&mut *self.children.lock());
        for child in children.iter().filter_map(Weak::upgrade) {
            child.cancel();
        }
    }
}

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        let (hold, signal) = crossbeam_channel::bounded(0);
        Self {
            inner: Arc::new(Inner {
                cancelled: AtomicBool::new(false),
                hold: Mutex::new(Some(hold)),
                signal,
                notify: Notify::new(),
                children: Mutex::new(Vec::new()),
            }),
        }
    }

    /// A token that is cancelled together with this one, and can also be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        {
            let mut children = self.inner.children.lock();
            children.retain(|known| known.strong_count() > 0);
            children.push(Arc::downgrade(&child.inner));
        }
        // A cancel that came before the child was in the list has missed it, and is seen here.
        if self.is_cancelled() {
            child.cancel();
        }
        child
    }

    /// Cancels. Everything that waits on the token wakes.
    pub fn cancel(&self) {
        self.inner.cancel();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::SeqCst)
    }

    /// A channel to select on. It carries nothing and disconnects on cancel.
    pub(crate) fn signal(&self) -> &crossbeam_channel::Receiver<Infallible> {
        &self.inner.signal
    }

    /// Resolves when the token is cancelled; at once if it already is.
    pub async fn cancelled(&self) {
        let notified = self.inner.notify.notified();
        tokio::pin!(notified);
        // Registered before the flag is read, so that a cancel between the two is not missed.
        notified.as_mut().enable();
        if self.is_cancelled() {
            return;
        }
        notified.await;
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_cancelled_with_its_parent_and_not_the_other_way_round() {
        let parent = CancelToken::new();
        let first = parent.child();
        let second = parent.child();
        first.cancel();
        assert!(first.is_cancelled() && !parent.is_cancelled() && !second.is_cancelled());
        parent.cancel();
        assert!(second.is_cancelled());
        assert!(
            parent.child().is_cancelled(),
            "a child born after the cancel is cancelled too"
        );
    }
}
