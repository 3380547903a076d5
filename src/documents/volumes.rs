//! The document of `volumes`.

use serde::Serialize;

/// The answer of `volumes`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VolumesDocument {
    pub(crate) volumes: Vec<VolumeDocument>,
}

/// A file system: one that is mounted, or one that is configured and is not.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VolumeDocument {
    pub(crate) mount: String,
    pub(crate) device: String,
    pub(crate) fs: String,
    pub(crate) eligible: bool,
    /// Why it can be a source, or why not.
    pub(crate) reason: String,
    /// It is empty after a restart.
    pub(crate) temporary: bool,
}
