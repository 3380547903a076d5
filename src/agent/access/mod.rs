//! How a vault is opened: by this machine's registration, or by credentials and a passphrase.

pub(crate) mod credentials;
pub(crate) mod give_up;
pub(crate) mod named;
pub(crate) mod open;
pub(crate) mod passphrase;
pub(crate) mod paths;
pub(crate) mod right;
pub(crate) mod scratch;
pub(crate) mod session;
pub(crate) mod signs;
pub(crate) mod slots;
pub(crate) mod unlock;
