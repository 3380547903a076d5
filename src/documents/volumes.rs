//! The document of `volumes`.

use std::os::unix::ffi::OsStrExt;

use lockstone_host::volumes::Volume;
use serde::Serialize;

use super::common::lossy;

/// The answer of `volumes`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VolumesDocument {
    pub(crate) volumes: Vec<VolumeDocument>,
}

/// A mounted file system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VolumeDocument {
    mount: String,
    device: String,
    fs: String,
    eligible: bool,
    /// Why it can be a source, or why not.
    reason: String,
}

impl From<&Volume> for VolumeDocument {
    fn from(volume: &Volume) -> VolumeDocument {
        VolumeDocument {
            mount: lossy(volume.mount.as_os_str().as_bytes()),
            device: volume.device.clone(),
            fs: volume.fs.clone(),
            eligible: volume.eligible,
            reason: volume.reason.clone(),
        }
    }
}
