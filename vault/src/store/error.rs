//! What can go wrong with a store. `Store` makes these errors from those of `object_store` and of the operating system.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::fault::{Refusal, WireFault, WireKind};
use crate::kind::{Kind, is_out_of_handles, is_shortage, with_limit};

/// Why an object could not be read or written. Each variant names the object or the vault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The text is not a vault URL.
    #[error("{url} is not a vault URL: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// This program does not support stores of that scheme.
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
    /// A file would be longer than this process, or the file system of the vault, allows.
    #[error("{object} cannot be written: files of that length are not allowed here")]
    FileTooLong {
        /// The object.
        object: String,
    },
    /// The object is longer than the format allows.
    #[error("{object} has {len} bytes; the format allows at most {max}")]
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
    /// The object cannot be read, although other objects of the same store can: a bad sector, wrong permissions.
    #[error("{object} cannot be read, although others can: {reason}")]
    Unreadable {
        /// The object.
        object: String,
        /// The store's words.
        reason: String,
    },
    /// The store does not answer, or asks for a pause. Transient.
    #[error("{object}: the vault cannot be reached: {reason}")]
    Unreachable {
        /// The object.
        object: String,
        /// The store's words.
        reason: String,
    },
    /// The store did not answer until patience ended. Not transient.
    #[error("{object}: the vault could not be reached for {} s: {reason}", waited.as_secs())]
    Away {
        /// The object.
        object: String,
        /// How long it was tried.
        waited: Duration,
        /// The last reason, in the store's words.
        reason: String,
    },
    /// This machine is short of something that a request needs: file handles or memory. The store is not at fault.
    #[error("{object}: this machine is short of handles or memory: {reason}")]
    Shortage {
        /// The object.
        object: String,
        /// The system's words.
        reason: String,
        /// `None` if a new attempt may help. Otherwise for how long it was tried before it was given up.
        waited: Option<Duration>,
    },
    /// The object store refuses the request.
    #[error("{object}: {what}: {reason}")]
    Refused {
        /// Why.
        what: Refusal,
        /// The object.
        object: String,
        /// The store's words.
        reason: String,
    },
    /// A setting of an object store is wrong.
    #[error("{url} cannot be opened: {reason}")]
    BadSetting {
        /// The vault URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A variable of an object store has a value that cannot be right.
    #[error("{name} cannot be used: {reason}")]
    BadVariable {
        /// The variable.
        name: String,
        /// What is wrong. The value is not shown: it may be a secret.
        reason: &'static str,
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
    /// What kind of fault it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::BadUrl { .. } | Self::Unsupported { .. } | Self::BadSetting { .. } => Kind::Misconfigured,
            Self::BadVariable { .. } => Kind::Usage,
            Self::NoFolder { .. } | Self::Unreachable { .. } | Self::Away { .. } => Kind::Away,
            Self::NotFound { .. } | Self::TooLarge { .. } | Self::Short { .. } | Self::Unreadable { .. } => {
                Kind::Damaged
            }
            Self::ReadOnly { .. } | Self::Permission { .. } => Kind::Refused,
            Self::Full { .. } => Kind::StoreFull,
            Self::Shortage { .. } | Self::FileTooLong { .. } => Kind::Shortage,
            Self::Refused { what, .. } => what.kind(),
            Self::Io { .. } => Kind::Other,
        }
    }

    /// Whether a new attempt may succeed although nobody changed anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Shortage { waited: None, .. })
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the object itself is wrong: missing, cut off, unreadable, or longer than the format allows.
    #[must_use]
    pub fn is_object_fault(&self) -> bool {
        self.kind() == Kind::Damaged
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::BadUrl { .. } | Self::Unsupported { .. } => {
                "give a path, `file:///absolute/path`, `s3://bucket/prefix` or `az://container/prefix`"
            }
            Self::Refused { what, .. } => what.hint(),
            Self::BadSetting { .. } | Self::BadVariable { .. } => {
                "correct the store's variables, or `store.json` in the state folder: docs/operations.md lists all \
                 settings"
            }
            Self::Away { .. } => {
                "check the store and the network, then run the same command again: it continues where it stopped; \
                 `--store-patience` sets how long to wait"
            }
            Self::NoFolder { .. } => "mount the disk it is on, or correct the path",
            Self::ReadOnly { .. } => "remount the vault's file system writable",
            Self::Permission { .. } => "check who owns the vault's folder and which user runs this program",
            Self::Full { .. } => {
                "free space in the vault or enlarge it, then run the same command again: it continues where it stopped"
            }
            Self::Shortage { .. } => {
                "raise the limit of open files (`ulimit -n`, or `LimitNOFILE=` of the service) or free memory, then \
                 run the same command again"
            }
            Self::FileTooLong { .. } => {
                "raise the limit of file sizes (`ulimit -f`, or `LimitFSIZE=` of the service), then run the same command \
                 again"
            }
            Self::Unreachable { .. } => "check the connection to the vault, its endpoint and proxy, or the mount",
            Self::NotFound { .. } | Self::TooLarge { .. } | Self::Short { .. } | Self::Unreadable { .. } => {
                "run `lockstone check` to see what is damaged"
            }
            Self::Io { .. } => return None,
        })
    }

    /// Classifies an error of the `object_store` crate.
    pub(crate) fn sort(object: &str, error: &object_store::Error) -> Self {
        use object_store::Error as E;
        if let Some(fault) = WireFault::find(error) {
            return Self::of_wire(object, fault);
        }
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

    /// Errors that concern the whole store name its URL instead of the object that happened to be asked for.
    #[must_use]
    pub(crate) fn named(mut self, url: &str) -> Self {
        match &mut self {
            Self::Away { object, .. } | Self::Unreachable { object, .. } | Self::Full { object } => {
                url.clone_into(object);
            }
            Self::Refused { what, object, .. } if *what != Refusal::NotAllowed => url.clone_into(object),
            Self::Refused { object, .. } => *object = format!("{url}: {object}"),
            _ => {}
        }
        self
    }

    fn of_wire(object: &str, fault: &WireFault) -> Self {
        let (object, reason) = (object.to_owned(), fault.reason.clone());
        match fault.kind {
            WireKind::Passing(_) | WireKind::Outwaited => Self::Unreachable { object, reason },
            WireKind::Unreadable => Self::Unreadable { object, reason },
            WireKind::Away(waited) => Self::Away { object, waited, reason },
            WireKind::Shortage(waited) => Self::Shortage { object, reason, waited },
            WireKind::Refused(what) => Self::Refused { what, object, reason },
            WireKind::Full => Self::Full { object },
            WireKind::Other => Self::Io { object, reason },
        }
    }

    /// Classifies an error of the operating system.
    pub(crate) fn from_io(object: &str, error: &io::Error) -> Self {
        use rustix::io::Errno;
        let object = object.to_owned();
        let reason = error.to_string();
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { object },
            Some(Errno::FBIG) => Self::FileTooLong { object },
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
                | Errno::INTR,
            ) => Self::Unreachable { object, reason },
            _ if is_out_of_handles(error) => Self::Shortage {
                object,
                reason: with_limit(error),
                waited: Some(Duration::ZERO),
            },
            _ if is_shortage(error) => Self::Shortage {
                object,
                reason,
                waited: None,
            },
            _ => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
                    Self::Unreachable { object, reason }
                }
                _ => Self::Io { object, reason },
            },
        }
    }
}

/// The innermost error of the operating system in a chain of errors.
fn root_cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut found = None;
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = Some(io);
            // `source` skips an error that an io::Error wraps directly, so it is looked at here.
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
