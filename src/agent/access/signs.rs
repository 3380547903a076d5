//! What a session signs records of jobs with.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use lockstone_vault::access::credentials::VaultCredentials;
use lockstone_vault::access::job_records::Author;

/// By which right this machine writes records of jobs. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Signs {
    /// It is registered, and has this key.
    Server(Box<SigningKey>),
    /// It holds these credentials.
    Credentials(Arc<VaultCredentials>),
}

impl Signs {
    pub(crate) fn author(&self) -> Author<'_> {
        match self {
            Signs::Server(key) => Author::Server(key),
            Signs::Credentials(credentials) => Author::Credentials(credentials),
        }
    }

    /// The server's key, if the machine is registered.
    pub(crate) fn key(&self) -> Option<&SigningKey> {
        match self {
            Signs::Server(key) => Some(key),
            Signs::Credentials(_) => None,
        }
    }

    /// The credentials, if the machine works by such.
    pub(crate) fn credentials(&self) -> Option<&VaultCredentials> {
        match self {
            Signs::Server(_) => None,
            Signs::Credentials(credentials) => Some(credentials),
        }
    }
}

impl std::fmt::Debug for Signs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Signs::Server(_) => "Server(secret)",
            Signs::Credentials(_) => "Credentials(secret)",
        })
    }
}
