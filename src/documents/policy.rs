//! The documents of the `policy` commands.

use jiff::Timestamp;
use serde::Serialize;

/// The answer of `policy preview`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PreviewDocument {
    /// The runs of the span, ascending.
    pub(crate) runs: Vec<RunDocument>,
    /// The recovery points that live at the end of the span, ascending.
    pub(crate) points: Vec<PointDocument>,
    /// What is odd without being wrong.
    pub(crate) warnings: Vec<String>,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunDocument {
    pub(crate) at: Timestamp,
    pub(crate) tags: Vec<String>,
}

/// A recovery point.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PointDocument {
    pub(crate) at: Timestamp,
    pub(crate) tags: Vec<String>,
    /// Null: until a newer point is there.
    pub(crate) expires: Option<Timestamp>,
}

/// The answer of `policy show`, `set`, `pause` and `resume`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PolicyDocument {
    /// Grows with each `policy set`, from 1.
    pub(crate) generation: u64,
    pub(crate) set_at: Timestamp,
    pub(crate) paused: bool,
    /// The next run of the schedule; null if there is none, or if the policy is paused.
    pub(crate) next_run: Option<Timestamp>,
    /// The policy file as it was given.
    pub(crate) text: String,
    pub(crate) policy: ContentDocument,
    /// What is odd without being wrong.
    pub(crate) warnings: Vec<String>,
}

/// What a policy says.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ContentDocument {
    pub(crate) items: Vec<ItemDocument>,
    pub(crate) exclude: Vec<String>,
    pub(crate) system_state: bool,
    pub(crate) schedule: ScheduleDocument,
    /// Of what alerts are sent.
    pub(crate) notify_on: Vec<String>,
    /// The tiers that the policy has: `daily`, `weekly`, `monthly`, `yearly`, and the span of each.
    pub(crate) retention: Vec<TierDocument>,
}

/// What is backed up.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ItemDocument {
    /// Null for what a program prints.
    pub(crate) path: Option<String>,
    /// Null for a path.
    pub(crate) name: Option<String>,
    /// Null for a path.
    pub(crate) command: Option<Vec<String>>,
    pub(crate) exclude: Vec<String>,
    pub(crate) one_file_system: bool,
    pub(crate) snapshot: String,
    pub(crate) include_caches: bool,
}

/// When backups run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScheduleDocument {
    /// An IANA name; null for the machine's own zone, if that has no name.
    pub(crate) time_zone: Option<String>,
    /// `02:00`.
    pub(crate) times: Vec<String>,
    /// `monday` to `sunday`.
    pub(crate) days: Vec<String>,
    pub(crate) every_weeks: i32,
    pub(crate) random_delay_seconds: u64,
    pub(crate) catch_up: bool,
}

/// A tier of the retention.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TierDocument {
    pub(crate) tier: String,
    /// ISO 8601, such as `P7D`.
    pub(crate) span: String,
}

/// The answer of `policy init`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExampleDocument {
    pub(crate) text: &'static str,
    /// Null if it was not written to a file.
    pub(crate) file: Option<String>,
}
