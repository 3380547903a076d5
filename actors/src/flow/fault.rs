//! What ends a stage before its work is done. A [`Fault`] is a cause, and says what a person can do about it; the other
//! [`Stop`]s are echoes of a cause somewhere else, and are never shown.

use std::fmt;

use lockstone_vault::VaultError;
use lockstone_vault::crypto::keys::NoRandom;
use lockstone_vault::index::IndexError;
use lockstone_vault::pack::PackBroken;
use lockstone_vault::pack::frame::FrameBroken;
use lockstone_vault::pack::segment::SegmentBroken;
use lockstone_vault::store::StoreError;
use lockstone_vault::tree::TreeError;

/// What the supervisor does about a fault depends on this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// May pass: a store that can't be reached, a panic. A new generation is started after a while.
    Transient,
    /// Bytes in the vault, or on the way to it, are not what they must be. Never restarted.
    Integrity,
    /// Keys, signatures, admission. Never restarted.
    Key,
    /// Another process has what is needed.
    Busy,
    /// Anything else that trying again won't mend: a full disk, a missing source.
    Permanent,
}

/// Why a stage could not go on, in words for a person.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What the supervisor goes by.
    pub kind: FaultKind,
    /// What happened, to what.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Fault {
    /// A fault of the kind given, without a hint.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: String::new(),
        }
    }

    /// One that may pass.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Transient, message)
    }

    /// One that won't.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Permanent, message)
    }

    /// Broken bytes.
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Integrity, message)
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<VaultError> for Fault {
    fn from(error: VaultError) -> Self {
        let kind = if error.is_busy() {
            FaultKind::Busy
        } else if error.is_transient() {
            FaultKind::Transient
        } else if error.is_key_fault() {
            FaultKind::Key
        } else if error.is_damage() {
            FaultKind::Integrity
        } else {
            FaultKind::Permanent
        };
        let hint = error.hint().unwrap_or_default();
        Self {
            kind,
            message: error.to_string(),
            hint,
        }
    }
}

/// Errors of the format's own layers mean that bytes are not what they must be.
macro_rules! integrity {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::integrity(error.to_string())
            }
        }

        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::Fault(error.into())
            }
        })*
    };
}

integrity!(TreeError, FrameBroken, PackBroken, SegmentBroken);

impl From<NoRandom> for Fault {
    fn from(error: NoRandom) -> Self {
        Self::permanent(error.to_string())
    }
}

impl From<IndexError> for Fault {
    fn from(error: IndexError) -> Self {
        VaultError::from(error).into()
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        VaultError::from(error).into()
    }
}

/// Why a stage's body returned early.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    /// The generation was cancelled.
    Cancelled,
    /// The stage behind or before the named channel went away without finishing.
    Broken(&'static str),
    /// This stage met the cause itself.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

macro_rules! stop {
    ($($error:ty),*) => {
        $(impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::Fault(error.into())
            }
        })*
    };
}

stop!(VaultError, IndexError, StoreError, NoRandom);
