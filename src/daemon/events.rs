//! What happens in the daemon, for whoever follows it: the clients of the control socket.

use jiff::Timestamp;
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::documents::schema::{Id, JobKindWord, JobStateWord};

/// A follower that is so many events behind loses the oldest.
const KEPT: usize = 256;

/// One thing that happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A job waits in the queue.
    Queued {
        #[schemars(with = "Id")]
        job: JobId,
    },
    /// A job has begun.
    Began {
        #[schemars(with = "Id")]
        job: JobId,
        #[schemars(with = "JobKindWord")]
        kind: JobKind,
    },
    /// A job has something to say.
    Notice {
        #[schemars(with = "Id")]
        job: JobId,
        severity: &'static str,
        text: String,
    },
    /// A job has ended.
    Ended {
        #[schemars(with = "Id")]
        job: JobId,
        #[schemars(with = "JobKindWord")]
        kind: JobKind,
        #[schemars(with = "JobStateWord")]
        status: JobState,
        #[schemars(with = "Option<Id>")]
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
