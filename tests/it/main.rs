//! End-to-end tests: they run the real program as a user does, each in folders of its own. There is one file for each
//! promise. No test decides anything by waiting for a time to pass.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod alerts;
mod backup_restore;
mod bad_input;
mod bench;
mod bench_throttle;
mod cli;
mod clocks;
mod daemon;
mod damage;
mod deaf_readers;
mod demo;
mod dump;
mod excludes;
#[cfg(feature = "failpoints")]
mod faults;
mod flow;
mod folders;
mod healing;
mod history;
mod holds;
mod incremental;
mod jobs;
mod kill;
mod large_index;
mod logs;
mod metrics;
mod odd_places;
mod one_bad_object;
mod other_machine;
mod points;
mod policy;
mod prometheus;
mod protection;
mod reader;
mod restore;
mod restore_chosen;
mod restore_handles;
mod restore_on_disk;
mod restore_spares;
mod restore_true;
mod set_back;
mod snapshots;
mod sources;
mod store_ceph;
mod store_commands;
mod store_faults;
mod store_input;
mod stores;
mod support;
mod taken;
mod throttle;
mod tour;
mod vault_policy;
mod whole_system;
