//! Finds out what the rules of the cache folder need. What cannot be found out is left out.

use std::path::{Path, PathBuf};

use lockstone_host::volumes::devices::{deduplicates, sparse_file};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statvfs, statx};

use super::rules::Known;
use crate::agent::volumes;

/// What is known of a cache folder, or of a place for one that is not made yet. `place` is how its records stand.
pub(super) fn look(
    folder: &Path,
    protected_bytes: Option<u64>,
    system_state: bool,
    misplaced: Option<String>,
) -> Known {
    let is_link = std::fs::symlink_metadata(folder).is_ok_and(|stat| stat.is_symlink());
    // A folder takes its properties from the one that it is made in.
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(folder);
    let attributes = attributes(there);
    let (storage, number) = volumes::storage(there);
    let sys = Path::new("/sys");
    Known {
        free_bytes: free_bytes(there),
        protected_bytes,
        system_state,
        storage,
        is_link,
        is_encrypted: attributes.contains(StatxAttributes::ENCRYPTED),
        is_compressed: attributes.contains(StatxAttributes::COMPRESSED),
        sparse_file: number.as_ref().and_then(|number| sparse_file(sys, number)),
        deduplicates: number.as_ref().is_some_and(|number| deduplicates(sys, number)),
        misplaced,
    }
}

/// What this user may still write to the file system of a folder.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = statvfs(folder).ok()?;
    // A file system that does not count its blocks, such as some in user space, says that it has none.
    let counts = stat.f_blocks > 0;
    counts.then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What the file system says about a folder. One that does not tell has nothing to say.
fn attributes(folder: &Path) -> StatxAttributes {
    let found = statx(CWD, folder, AtFlags::empty(), StatxFlags::TYPE);
    found.map_or(StatxAttributes::empty(), |found| {
        found.stx_attributes & found.stx_attributes_mask
    })
}

/// The real place of a path that may not be there yet.
pub(super) fn real_place(path: &Path) -> PathBuf {
    let real = path.ancestors().find_map(|above| {
        let real = above.canonicalize().ok()?;
        Some(real.join(path.strip_prefix(above).ok()?).components().collect())
    });
    real.unwrap_or_else(|| path.to_owned())
}
