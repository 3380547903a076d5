//! One line of `--progress json`.

use std::time::Duration;

use lockstone_actors::ProgressView;
use lockstone_proto::job::JobKind;
use serde::Serialize;

use super::common::PathDocument;

/// How far a running job is. Sizes are in bytes, times in seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProgressDocument {
    /// Always `progress`.
    event: &'static str,
    kind: JobKind,
    /// What the job is doing.
    phase: &'static str,
    files_done: u64,
    files_seen: u64,
    done_bytes: u64,
    seen_bytes: u64,
    /// Whether the walk has ended, so that what was seen is all there is.
    seen_all: bool,
    new_bytes: u64,
    known_bytes: u64,
    stored_bytes: u64,
    bytes_per_second: u64,
    /// Null until it can be told.
    remaining_seconds: Option<u64>,
    restarts: u64,
    /// The stage that the others wait for.
    slowest_stage: &'static str,
    /// What the job waits for, in words: a store, a pause, a limit or a stage. Empty if it is not known.
    waiting_for: String,
    throttled_seconds: f64,
    /// The path being worked on.
    #[serde(flatten)]
    path: PathDocument,
}

impl ProgressDocument {
    pub(crate) fn new(
        kind: JobKind,
        view: &ProgressView,
        waiting_for: &str,
        bytes_per_second: u64,
        remaining: Option<Duration>,
    ) -> Self {
        ProgressDocument {
            event: "progress",
            kind,
            phase: view.phase,
            files_done: view.files_done,
            files_seen: view.files_seen,
            done_bytes: view.bytes_done,
            seen_bytes: view.bytes_seen,
            seen_all: view.seen_all,
            new_bytes: view.bytes_new,
            known_bytes: view.bytes_known,
            stored_bytes: view.bytes_stored,
            bytes_per_second,
            remaining_seconds: remaining.map(|left| left.as_secs()),
            restarts: view.restarts,
            slowest_stage: view.slowest_stage,
            waiting_for: waiting_for.to_owned(),
            throttled_seconds: view.throttled_seconds,
            path: view.current.as_slice().into(),
        }
    }

    /// Says that the job is being cancelled, if it is.
    pub(crate) fn cancelling(mut self, cancelling: bool) -> Self {
        if cancelling {
            self.phase = "cancelling";
        }
        self
    }
}
