//! Lockstone's pipeline. [`backup()`], [`restore()`] and [`check()`] are what the agent calls; each runs one job to its end on
//! the calling thread and reports. Inside, a job is a chain of actors, one file each, joined by the bounded `flow`
//! and watched over by the `supervisor`:
//!
//! ```text
//! backup:  Snapshotter → Enumerator → Hasher → Dedup → Sealer → Uploader → Bookkeeper
//!                                        └─ Cataloguer ─┘
//! restore: Planner → Fetcher → Opener → Writer
//! ```
//!
//! Every thread, channel and task of the house belongs here; `vault` and `host` have none.

pub mod backup;
#[doc(hidden)]
pub mod bench;
mod checking;
mod contents;
mod engine;
mod flow;
mod job;
pub mod metrics;
mod progress;
pub mod restore;
mod supervisor;
pub mod throttle;
mod tuning;

/// The target of the spans that say which job and stage a line of the log is about: to be let through whatever is logged.
pub const SPANS: &str = "lockstone::spans";

pub use backup::{BackupReport, BackupRequest, backup};
pub use checking::{CheckReport, CheckRequest, check};
pub use flow::{CancelToken, Fault};
pub use job::{JobError, JobStatus, Warning};
pub use metrics::Metrics;
pub use progress::{Progress, ProgressView};
pub use restore::{Conflict, RestoreReport, RestoreRequest, RestoreTo, restore};
pub use tuning::Tuning;
