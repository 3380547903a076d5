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
mod metrics;
mod progress;
pub mod restore;
mod supervisor;
mod throttle;
mod tuning;

pub use backup::{BackupReport, BackupRequest, backup};
pub use checking::{CheckReport, CheckRequest, check};
pub use flow::{CancelToken, Fault, FaultKind};
pub use job::{JobError, JobStatus, Warning};
pub use metrics::Metrics;
pub use progress::{Progress, ProgressView};
pub use restore::{Conflict, RestoreReport, RestoreRequest, RestoreTo, restore};
pub use tuning::Tuning;
