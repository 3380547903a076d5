//! The documents of `register` and `unregister`.

use lockstone_proto::ids::{DomainId, ServerId, VaultId};
use serde::Serialize;
use zeroize::Zeroizing;

/// The answer of `register`.
#[derive(Serialize)]
pub(crate) struct RegisteredDocument {
    /// Always true.
    pub(crate) registered: bool,
    pub(crate) server: String,
    pub(crate) server_id: ServerId,
    /// The vault's URL.
    pub(crate) vault: String,
    pub(crate) vault_id: VaultId,
    pub(crate) domain_id: DomainId,
    /// Whether the server joined a domain that was there.
    pub(crate) joined: bool,
    /// Null if the server joined a domain.
    #[serde(serialize_with = "text")]
    pub(crate) recovery_key: Option<Zeroizing<String>>,
}

/// The answer of `unregister`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnregisteredDocument {
    /// Always false.
    pub(crate) registered: bool,
    pub(crate) server: String,
    /// The vault's URL.
    pub(crate) vault: String,
}

fn text<S: serde::Serializer>(key: &Option<Zeroizing<String>>, to: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(|key| key.as_str()).serialize(to)
}
