//! What a user would do, end to end: the real program, run as a user runs it, in folders of its own. One file for each
//! promise. No test waits for a time to pass to decide anything.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backup_restore;
mod bad_input;
mod bench;
mod bench_throttle;
mod cli;
mod damage;
mod demo;
#[cfg(feature = "failpoints")]
mod faults;
mod flow;
mod incremental;
mod kill;
mod large_index;
mod logs;
mod metrics;
mod other_machine;
mod points;
mod prometheus;
mod reader;
mod restore;
mod store_ceph;
mod store_faults;
mod store_input;
mod stores;
mod support;
mod throttle;
