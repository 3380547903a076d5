//! The document of the guard.

use jiff::Timestamp;
use lockstone_proto::ids::{JobId, PointId};
use serde::Serialize;

/// The answer of `guard show` and `guard clear`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct GuardDocument {
    /// Whether an alarm waits for somebody to look.
    pub(crate) raised: bool,
    /// When it was raised; this and what follows is null if there is no alarm.
    pub(crate) at: Option<Timestamp>,
    pub(crate) job: Option<JobId>,
    /// The recovery point that looks strange.
    pub(crate) point: Option<PointId>,
    /// What is strange about it, in words.
    pub(crate) reasons: Vec<String>,
}
