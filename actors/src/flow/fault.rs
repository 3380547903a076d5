//! What ends a stage before its work is done. A [`Fault`] is a cause: it has a kind and says what the user can do about
//! it. The other [`Stop`]s are echoes of a cause somewhere else, and are never shown.

use std::fmt;
use std::io;

use lockstone_host::process::{is_out_of_handles, open_files_limit};
use lockstone_vault::VaultError;
use lockstone_vault::crypto::keys::NoRandom;
use lockstone_vault::error::Kind;
use lockstone_vault::index::IndexError;
use lockstone_vault::pack::PackBroken;
use lockstone_vault::pack::frame::FrameBroken;
use lockstone_vault::pack::segment::SegmentBroken;
use lockstone_vault::store::StoreError;
use lockstone_vault::tree::TreeError;

/// Why a stage could not go on, in words for a person.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What kind of fault it is.
    pub kind: Kind,
    /// Whether a new generation may succeed although nobody changed anything. The supervisor restarts only then.
    pub transient: bool,
    /// What happened, to what.
    pub message: String,
    /// What to do; may be empty. In lower case, without a full stop, commands in backticks.
    pub hint: String,
}

impl Fault {
    /// A fault of the kind given that lasts, without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            transient: false,
            message: message.into(),
            hint: String::new(),
        }
    }

    /// A fault that may pass, such as a panic.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::new(Kind::Other, message)
        }
    }

    /// A fault that lasts and has no kind of its own.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    /// Bytes in the vault, or on the way to it, are not what they must be.
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, message)
    }

    /// The fault if an error says that no more files can be opened; `None` for any other error. Such an error is no
    /// fault of what was to be opened, `what` (a path, or words): it would cost every file that follows.
    pub(crate) fn if_out_of_handles(what: &[u8], error: &io::Error) -> Option<Self> {
        is_out_of_handles(error).then(|| {
            let (what, limit) = (String::from_utf8_lossy(what), open_files_limit());
            let message = format!("{what}: {error}; this process may hold {limit} files open");
            Self::new(Kind::Shortage, message)
                .hint("raise the limit of open files (`ulimit -n`, or `LimitNOFILE=` of the service) and run it again")
        })
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Whether the fault of one object may be recorded, so that the job can go on with the others. Every other fault
    /// would meet the next object, too, and ends the generation.
    pub(crate) fn costs_one_object(&self) -> bool {
        !self.transient && self.kind == Kind::Damaged
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<VaultError> for Fault {
    fn from(error: VaultError) -> Self {
        Self {
            kind: error.kind(),
            transient: error.is_transient(),
            message: error.to_string(),
            hint: error.hint().unwrap_or_default(),
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
        VaultError::from(error).into()
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use lockstone_vault::store::Refusal;

    use super::*;

    #[test]
    fn a_refusal_ends_the_job_and_damage_costs_one_object() {
        let (object, reason) = ("packs/x".to_owned(), "403".to_owned());
        let refused = Fault::from(StoreError::Refused {
            what: Refusal::Keys,
            object: object.clone(),
            reason: reason.clone(),
        });
        assert_eq!((refused.kind, refused.transient), (Kind::Refused, false));
        assert!(!refused.costs_one_object());
        let missing = Fault::from(StoreError::NotFound { object: object.clone() });
        assert!(missing.costs_one_object() && !missing.transient);
        let passing = Fault::from(StoreError::Unreachable { object, reason });
        assert!(!passing.costs_one_object() && passing.transient);
        assert!(!Fault::transient("a panic").costs_one_object());
    }

    #[test]
    fn hints_are_written_in_one_style() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                for after in text.split(".hint(\"").skip(1) {
                    let hint = after.split("\")").next().unwrap();
                    let first = hint.chars().next().unwrap();
                    assert!(first == '`' || first.is_lowercase(), "{}: {hint}", path.display());
                    assert!(!hint.ends_with('.'), "{}: {hint}", path.display());
                }
            }
        }
    }
}
