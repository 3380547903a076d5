//! Lockstone's pipeline. [`backup()`], [`restore()`], [`check()`] and [`collect()`] are what the agent calls. Each runs
//! one job to its end on the calling thread and returns a report. Inside, a job is a chain of stages, one file or
//! folder each. The bounded `flow` joins them, and the `supervisor` watches over them:
//!
//! ```text
//! backup:  Snapshotter → Enumerator → Hasher → Dedup → Assembler → Sealer → Uploader → Bookkeeper
//!                                        └─ Cataloguer ─┘
//! restore: Planner → Fetcher → Opener → Writer
//! check:   Checker
//! collect: Collector
//! ```
//!
//! All threads, channels and tasks of Lockstone's jobs belong to this crate; `vault` and `host` have none.

pub mod backup;
#[doc(hidden)]
pub mod bench;
pub mod check;
pub mod collect;
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

/// The target of the spans that say which job and stage a log line is about. A log filter must always let it through.
pub const SPANS: &str = "lockstone::spans";

pub use backup::{
    BackupReport, BackupRequest, BackupSource, FileChange, LeftOut, OnFile, Producer, Production, SourceFrom, backup,
};
pub use check::{CheckReport, CheckRequest, check};
pub use collect::{CollectReport, CollectRequest, collect};
pub use flow::{CancelToken, Fault};
pub use job::{JobContext, JobError, JobStatus, Warning};
pub use metrics::Metrics;
pub use progress::{Progress, ProgressView};
pub use restore::{Conflict, RestoreReport, RestoreRequest, RestoreTo, restore};
pub use tuning::Tuning;
