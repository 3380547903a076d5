//! Which of the file systems mounted below a source belong to it. The walk and the snapshots ask the same rules.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Which mounts below a source belong to it. By default all do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boundaries {
    /// Other file systems are left out: their mount points are kept as empty folders.
    pub one_file_system: bool,
    /// Mount points that belong to the source although `one_file_system` is set.
    pub entered: Vec<PathBuf>,
    /// Mount points that never belong to it.
    pub shut: Vec<Shut>,
}

impl Boundaries {
    /// Whether the file system that is mounted at this absolute path is left out.
    #[must_use]
    pub fn leave_out(&self, mount: &[u8]) -> bool {
        let is_mount = |path: &Path| path.as_os_str().as_bytes() == mount;
        let is_shut = self.shut.iter().any(|shut| is_mount(&shut.mount));
        is_shut || (self.one_file_system && !self.entered.iter().any(|path| is_mount(path)))
    }

    /// Why the file system that is mounted here is left out, if the user does not expect that.
    #[must_use]
    pub fn complaint(&self, mount: &[u8]) -> Option<&str> {
        let shut = self.shut.iter().find(|shut| shut.mount.as_os_str().as_bytes() == mount);
        shut.filter(|_| !self.one_file_system)
            .and_then(|shut| shut.complaint.as_deref())
    }
}

/// A mount point that does not belong to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shut {
    /// Its absolute path.
    pub mount: PathBuf,
    /// What the user is told about it. `None`: nothing.
    pub complaint: Option<String>,
}
