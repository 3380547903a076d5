//! The state folder (`LOCKSTONE_HOME`): where it is, what is in it, and how files get there.
//!
//! ```text
//! agent.json              who this server is, and which vault it uses (0600)
//! machine.key             the secret of its machine slot, and its signing key (0600)
//! operator/<vault id>.key an operator's signing key, on the machine where a vault was created (0600)
//! cache/                  rebuildable: index, tree pages, journal (may be elsewhere: `cache move`)
//! jobs/<job id>.json      this server's own job records
//! snapshots/              which snapshots exist, so that those of a crashed run are removed
//! store.json              the object store's settings, where the environment has none (0600)
//! throttle.json           the throttle's limits and windows (`throttle set`)
//! log.pin                 the highest log entry ever seen: a vault that went back is noticed even without the cache
//! lock                    held while a job runs; says which
//! ```
//!
//! The folder is for its owner alone (0700). Files are replaced whole, by rename, and fsynced before and after.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lockstone_proto::ids::{JobId, VaultId};

/// The state folder.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Where the state folder is by `LOCKSTONE_HOME` or by custom. It need not exist.
    ///
    /// # Errors
    /// Where neither the variable nor a home folder says where.
    pub fn locate() -> anyhow::Result<Home> {
        let root = if let Some(root) = set("LOCKSTONE_HOME") {
            std::path::absolute(root)?
        } else if rustix::process::geteuid().is_root() {
            PathBuf::from("/var/lib/lockstone")
        } else if let Some(state) = set("XDG_STATE_HOME") {
            std::path::absolute(state)?.join("lockstone")
        } else if let Some(home) = set("HOME") {
            PathBuf::from(home).join(".local/state/lockstone")
        } else {
            bail!("cannot tell where the state folder is: set LOCKSTONE_HOME");
        };
        Ok(Home { root })
    }

    /// Makes the folder where it is missing, and closes it to others.
    ///
    /// # Errors
    /// Where it cannot be made, belongs to somebody else, or is a folder for everybody such as `/tmp`.
    pub fn prepare(&self) -> anyhow::Result<()> {
        let shown = self.root.display();
        private_folder(&self.root).with_context(|| format!("cannot make the state folder {shown}"))?;
        let found = fs::metadata(&self.root).with_context(|| format!("cannot look at the state folder {shown}"))?;
        if !found.is_dir() {
            bail!("the state folder {shown} is not a folder");
        }
        if found.uid() != rustix::process::geteuid().as_raw() {
            bail!("the state folder {shown} belongs to another user (uid {})", found.uid());
        }
        if found.mode() & 0o1000 != 0 {
            bail!("the state folder {shown} is a folder for everybody: point LOCKSTONE_HOME to one of its own");
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(&self.root, Permissions::from_mode(0o700))
                .with_context(|| format!("cannot close the state folder {shown} to others"))?;
        }
        for folder in [self.jobs(), self.snapshots()] {
            private_folder(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The registration.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.root.join("agent.json")
    }

    /// The machine key.
    #[must_use]
    pub fn machine_key(&self) -> PathBuf {
        self.root.join("machine.key")
    }

    /// The operator's signing key of a vault that was created here.
    #[must_use]
    pub fn operator_key(&self, vault: VaultId) -> PathBuf {
        self.root.join("operator").join(format!("{vault}.key"))
    }

    /// The cache folder, unless the registration says that it is elsewhere.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// This server's job records.
    #[must_use]
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// The record of one job.
    #[must_use]
    pub fn job(&self, job: JobId) -> PathBuf {
        self.jobs().join(format!("{job}.json"))
    }

    /// Which snapshots exist.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The object store's settings.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store.json")
    }

    /// The throttle's settings.
    #[must_use]
    pub fn throttle(&self) -> PathBuf {
        self.root.join("throttle.json")
    }

    /// The highest log entry ever seen.
    #[must_use]
    pub fn pin(&self) -> PathBuf {
        self.root.join("log.pin")
    }

    /// The lock that a job holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

fn set(variable: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// Makes a folder (and those above it) for its owner alone; one that is there stays as it is.
///
/// # Errors
/// Where it cannot be made.
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Puts `content` at `path`, whole or not at all, durable when this returns. What was there is replaced.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        bail!("{} is no file name", path.display())
    };
    let mut new_name = std::ffi::OsString::from(".");
    new_name.push(name);
    new_name.push(format!(".{}.new", std::process::id()));
    let new = folder.join(new_name);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&new)?;
        // The mode above only holds where the file is new, and passes through the umask.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder(folder)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Where the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file; that it is not there is fine.
///
/// # Errors
/// Where it is there and cannot be removed.
pub fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_atomically(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_state_folder_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home {
            root: folder.path().join("home"),
        };
        home.prepare().unwrap();
        fs::set_permissions(home.root(), Permissions::from_mode(0o755)).unwrap();
        home.prepare().unwrap();
        assert_eq!(fs::metadata(home.root()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_for_everybody_is_no_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(
            Home {
                root: folder.path().to_owned()
            }
            .prepare()
            .is_err()
        );
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o7777, 0o1777);
    }
}
