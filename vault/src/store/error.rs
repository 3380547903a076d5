//! What can go wrong with a store, sorted by what somebody can do about it. `Store` makes these; everybody else reads
//! them.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::fault::{WireFault, WireKind};

/// Why an object store says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It does not know the keys, or there are none.
    Keys,
    /// The keys do not allow what was asked.
    NotAllowed,
    /// Its clock and this machine's are too far apart.
    Clock,
    /// There is no such bucket or container.
    NoBucket,
    /// The bucket is elsewhere.
    Region,
    /// No secure connection came about.
    Tls,
    /// A proxy on the way says no.
    Proxy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "the store does not accept the keys",
            Self::NotAllowed => "the store does not allow it",
            Self::Clock => "the clocks of the store and of this machine are too far apart",
            Self::NoBucket => "the store has no such bucket or container",
            Self::Region => "the bucket is in another region",
            Self::Tls => "no secure connection to the store",
            Self::Proxy => "the proxy does not let it through",
        })
    }
}

impl Refusal {
    fn hint(self) -> &'static str {
        match self {
            Self::Keys => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, \
                 to keys that are good for this store"
            }
            Self::NotAllowed => {
                "the keys must be allowed to list, read and create below the vault's prefix, and for collecting to delete: \
                 docs/operations.md has the policies"
            }
            Self::Clock => "set this machine's clock (timedatectl set-ntp true), then run it again",
            Self::NoBucket => "correct the URL or the endpoint, or make the bucket with the store's own tools",
            Self::Region => "set AWS_REGION to the region of the bucket",
            Self::Tls => {
                "check that the endpoint is https, its name and its certificate; SSL_CERT_FILE or AWS_CA_BUNDLE names \
                 certificates to trust"
            }
            Self::Proxy => "correct HTTPS_PROXY or HTTP_PROXY, or name the store in NO_PROXY",
        }
    }
}

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
    /// The store did not answer for so long that nobody waits for it any more.
    #[error("{object}: the vault could not be reached for {} s: {reason}", waited.as_secs())]
    Away {
        /// The object.
        object: String,
        /// How long it was tried.
        waited: Duration,
        /// The last reason, in the store's words.
        reason: String,
    },
    /// An object store says no.
    #[error("{object}: {what}: {reason}")]
    Refused {
        /// Why.
        what: Refusal,
        /// The object.
        object: String,
        /// The store's words.
        reason: String,
    },
    /// A setting of an object store makes no sense.
    #[error("{url} cannot be opened: {reason}")]
    BadSetting {
        /// The vault URL.
        url: String,
        /// What is wrong.
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
        match self {
            Self::ReadOnly { .. } | Self::Permission { .. } => true,
            Self::Refused { what, .. } => matches!(what, Refusal::Keys | Refusal::NotAllowed | Refusal::Proxy),
            _ => false,
        }
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
            Self::BadUrl { .. } | Self::Unsupported { .. } => {
                "give a path, file:///absolute/path, s3://bucket/prefix or az://container/prefix"
            }
            Self::Refused { what, .. } => what.hint(),
            Self::BadSetting { .. } => {
                "correct the store's variables or the [store] table: docs/operations.md has them all"
            }
            Self::Away { .. } => {
                "check the store and the way to it, then run the same command again: it continues where it stopped; \
                 --store-patience says how long to wait"
            }
            Self::NoFolder { .. } => {
                "mount the disk it is on, correct the path, or make a vault with: lockstone vault create URL"
            }
            Self::ReadOnly { .. } => "remount the vault's file system writable",
            Self::Permission { .. } => "check who owns the vault's folder and who runs this program",
            Self::Full { .. } => {
                "free space in the vault or enlarge it, then run the same command again: it continues where it stopped"
            }
            Self::Unreachable { .. } => "check the connection to the vault, its endpoint and proxy, or the mount",
            Self::NotFound { .. } | Self::TooLarge { .. } | Self::Short { .. } => "run: lockstone check",
            Self::Io { .. } => return None,
        })
    }

    /// Sorts an error of the `object_store` crate.
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

    /// What concerns the store as a whole names it, and not the object that happened to be asked for.
    #[must_use]
    pub(crate) fn named(mut self, url: &str) -> Self {
        match &mut self {
            Self::Away { object, .. } | Self::Unreachable { object, .. } => url.clone_into(object),
            Self::Refused { what, object, .. } if *what != Refusal::NotAllowed => url.clone_into(object),
            Self::Refused { object, .. } => *object = format!("{url}: {object}"),
            _ => {}
        }
        self
    }

    fn of_wire(object: &str, fault: &WireFault) -> Self {
        let (object, reason) = (object.to_owned(), fault.reason.clone());
        match fault.kind {
            WireKind::Passing(_) => Self::Unreachable { object, reason },
            WireKind::Away(waited) => Self::Away { object, waited, reason },
            WireKind::Refused(what) => Self::Refused { what, object, reason },
            WireKind::Full => Self::Full { object },
            WireKind::Other => Self::Io { object, reason },
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
