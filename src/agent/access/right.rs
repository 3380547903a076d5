//! By which right a vault is opened.

use std::path::PathBuf;

use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;

/// Whose backups are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Access {
    /// Those of this server, by its registration.
    #[default]
    Own,
    /// Those of the server of this name, by the credentials in a file and a passphrase.
    Borrowed { credentials: PathBuf, server: String },
}

/// By which right a vault is opened: an [`Access`] with what this machine knows for it.
#[derive(Debug)]
pub(crate) enum Right {
    /// This machine's own registration.
    Own(Box<Registration>),
    /// The credentials in a file, for the backups of the server of this name.
    Borrowed { credentials: PathBuf, server: String },
}

impl Access {
    /// The state folder for a job, and its right. Fails with `not-registered` (exit 8) if the right is this machine's
    /// registration and there is none.
    pub(crate) fn right(&self) -> Result<(StateFolder, Right), Failure> {
        match self {
            Access::Own => {
                let (state, registration) = registered()?;
                Ok((state, Right::Own(Box::new(registration))))
            }
            Access::Borrowed { credentials, server } => {
                let state = StateFolder::locate()?;
                state.prepare()?;
                let right = Right::Borrowed {
                    credentials: credentials.clone(),
                    server: server.clone(),
                };
                Ok((state, right))
            }
        }
    }
}

/// The state folder and the registration of this machine. Fails with `not-registered` (exit 8) if there is none.
pub(crate) fn registered() -> Result<(StateFolder, Registration), Failure> {
    let state = StateFolder::locate()?;
    let registration = Registration::required(&state)?;
    state.prepare()?;
    Ok((state, registration))
}
