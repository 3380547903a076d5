//! One daemon for each state folder, and its control socket.
//!
//! The lock is an flock on `agent.lock`, so it ends with the process in whatever way that ends. Who holds it may
//! replace a socket that a killed daemon left.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixListener;
use tokio::runtime::Handle;

use crate::agent::state::files::remove_if_there;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::socket::SocketPath;
use crate::failure::{Exit, Failure};

/// The right to be this state folder's daemon, until it is dropped.
#[derive(Debug)]
pub(super) struct Instance {
    socket: PathBuf,
    #[expect(dead_code, reason = "the open file holds the lock")]
    lock: File,
}

impl Instance {
    /// Fails with `busy` (exit 7) if another daemon has this state folder.
    pub(super) fn only(state: &StateFolder) -> Result<Instance, Failure> {
        let path = state.agent_lock();
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let message = format!("an agent runs already with the state folder {}", state.root().display());
            let hint = "`systemctl status lockstone` shows it, if systemd started it";
            return Err(Failure::new(Exit::Busy, "busy", message, hint));
        }
        Ok(Instance {
            socket: state.control_socket(),
            lock,
        })
    }

    /// Listens on the control socket. Only root and the owner of the state folder can connect.
    pub(super) fn listen(&self, runtime: &Handle) -> Result<UnixListener, Failure> {
        remove_if_there(&self.socket)?;
        let _entered = runtime.enter();
        let failed = || format!("cannot listen on {}", self.socket.display());
        let path = SocketPath::to(&self.socket).with_context(failed)?;
        let listener = UnixListener::bind(path.as_path()).with_context(failed)?;
        std::fs::set_permissions(&self.socket, Permissions::from_mode(0o600)).with_context(failed)?;
        Ok(listener)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A socket that stays is replaced by the next daemon, and nobody answers on it until then.
        let _ = remove_if_there(&self.socket);
    }
}
