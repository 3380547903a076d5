//! End-to-end tests: they run the real program as a user does, each in folders of its own. There is one file for each
//! promise. No test decides anything by waiting for a time to pass.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backup_restore;
mod bad_input;
mod bench;
mod bench_throttle;
mod cli;
mod credentials;
mod damage;
mod deaf_readers;
mod demo;
mod excludes;
#[cfg(feature = "failpoints")]
mod faults;
mod flow;
mod folders;
mod healing;
mod incremental;
mod jobs;
mod kill;
mod large_index;
mod logs;
mod metrics;
mod odd_places;
mod operator;
mod other_machine;
mod passphrases;
mod points;
mod policy;
mod prometheus;
mod reader;
mod registration;
mod restore;
mod restore_handles;
mod restore_on_disk;
mod restore_spares;
mod restore_true;
mod revocation;
mod snapshots;
mod sources;
mod store_ceph;
mod store_commands;
mod store_faults;
mod store_input;
mod stores;
mod support;
mod throttle;
mod tour;
mod whole_system;
