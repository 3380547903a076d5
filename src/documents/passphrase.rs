//! The documents of the `passphrase` commands.

use lockstone_proto::ids::ServerId;
use serde::Serialize;
use zeroize::Zeroizing;

/// The answer of `passphrase validate`. A wrong passphrase is a failure, so `valid` is always true.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ValidPassphraseDocument {
    pub(crate) valid: bool,
}

/// The answer of `passphrase change` and `passphrase regenerate`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChangedPassphraseDocument {
    pub(crate) changed: bool,
    /// Whether the old passphrase no longer opens the backups.
    pub(crate) old_removed: bool,
}

/// The answer of `passphrase recovery-key`.
#[derive(Serialize)]
pub(crate) struct RecoveryKeyDocument {
    #[serde(serialize_with = "text")]
    pub(crate) recovery_key: Zeroizing<String>,
    /// Whether the old recovery key no longer opens the backups.
    pub(crate) old_removed: bool,
}

fn text<S: serde::Serializer>(key: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(key)
}

/// The answer of `passphrase slots`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SlotsDocument {
    pub(crate) slots: Vec<SlotDocument>,
}

/// The answer of `passphrase revoke`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RevokedSlotDocument {
    pub(crate) revoked: SlotDocument,
}

/// A key slot.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SlotDocument {
    pub(crate) id: String,
    /// `passphrase`, `machine` or `recovery`.
    pub(crate) kind: &'static str,
    pub(crate) created: String,
    /// The server whose machine it belongs to; null for other kinds, and if that server is not known.
    pub(crate) server: Option<String>,
    pub(crate) server_id: Option<ServerId>,
    pub(crate) this_machine: bool,
}
