//! What tests and benchmarks share, behind the feature `testing`: small vaults to back up into and to harm, a store
//! that fails on demand, the suite of promises that every store has to keep, and indexes of any size. Not part of any
//! release.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod failing;
mod lab;
pub mod large_index;
mod plain_reader;
pub mod seeded;
mod sim_store;
pub mod store_suite;
mod tree;
pub mod vectors;

use jiff::Timestamp;

use crate::store::Store;

pub use failing::{FailingStore, Fault};
pub use lab::{Lab, create_options, read_only, relied, summary, summary_of};
pub use plain_reader::{PlainReader, Standing};
pub use sim_store::{FATES, Fate, SimWorld};
pub use tree::{Tree, pack, read_all};

/// Runs a future to its end on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// A store in a folder of its own, which goes when the first part is dropped.
pub fn folder_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    (folder, store)
}

/// The present time in every test vault.
#[must_use]
pub fn now() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}
