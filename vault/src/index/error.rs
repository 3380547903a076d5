//! What can go wrong with the cache.

use crate::kind::{Kind, is_shortage, limit_words, with_limit};

/// Why the cache failed. The cache can be rebuilt from the vault, so nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Another process, or another job of this one, has it open.
    #[error("the cache folder {folder} is in use by another job")]
    Busy {
        /// The cache folder.
        folder: String,
    },
    /// No space is left for it.
    #[error("the cache folder {folder} is full")]
    Full {
        /// The cache folder.
        folder: String,
    },
    /// It cannot be read or written.
    #[error("the cache folder {folder}: {reason}")]
    Io {
        /// The cache folder.
        folder: String,
        /// The system's words.
        reason: String,
    },
    /// This process is short of file handles or memory.
    #[error("the cache folder {folder}: this machine is short of handles or memory: {reason}")]
    Shortage {
        /// The cache folder.
        folder: String,
        /// The system's words.
        reason: String,
    },
    /// It is corrupted. It will be dropped and rebuilt when it is next opened, so this is transient.
    #[error("the cache folder {folder} is corrupted: {reason}")]
    Corrupt {
        /// The cache folder.
        folder: String,
        /// RocksDB's words.
        reason: String,
    },
}

impl IndexError {
    /// What kind of fault it is. Space for the cache is this machine's own, so a full cache folder is a shortage.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Busy { .. } => Kind::Busy,
            Self::Full { .. } | Self::Shortage { .. } => Kind::Shortage,
            Self::Io { .. } | Self::Corrupt { .. } => Kind::Other,
        }
    }

    /// Whether a new attempt may succeed. It opens the cache anew.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Busy { .. } => "wait for the other job: `lockstone jobs list` shows it",
            Self::Full { .. } => "free space there, or move the cache with `lockstone cache move DIR`",
            Self::Shortage { .. } => {
                "raise the limit of open files (`ulimit -n`, or `LimitNOFILE=` of the service) or free memory, then \
                 run the same command again"
            }
            Self::Io { .. } => "check who owns the cache folder and which user runs this program",
            Self::Corrupt { .. } => "run the command again: the cache is rebuilt from the vault",
        })
    }

    /// Classifies an error of RocksDB.
    pub(super) fn sort(folder: &str, error: rocksdb::Error) -> Self {
        use rocksdb::ErrorKind as K;
        let kind = error.kind();
        let (folder, reason) = (folder.to_owned(), error.into_string());
        let says = |text: &str| reason.contains(text);
        match kind {
            K::Busy => Self::Busy { folder },
            K::IOError if says("lock file") || says("lock hold") => Self::Busy { folder },
            _ if says("No space left") || says("quota exceeded") => Self::Full { folder },
            K::IOError
                if says("Permission denied") || says("Operation not permitted") || says("Read-only file system") =>
            {
                Self::Io { folder, reason }
            }
            K::IOError if says("Too many open files in system") || says("Cannot allocate memory") => {
                Self::Shortage { folder, reason }
            }
            K::IOError if says("Too many open files") => {
                let reason = format!("{reason}; {}", limit_words());
                Self::Shortage { folder, reason }
            }
            K::TryAgain | K::TimedOut | K::Aborted | K::ShutdownInProgress => Self::Io { folder, reason },
            _ => Self::Corrupt { folder, reason },
        }
    }

    /// Classifies an error of the operating system.
    pub(super) fn io(folder: &str, error: &std::io::Error) -> Self {
        let (folder, reason) = (folder.to_owned(), error.to_string());
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { folder },
            _ if is_shortage(error) => {
                let reason = with_limit(error);
                Self::Shortage { folder, reason }
            }
            _ => Self::Io { folder, reason },
        }
    }
}
