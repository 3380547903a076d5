//! What happens in the daemon, for whoever follows it: the clients of the control socket.

use jiff::Timestamp;
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use serde::Serialize;
use tokio::sync::broadcast;

/// A follower that is so many events behind loses the oldest.
const KEPT: usize = 256;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A job waits in the queue.
    Queued { job: JobId },
    /// A job has begun.
    Began { job: JobId, kind: JobKind },
    /// A job has something to say.
    Notice {
        job: JobId,
        severity: &'static str,
        text: String,
    },
    /// A job has ended.
    Ended {
        job: JobId,
        kind: JobKind,
        status: JobState,
        point: Option<PointId>,
    },
    /// The settings were read again.
    Reloaded { at: Timestamp },
}

/// Where events go.
#[derive(Debug, Clone)]
pub(super) struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Events(broadcast::channel(KEPT).0)
    }
}

impl Events {
    pub(super) fn tell(&self, event: Event) {
        // An error means that nobody follows.
        let _ = self.0.send(event);
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
