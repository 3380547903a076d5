//! How a command ends: the exit codes that scripts rely on, and the failure every command returns.
//!
//! A failure says what happened, to what, and what to do. It becomes lines on stderr and, with `--json`, the member
//! `error` of the one document on stdout.

use std::fmt;

use lockstone_actors::JobError;
use lockstone_vault::VaultError;
use lockstone_vault::access::credentials::CredentialsError;
use lockstone_vault::crypto::slots::SlotError;
use lockstone_vault::error::Kind;
use lockstone_vault::store::StoreError;

/// The program's exit codes. Their numbers are part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Done, and something deserves a look.
    Warnings = 3,
    /// Cancelled by a signal.
    Cancelled = 4,
    /// Wrong passphrase, bad or expired credentials, not permitted.
    Refused = 5,
    /// The vault is damaged.
    Damaged = 6,
    /// Another job runs.
    Busy = 7,
    /// This server is not registered (or, for `register`, it is already).
    NotRegistered = 8,
}

impl Exit {
    /// The meaning of the exit code that a child process of this program gave. Unknown numbers are plain failures.
    #[must_use]
    pub(crate) fn from_code(code: i32) -> Exit {
        match code {
            0 => Exit::Done,
            2 => Exit::Usage,
            3 => Exit::Warnings,
            4 => Exit::Cancelled,
            5 => Exit::Refused,
            6 => Exit::Damaged,
            7 => Exit::Busy,
            8 => Exit::NotRegistered,
            _ => Exit::Failed,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// A fixed word for scripts.
    pub(crate) code: &'static str,
    /// What happened, to what.
    pub(crate) message: String,
    /// What to do about it; may be empty.
    pub(crate) hint: String,
}

impl Failure {
    /// A failure with everything said.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure {
            exit,
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A plain failure (exit 1).
    pub(crate) fn failed(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, code, message, hint)
    }

    /// The command line makes no sense (exit 2).
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, "usage", message, hint)
    }

    /// Refused (exit 5).
    pub(crate) fn refused(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Exit::Refused, code, message, hint)
    }

    /// Cancelled by the user (exit 4).
    #[must_use]
    pub(crate) fn cancelled() -> Failure {
        Failure::new(Exit::Cancelled, "cancelled", "cancelled", "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for line in self.hint.lines().filter(|line| !line.trim().is_empty()) {
            write!(f, "\n  hint: {line}")?;
        }
        Ok(())
    }
}

/// A file of this machine cannot be read or written, most often one of the state folder.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        use std::io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let cause = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let message = format!("{error:#}");
        match cause.map(std::io::Error::kind) {
            Some(StorageFull | QuotaExceeded) => {
                Failure::failed("shortage", message, format!("free space on that disk\n{ELSEWHERE}"))
            }
            Some(ReadOnlyFilesystem) => {
                let hint = format!("mount that file system writable\n{ELSEWHERE}");
                Failure::failed("failed", message, hint)
            }
            Some(FileTooLarge) => {
                let hint = "raise the limit of file sizes (`ulimit -f`, or `LimitFSIZE=` of the service)";
                Failure::failed("shortage", message, hint)
            }
            Some(PermissionDenied) => {
                let hint = "run it as the user who owns the folder, or point LOCKSTONE_HOME to a folder of your own";
                Failure::failed("failed", message, hint)
            }
            _ if error.chain().any(|cause| cause.is::<serde_json::Error>()) => {
                let hint = "that file is damaged: put it back from a copy, or move it away and run the command again, \
                            which says how to go on";
                Failure::failed("failed", message, hint)
            }
            _ => Failure::failed("failed", message, ""),
        }
    }
}

/// The way out where the state folder cannot be written.
const ELSEWHERE: &str = "with LOCKSTONE_HOME on another disk, `restore`, `check` and `points` work with `--credentials \
                         FILE --source-server NAME` and the passphrase";

/// The exit code and the word for scripts of each kind of fault. This is the only such table in the program.
fn code_of(kind: Kind) -> (Exit, &'static str) {
    match kind {
        Kind::Damaged => (Exit::Damaged, "damaged"),
        Kind::Away => (Exit::Failed, "unreachable"),
        Kind::Refused => (Exit::Refused, "refused"),
        Kind::BadCredentials => (Exit::Refused, "bad-credentials"),
        Kind::Revoked => (Exit::Refused, "revoked"),
        Kind::StoreFull => (Exit::Failed, "store-full"),
        Kind::Shortage => (Exit::Failed, "shortage"),
        Kind::WrongKey => (Exit::Refused, "wrong-passphrase"),
        Kind::Usage => (Exit::Usage, "usage"),
        Kind::Misconfigured => (Exit::Failed, "misconfigured"),
        Kind::NoSuchPoint => (Exit::Failed, "no-such-point"),
        Kind::Busy => (Exit::Busy, "busy"),
        Kind::NotRegistered => (Exit::NotRegistered, "not-registered"),
        Kind::Outpaced => (Exit::Failed, "outpaced"),
        Kind::Other => (Exit::Failed, "failed"),
    }
}

impl Failure {
    /// A failure of the kind given: the kind decides about the exit code and the word for scripts.
    fn of_kind(kind: Kind, message: String, hint: String) -> Failure {
        let (exit, code) = code_of(kind);
        Failure::new(exit, code, message, hint)
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Failure {
        Failure::of_kind(error.kind, error.message, error.hint)
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Failure {
        Failure::of_kind(error.kind(), error.to_string(), error.hint().unwrap_or_default())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        VaultError::from(error).into()
    }
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Failure {
        VaultError::from(error).into()
    }
}

impl From<SlotError> for Failure {
    fn from(error: SlotError) -> Failure {
        VaultError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use lockstone_actors::Fault;
    use lockstone_vault::store::Refusal;

    use super::*;

    #[test]
    fn a_failure_says_what_happened_and_what_to_do() {
        let failure = Failure::failed("full", "the vault is full", "free some space\nrun it again");
        assert_eq!(
            failure.to_string(),
            "error: the vault is full\n  hint: free some space\n  hint: run it again"
        );
    }

    #[test]
    fn the_exit_code_of_a_child_process_is_understood() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Warnings,
            Exit::Cancelled,
            Exit::Refused,
            Exit::Damaged,
            Exit::Busy,
            Exit::NotRegistered,
        ] {
            assert_eq!(Exit::from_code(exit as i32), exit);
        }
        assert_eq!(Exit::from_code(99), Exit::Failed);
    }

    #[test]
    fn an_error_ends_a_command_the_same_way_inside_a_job_and_before_it() {
        let refused = StoreError::Refused {
            what: Refusal::Keys,
            object: "packs/x".to_owned(),
            reason: "403".to_owned(),
        };
        for (error, exit) in [
            (VaultError::Store(refused), Exit::Refused),
            (VaultError::Credentials(CredentialsError::NotSigned), Exit::Refused),
            (VaultError::WrongPassphrase, Exit::Refused),
            (VaultError::ReadOnly, Exit::NotRegistered),
            (VaultError::TooManyAttempts, Exit::Failed),
            (VaultError::Slot(SlotError::Damaged("x")), Exit::Damaged),
            (VaultError::BadPoint("x".to_owned()), Exit::Usage),
        ] {
            let before = Failure::from(error.clone());
            let inside = Failure::from(JobError::from(Fault::from(error)));
            assert_eq!(before.exit, exit, "{before}");
            assert_eq!(
                (before.exit, before.code, &before.message, &before.hint),
                (inside.exit, inside.code, &inside.message, &inside.hint)
            );
        }
    }

    #[test]
    fn each_kind_of_fault_has_a_word_of_its_own() {
        let words: std::collections::HashSet<&str> = Kind::ALL.iter().map(|kind| code_of(*kind).1).collect();
        assert_eq!(words.len(), Kind::ALL.len());
    }
}
