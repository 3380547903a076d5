//! Where the agent gets a passphrase from when it needs one. Whoever calls the agent knows how to ask for it.

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Gives the passphrase, or the recovery key, of a domain that exists. May block while a person types it.
pub(crate) trait PassphraseSource: Send + Sync {
    /// Fails with `usage` if there is no way to get a passphrase. Whether the text is the right one shows when a key
    /// slot is opened with it.
    fn existing(&self) -> Result<Zeroizing<String>, Failure>;

    /// As [`existing`](PassphraseSource::existing), and whoever types it is told that it is the one of this server.
    fn existing_of(&self, server: &str) -> Result<Zeroizing<String>, Failure>;
}
