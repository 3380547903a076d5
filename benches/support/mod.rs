//! What the benches share: settings, keys, a tree of files. Sample bytes are those of `lockstone bench
//! primitives`.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "each bench uses a part of it"
)]

use std::path::Path;
use std::time::Duration;

use criterion::Criterion;
use lockstone_proto::ids::DomainId;
use lockstone_vault::crypto::keys::{Keys, MasterKey};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// All benches in a few minutes: the steps are short and the machine is shared, so more samples would not say more.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

pub(crate) fn keys() -> Keys {
    Keys::derive(&MasterKey::from_bytes([7; 32]), DomainId([1; 16]))
}

/// So many files of a few bytes, a hundred in each folder.
pub(crate) fn tree_of(folder: &Path, files: usize) {
    for number in 0..files {
        let inner = folder.join(format!("{:04}", number / 100));
        if number % 100 == 0 {
            std::fs::create_dir(&inner).unwrap();
        }
        std::fs::write(inner.join(format!("{number:06}")), b"a few bytes").unwrap();
    }
}
