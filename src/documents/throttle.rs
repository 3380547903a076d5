//! The document of the `throttle` commands.

use serde::Serialize;

/// The answer of every `throttle` command: what is set, and what is in force.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ThrottleDocument {
    /// As it was set, or `unlimited`.
    pub(crate) upload: String,
    /// As it was set, or `unlimited`.
    pub(crate) download: String,
    /// Null if requests are not limited.
    pub(crate) requests_per_second: Option<u32>,
    pub(crate) windows: Vec<String>,
    /// Null for the machine's own time zone.
    pub(crate) time_zone: Option<String>,
    pub(crate) now: LimitsNow,
}

/// What is in force now.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LimitsNow {
    /// Null if there is no limit; 0 is a pause.
    pub(crate) upload_bytes_per_second: Option<u64>,
    /// Null if there is no limit; 0 is a pause.
    pub(crate) download_bytes_per_second: Option<u64>,
    /// The windows that are open.
    pub(crate) windows: Vec<String>,
}
