//! What can go wrong with a vault. Callers decide by the [`Kind`] of an error whether to try again, stop, report
//! damage, or ask for another key. All functions above the store and the seals return `VaultError`.

use lockstone_proto::ids::{ChunkId, PointId};

use jiff::Timestamp;

use crate::access::CredentialsError;
use crate::access::error::{because, local};
use crate::crypto::keys::NoRandom;
use crate::crypto::slots::SlotError;
use crate::damage::{Damage, DamageKind};
use crate::index::IndexError;
pub use crate::kind::Kind;
use crate::store::StoreError;

/// What failed, and on what.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cache failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The credentials are expired, changed, or not for this vault.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The operating system gives no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The store can be read, but there is no vault in it.
    #[error("{url} is not a vault")]
    NotAVault {
        /// The vault URL.
        url: String,
    },
    /// `vault create` was given the URL of a vault.
    #[error("{url} is already a vault")]
    AlreadyAVault {
        /// The vault URL.
        url: String,
    },
    /// `vault create` was given a place inside another vault.
    #[error("{url} is inside the vault {around}")]
    InsideVault {
        /// The vault URL.
        url: String,
        /// The vault around it.
        around: String,
    },
    /// `vault create` was given a place that holds something else.
    #[error("{url} is neither empty nor a vault")]
    NotEmpty {
        /// The vault URL.
        url: String,
    },
    /// The store does not keep the promises that a vault needs.
    #[error("{url} cannot hold a vault: {}", lines.join("; "))]
    Unfit {
        /// The vault URL.
        url: String,
        /// What the probe found.
        lines: Vec<String>,
    },
    /// A newer version of the program wrote the object.
    #[error("{object} has format {found}; this program reads formats up to {known}")]
    NewerFormat {
        /// The object.
        object: String,
        /// Its format.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// The vault, or an entry of its log, asks for something that this program does not know.
    #[error("{object} needs `{word}`, which this version of lockstone does not know")]
    NewerFeature {
        /// What asks for it.
        object: String,
        /// The word for it.
        word: String,
    },
    /// The vault at the URL is not the one that this machine or these credentials know.
    #[error("{url} is another vault than the one this server is registered with")]
    OtherVault {
        /// The vault URL.
        url: String,
    },
    /// An object of the vault is damaged, missing or forged.
    #[error("{kind} {object} is damaged: {reason}", kind = .kind.name())]
    Damaged {
        /// What it is.
        kind: DamageKind,
        /// Its name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log lacks an entry that this machine has seen in it.
    #[error("the vault's log went back: entry {known} was there, now {found}")]
    RolledBack {
        /// The position this machine knows.
        known: u64,
        /// What was found there, in words.
        found: String,
    },
    /// No passphrase slot opens with this passphrase.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// No slot for this machine opens with its secret.
    #[error("this machine's key does not open the vault: no slot of this server opens with it")]
    WrongMachineKey,
    /// No recovery slot opens with this key.
    #[error("the recovery key is wrong")]
    WrongRecoveryKey,
    /// A key slot could not be used or made.
    #[error("key slot: {0}")]
    Slot(#[from] SlotError),
    /// The domain has no key slot of that kind.
    #[error("domain {domain} has no {kind} key slot")]
    NoSlot {
        /// The domain, hex.
        domain: String,
        /// Which kind.
        kind: &'static str,
    },
    /// Packs that this backup relies on may have been condemned since it began. Transient: a new attempt reads the
    /// index anew.
    #[error("the vault was collected while this ran (log entry {n})")]
    LostRace {
        /// The first log entry that condemned or replaced packs.
        n: u64,
    },
    /// Other servers took every place in the log that this machine tried. Transient.
    #[error("other servers keep writing to the vault's log")]
    TooManyAttempts,
    /// The domain was opened without a signing key.
    #[error("this machine is not registered with the vault, so it cannot write to it")]
    ReadOnly,
    /// The server has no valid registration in the domain: it is missing, damaged, or of another domain.
    #[error("server {server} has no valid registration in domain {domain}")]
    NotRegistered {
        /// The server, hex.
        server: String,
        /// The domain, hex.
        domain: String,
    },
    /// The operator ended this server's right to write.
    #[error("the vault's operator ended this server's right to write on {}{}", local(*.at), because(.reason))]
    Revoked {
        /// When.
        at: Timestamp,
        /// What the operator said about it; may be empty.
        reason: String,
    },
    /// The log has no such recovery point.
    #[error("there is no recovery point {0}")]
    NoSuchPoint(String),
    /// Several recovery points begin with the given prefix.
    #[error("{prefix} is the beginning of several recovery points: {}", .points.iter().map(PointId::hex).collect::<Vec<_>>().join(", "))]
    AmbiguousPoint {
        /// What was given.
        prefix: String,
        /// Some of the points that begin with it.
        points: Vec<PointId>,
    },
    /// The text is not an id, a prefix of one, or `latest`.
    #[error("{0} is not a recovery point: give its id, the first 6 or more digits of it, or latest")]
    BadPoint(String),
    /// The deleted point cannot come back: the vault was collected after it was deleted.
    #[error("recovery point {0} can no longer be brought back: the vault was collected since it was deleted")]
    TooLate(PointId),
    /// It is not known what is needed, so nothing may be condemned.
    #[error("nothing can be collected: {0}")]
    NotCollected(String),
    /// The point is held, so it is not deleted.
    #[error("recovery point {point} is held and cannot be deleted: {reason}")]
    Held {
        /// The point.
        point: PointId,
        /// Why it is held.
        reason: String,
    },
    /// The point is deleted, so it cannot be held.
    #[error("recovery point {0} is deleted")]
    Deleted(PointId),
    /// No readable segment lists the chunk.
    #[error("chunk {0} is in no segment that could be read")]
    UnknownChunk(ChunkId),
}

impl VaultError {
    /// What kind of fault it is: the only classification of errors. Exit codes and the pipeline's decisions follow from
    /// it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Credentials(error) => error.kind(),
            Self::Slot(error) => error.kind(),
            Self::Damaged { .. } | Self::RolledBack { .. } | Self::UnknownChunk(_) | Self::NotCollected(_) => {
                Kind::Damaged
            }
            Self::WrongPassphrase | Self::WrongMachineKey | Self::WrongRecoveryKey | Self::NoSlot { .. } => {
                Kind::WrongKey
            }
            Self::Revoked { .. } => Kind::Revoked,
            Self::LostRace { .. } | Self::TooManyAttempts => Kind::Outpaced,
            Self::ReadOnly | Self::NotRegistered { .. } | Self::OtherVault { .. } => Kind::NotRegistered,
            Self::BadPoint(_) => Kind::Usage,
            Self::NoSuchPoint(_) | Self::AmbiguousPoint { .. } => Kind::NoSuchPoint,
            Self::Held { .. } => Kind::Refused,
            Self::Random(_)
            | Self::NotAVault { .. }
            | Self::AlreadyAVault { .. }
            | Self::NotEmpty { .. }
            | Self::InsideVault { .. }
            | Self::Unfit { .. }
            | Self::NewerFormat { .. }
            | Self::NewerFeature { .. }
            | Self::TooLate(_)
            | Self::Deleted(_) => Kind::Other,
        }
    }

    /// Whether a new attempt may succeed although nobody changed anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Index(error) => error.is_transient(),
            _ => self.kind() == Kind::Outpaced,
        }
    }

    /// Whether an object of the vault is damaged, missing or forged.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.kind() == Kind::Damaged
    }

    /// Whether the passphrase or key is wrong.
    #[must_use]
    pub fn is_key_fault(&self) -> bool {
        self.kind() == Kind::WrongKey
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Store(error) => return error.hint().map(str::to_owned),
            Self::Index(error) => return error.hint().map(str::to_owned),
            Self::Credentials(error) => return error.hint().map(str::to_owned),
            Self::NotAVault { url } => {
                format!(
                    "if a vault was there, mount its disk or put it back; otherwise correct the path, or make a new \
                     vault with `lockstone vault create {url}`"
                )
            }
            Self::AlreadyAVault { .. } => "use it as it is, or give another folder".to_owned(),
            Self::InsideVault { .. } => "give a folder or a prefix that is beside that vault".to_owned(),
            Self::NotEmpty { .. } => "give an empty or new folder".to_owned(),
            Self::Unfit { .. } => "use another store".to_owned(),
            Self::NewerFormat { .. } | Self::NewerFeature { .. } => "install a newer version of lockstone".to_owned(),
            Self::OtherVault { .. } => {
                "correct the path or mount, or register this server anew with `lockstone register`".to_owned()
            }
            Self::Damaged { .. } | Self::UnknownChunk(_) => {
                "run `lockstone check --read-data` to see what is damaged; what is undamaged can still be restored"
                    .to_owned()
            }
            Self::NotCollected(_) => {
                "`lockstone check` names what is damaged; repair it with `lockstone check --repair`, or delete the \
                 recovery points that lost something, then collect again"
                    .to_owned()
            }
            Self::RolledBack { .. } => {
                "if the vault was put back from a copy on purpose, run `lockstone unregister`, then `lockstone \
                 register` with the same name and passphrase; otherwise somebody removed entries: find out who, \
                 before anything is written to the vault"
                    .to_owned()
            }
            Self::WrongPassphrase => "give the passphrase with which this domain was registered".to_owned(),
            Self::WrongMachineKey => "register this server anew, or give the passphrase".to_owned(),
            Self::WrongRecoveryKey | Self::Slot(SlotError::Mistyped(_)) => {
                "type the recovery key as it was printed".to_owned()
            }
            Self::NoSlot { .. } | Self::Slot(SlotError::Damaged(_)) => {
                "use another key of this domain: passphrase, machine key or recovery key".to_owned()
            }
            Self::LostRace { .. } | Self::TooManyAttempts => "run the same command again".to_owned(),
            Self::ReadOnly | Self::NotRegistered { .. } => "register this server with `lockstone register`".to_owned(),
            Self::Revoked { .. } => {
                "ask the operator; with new credentials, `lockstone unregister` and `lockstone register` make this \
                 machine a new server"
                    .to_owned()
            }
            Self::NoSuchPoint(_) | Self::AmbiguousPoint { .. } | Self::BadPoint(_) => {
                "`lockstone points list` shows the recovery points".to_owned()
            }
            Self::Held { .. } => "`lockstone points release POINT` releases it".to_owned(),
            Self::Deleted(_) => "bring it back first: `lockstone points undelete POINT`".to_owned(),
            Self::Slot(SlotError::Version(_)) => "install a newer version of lockstone".to_owned(),
            Self::Slot(SlotError::Argon { .. }) => {
                "free memory on this machine, then run the same command again".to_owned()
            }
            Self::Slot(SlotError::WrongKey | SlotError::Kind | SlotError::Random(_))
            | Self::Random(_)
            | Self::TooLate(_) => return None,
        })
    }

    /// The damage that this error reports; the error itself if it reports none. `kind` and `object` describe what was
    /// read, for errors that do not name it themselves.
    pub(crate) fn into_damage(self, kind: DamageKind, object: &str) -> Result<Damage, Self> {
        match self {
            Self::Damaged { kind, object, reason } => Ok(Damage::new(kind, object, reason)),
            Self::UnknownChunk(id) => Ok(Damage::new(
                DamageKind::Chunk,
                id.hex(),
                "it is in no segment that could be read",
            )),
            other if other.is_damage() => Ok(Damage::new(kind, object, other)),
            other => Err(other),
        }
    }

    /// A damaged object: what it is, its name, and what is wrong with it.
    pub(crate) fn damaged(kind: DamageKind, object: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Damaged {
            kind,
            object: object.into(),
            reason: reason.to_string(),
        }
    }
}

impl From<&Damage> for VaultError {
    fn from(damage: &Damage) -> Self {
        Self::Damaged {
            kind: damage.kind,
            object: damage.object.clone(),
            reason: damage.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
