//! What can go wrong with a store, sorted by what somebody can do about it. `Store` makes these; everybody else reads
//! them.

use std::error::Error;
use std::io;

/// An object could not be read or written. Each names the object (or the vault).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The vault URL means nothing.
    #[error("{url} is no vault URL: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// This program has no such store.
    #[error("{url}: vaults at {scheme}:// are not supported by this program")]
    Unsupported {
        /// What was given.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// The vault's folder is not there.
    #[error("there is no folder {url}")]
    NoFolder {
        /// The vault URL.
        url: String,
    },
    /// There is no such object.
    #[error("{object} is not in the vault")]
    NotFound {
        /// The object.
        object: String,
    },
    /// The file system of the vault is mounted read-only.
    #[error("{object} cannot be written: the vault is read-only")]
    ReadOnly {
        /// The object.
        object: String,
    },
    /// The vault's permissions, or the store's credentials, do not allow it.
    #[error("{object}: the vault denies access: {reason}")]
    Permission {
        /// The object.
        object: String,
        /// The store's words.
        reason: String,
    },
    /// No space is left, or the quota is used up.
    #[error("{object} cannot be written: the vault is full")]
    Full {
        /// The object.
        object: String,
    },
    /// The object is longer than the format allows.
    #[error("{object} has {len} bytes; at most {max} are believed")]
    TooLarge {
        /// The object.
        object: String,
        /// Its length, bytes.
        len: u64,
        /// The limit, bytes.
        max: u64,
    },
    /// The object ends too early.
    #[error("{object} ends after {found} bytes; {wanted} are needed")]
    Short {
        /// The object.
        object: String,
        /// Where the wanted part ends, bytes.
        wanted: u64,
        /// Where the object ends, bytes.
        found: u64,
    },
    /// The store does not answer, or asks to be left alone for a while. Transient.
    #[error("{object}: the vault cannot be reached: {reason}")]
    Unreachable {
        /// The object.
        object: String,
        /// The store's words.
        reason: String,
    },
    /// Anything else.
    #[error("{object}: {reason}")]
    Io {
        /// The object.
        object: String,
        /// The store's words.
        reason: String,
    },
}

impl StoreError {
    /// Whether trying again later may help without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the vault has no space left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether the vault may be read but not written, or not even read, by this user.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::ReadOnly { .. } | Self::Permission { .. })
    }

    /// Whether the object itself is wrong: missing, cut off, or longer than the format allows.
    #[must_use]
    pub fn is_object_fault(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Short { .. } | Self::TooLarge { .. })
    }

    /// What somebody can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::BadUrl { .. } => "give a path or file:///absolute/path",
            Self::Unsupported { .. } => "use a folder for now; object stores come with a later version",
            Self::NoFolder { .. } => {
                "mount the disk it is on, correct the path, or make a vault with: lockstone vault create URL"
            }
            Self::ReadOnly { .. } => "remount the vault's file system writable",
            Self::Permission { .. } => "check who owns the vault's folder and who runs this program",
            Self::Full { .. } => {
                "free space in the vault or enlarge it, then run the same command again: it continues where it stopped"
            }
            Self::Unreachable { .. } => "check the connection to the vault, or the mount",
            Self::NotFound { .. } | Self::TooLarge { .. } | Self::Short { .. } => "run: lockstone check",
            Self::Io { .. } => return None,
        })
    }

    /// Sorts an error of the `object_store` crate.
    pub(crate) fn sort(object: &str, error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let object = object.to_owned();
        match error {
            E::NotFound { .. } => Self::NotFound { object },
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Permission {
                object,
                reason: error.to_string(),
            },
            _ => match root_cause(error) {
                Some(cause) => Self::from_io(&object, cause),
                None => Self::Io {
                    object,
                    reason: error.to_string(),
                },
            },
        }
    }

    /// Sorts an error of the operating system.
    pub(crate) fn from_io(object: &str, error: &io::Error) -> Self {
        use rustix::io::Errno;
        let object = object.to_owned();
        let reason = error.to_string();
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full { object },
            Some(Errno::ROFS) => Self::ReadOnly { object },
            Some(Errno::ACCESS | Errno::PERM) => Self::Permission { object, reason },
            Some(Errno::NOENT) => Self::NotFound { object },
            Some(
                Errno::TIMEDOUT
                | Errno::CONNRESET
                | Errno::CONNREFUSED
                | Errno::CONNABORTED
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::NOTCONN
                | Errno::STALE
                | Errno::NODEV
                | Errno::AGAIN
                | Errno::INTR
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM,
            ) => Self::Unreachable { object, reason },
            _ => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
                    Self::Unreachable { object, reason }
                }
                _ => Self::Io { object, reason },
            },
        }
    }
}

/// The error of the operating system at the bottom of a chain, where there is one.
fn root_cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut found = None;
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = Some(io);
            // An io::Error may wrap another error, which `source` skips to the source of.
            if let Some(inner) = io.get_ref() {
                let inner: &(dyn Error + 'static) = inner;
                next = Some(inner);
                continue;
            }
        }
        next = error.source();
    }
    found
}
