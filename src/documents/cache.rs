//! The document of the `cache` commands.

use std::path::PathBuf;

use serde::Serialize;

/// The answer of every `cache` command: the cache folder, now up to date.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CacheDocument {
    pub(crate) ok: bool,
    pub(crate) folder: PathBuf,
    /// The size of the files in the folder.
    pub(crate) bytes: u64,
    /// The number of the newest log entry.
    pub(crate) log_entries: u64,
    pub(crate) points: usize,
}
