//! The options by which a command works on another machine's backups.

use std::path::PathBuf;

use clap::Args;

use crate::agent::access::right::Access;

/// Reading a vault as a machine that is not registered: the credentials, and whose backups.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AccessArgs {
    /// Use these credentials instead of this machine's registration; asks for the passphrase
    #[arg(
        long,
        value_name = "FILE",
        requires = "source_server",
        help_heading = "Another machine's backups"
    )]
    pub(crate) credentials: Option<PathBuf>,
    /// The server whose backups are wanted: its name, or the id of it or of its domain
    #[arg(
        long,
        value_name = "NAME",
        requires = "credentials",
        help_heading = "Another machine's backups"
    )]
    pub(crate) source_server: Option<String>,
}

impl AccessArgs {
    /// What the options mean. clap makes sure that either both are given or neither.
    pub(crate) fn access(&self) -> Access {
        match (&self.credentials, &self.source_server) {
            (Some(credentials), Some(server)) => Access::Borrowed {
                credentials: credentials.clone(),
                server: server.clone(),
            },
            _ => Access::Own,
        }
    }
}
