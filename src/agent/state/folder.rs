//! Where the state folder is, and what is in it.
//!
//! ```text
//! agent.json              who this server is, and which vault it uses (0600)
//! machine.key             the secret of its machine slot, and its signing key (0600)
//! operator/<vault id>.key an operator's signing key, on the machine where a vault was created (0600)
//! cache/                  can be rebuilt: index, tree pages, journal (`cache move` puts it elsewhere)
//! cache.json              how much space must be free for it (`cache rules`)
//! jobs/<job id>.json      this server's own job records
//! alerts/                 this server's alerts, one file each
//! system-state/           what describes the system, as the last backup with it wrote it
//! snapshots/              which snapshots exist, so that those of a crashed run are removed
//! store.json              the object store's settings, for a process without such an environment (0600)
//! policy.json             the policy in force, with the text of its file (`policy set`)
//! policy.lock             held while the policy is changed
//! damage.json             what the last check found damaged in the vault, until it is healed
//! test-restore/           what a test restore restores, for as long as it takes
//! guard.json              the alarm about a strange backup, until it is cleared (`guard clear`)
//! throttle.json           the throttle's limits and windows (`throttle set`)
//! clock.json              the latest time ever seen: expired credentials stay expired if the clock is set back
//! log.pin                 the highest log entry ever seen: shows that a vault went back, even without the cache
//! orders.json             how many orders of the operator were seen: shows that some were taken away
//! lock                    held while a job runs; says which
//! agent.lock              held by the daemon
//! agent.sock              the daemon's control socket (0600)
//! ```
//!
//! Only the owner can enter the folder (0700). Files are replaced whole (see `files`).

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lockstone_proto::ids::{JobId, VaultId};

use super::files::private_folder;

/// The state folder.
#[derive(Debug, Clone)]
pub(crate) struct StateFolder {
    root: PathBuf,
}

impl StateFolder {
    /// The place of the state folder: `LOCKSTONE_HOME`, else the usual place for this user. The folder need not exist.
    pub(crate) fn locate() -> anyhow::Result<StateFolder> {
        let root = if let Some(root) = variable("LOCKSTONE_HOME") {
            std::path::absolute(root)?
        } else if rustix::process::geteuid().is_root() {
            PathBuf::from("/var/lib/lockstone")
        } else if let Some(state) = variable("XDG_STATE_HOME") {
            std::path::absolute(state)?.join("lockstone")
        } else if let Some(home) = variable("HOME") {
            PathBuf::from(home).join(".local/state/lockstone")
        } else {
            bail!("cannot tell where the state folder is: set LOCKSTONE_HOME");
        };
        Ok(StateFolder { root })
    }

    /// Makes the folder if it is missing, and closes it to other users.
    ///
    /// Fails if the folder cannot be made, belongs to another user, or is shared by all users, such as `/tmp`.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
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

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn registration(&self) -> PathBuf {
        self.root.join("agent.json")
    }

    /// The latest time that this machine has seen.
    pub(crate) fn clock(&self) -> PathBuf {
        self.root.join("clock.json")
    }

    /// Where files are restored on trial.
    pub(crate) fn test_restore(&self) -> PathBuf {
        self.root.join("test-restore")
    }

    /// What the last check found damaged.
    pub(crate) fn damage(&self) -> PathBuf {
        self.root.join("damage.json")
    }

    /// How many orders of the vault's operator were seen.
    pub(crate) fn orders(&self) -> PathBuf {
        self.root.join("orders.json")
    }

    pub(crate) fn machine_key(&self) -> PathBuf {
        self.root.join("machine.key")
    }

    /// The signing key of the operator of a vault that was created on this machine.
    pub(crate) fn operator_key(&self, vault: VaultId) -> PathBuf {
        self.root.join("operator").join(format!("{vault}.key"))
    }

    /// The cache folder, unless the registration says that it is elsewhere (see `Registration::cache_folder`).
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// How much space must be free for the cache folder.
    pub(crate) fn cache_limits(&self) -> PathBuf {
        self.root.join("cache.json")
    }

    pub(crate) fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    pub(crate) fn job(&self, job: JobId) -> PathBuf {
        self.jobs().join(format!("{job}.json"))
    }

    /// The alerts of this server.
    pub(crate) fn alerts(&self) -> PathBuf {
        self.root.join("alerts")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn store_settings(&self) -> PathBuf {
        self.root.join("store.json")
    }

    pub(crate) fn throttle_settings(&self) -> PathBuf {
        self.root.join("throttle.json")
    }

    /// The alarm about a strange backup.
    pub(crate) fn guard(&self) -> PathBuf {
        self.root.join("guard.json")
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.root.join("policy.json")
    }

    /// The highest log entry ever seen.
    pub(crate) fn pin(&self) -> PathBuf {
        self.root.join("log.pin")
    }

    /// Held by the daemon as long as it lives.
    pub(crate) fn agent_lock(&self) -> PathBuf {
        self.root.join("agent.lock")
    }

    /// Where the daemon answers.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.root.join("agent.sock")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// An environment variable; an empty one counts as not set.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder {
            root: folder.path().join("home"),
        };
        state.prepare().unwrap();
        fs::set_permissions(state.root(), Permissions::from_mode(0o755)).unwrap();
        state.prepare().unwrap();
        assert_eq!(fs::metadata(state.root()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_for_everybody_is_not_a_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        let state = StateFolder {
            root: folder.path().to_owned(),
        };
        assert!(state.prepare().is_err());
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o7777, 0o1777);
    }
}
