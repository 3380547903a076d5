//! The kinds of fault. Every error of this crate has exactly one, and callers decide by it: the pipeline whether to go
//! on, the command line with which exit code to end.
//!
//! The enum stands in a file of its own, because the errors of the store, the index and the keys all name it.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// What kind of fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An object of the vault is damaged, missing, cut off or forged. Other objects can still be read.
    Damaged,
    /// The store cannot be reached: the network, the endpoint, a mount or a disk is away.
    Away,
    /// The store refuses access.
    Refused,
    /// The credentials are expired, changed, or not for this vault, region or time.
    BadCredentials,
    /// The operator ended the right of this server, or of the credentials.
    Revoked,
    /// The store has no space left, or its quota is used up.
    StoreFull,
    /// This machine is short of something: handles, memory, threads, or space on a disk of its own.
    Shortage,
    /// The passphrase, the recovery key or this machine's key does not open the vault.
    WrongKey,
    /// The caller asked for something that makes no sense.
    Usage,
    /// The vault URL, a setting of the store or this machine's clock has to be corrected.
    Misconfigured,
    /// There is no such recovery point, or it is not clear which one is meant.
    NoSuchPoint,
    /// Another job holds what is needed.
    Busy,
    /// The server is not registered, or not with this vault.
    NotRegistered,
    /// Other servers were faster. The state has to be read anew before another attempt.
    Outpaced,
    /// Any other fault.
    Other,
}

impl Kind {
    /// Every kind, for tests and tables.
    pub const ALL: [Self; 15] = [
        Self::Damaged,
        Self::Away,
        Self::Refused,
        Self::BadCredentials,
        Self::Revoked,
        Self::StoreFull,
        Self::Shortage,
        Self::WrongKey,
        Self::Usage,
        Self::Misconfigured,
        Self::NoSuchPoint,
        Self::Busy,
        Self::NotRegistered,
        Self::Outpaced,
        Self::Other,
    ];
}

/// Whether this process may open no more files. Nothing but a higher limit helps, so this is not tried again.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::MFILE.raw_os_error())
}

/// The text of an error. If it says that this process may open no more files, the limit is added.
pub(crate) fn with_limit(error: &io::Error) -> String {
    if is_out_of_handles(error) {
        format!("{error}; {}", limit_words())
    } else {
        error.to_string()
    }
}

/// How many files this process may hold open, in words.
pub(crate) fn limit_words() -> String {
    open_files_limit().map_or_else(
        || "this process may hold any number of files open".to_owned(),
        |limit| format!("this process may hold {limit} files open"),
    )
}

/// How many files this process may hold open. `None`: as many as the system allows.
pub(crate) fn open_files_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether this process or this machine has no file handle or no memory left.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}
