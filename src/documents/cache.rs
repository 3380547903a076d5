//! The documents of the `cache` commands.

use std::path::PathBuf;

use serde::Serialize;

/// The answer of `cache check`, `cache rebuild` and `cache move`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CacheDocument {
    /// The folder can be used, and is up to date.
    pub(crate) ok: bool,
    pub(crate) folder: PathBuf,
    /// The size of the files in the folder.
    pub(crate) bytes: u64,
    /// The number of the newest log entry; null if the folder was not opened.
    pub(crate) log_entries: Option<u64>,
    /// Null if the folder was not opened.
    pub(crate) points: Option<usize>,
    /// What each rule says of the folder.
    pub(crate) rules: Vec<RuleDocument>,
    /// Where it was before it was moved. It is removed after the next good backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) old_folder: Option<PathBuf>,
}

/// How the folder stands to one rule.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RuleDocument {
    pub(crate) rule: String,
    /// `ok`, `warn` or `refuse`.
    pub(crate) state: String,
    pub(crate) reason: String,
}

/// The answer of `cache rules`: how much space must be free.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CacheRulesDocument {
    pub(crate) refuse_percent: u8,
    pub(crate) warn_percent: u8,
    pub(crate) system_state_bytes: u64,
}
