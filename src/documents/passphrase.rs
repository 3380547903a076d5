//! The documents of the `passphrase` commands.

use serde::Serialize;

/// The answer of `passphrase validate`. A wrong passphrase is a failure, so `valid` is always true.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ValidPassphraseDocument {
    pub(crate) valid: bool,
}

/// The answer of `passphrase change`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChangedPassphraseDocument {
    pub(crate) changed: bool,
    /// Whether the old passphrase no longer opens the backups.
    pub(crate) old_removed: bool,
}
