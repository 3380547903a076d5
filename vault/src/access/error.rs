//! What can be wrong with credentials. The file is apart from `credentials`, because `VaultError` includes this error
//! and `credentials` uses the descriptor, which ends in `VaultError`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::crypto::keys::NoRandom;
use crate::kind::Kind;

/// Why credentials are refused. Never transient.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialsError {
    /// The text is not of that kind.
    #[error("this is not a valid {what}: {why}")]
    Malformed {
        /// What was expected, such as `credentials file`.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A newer version of the program issued them.
    #[error("the credentials were made for a newer version of the program: update lockstone")]
    Newer,
    /// They name a newer version of the program than this one.
    #[error("the credentials need lockstone {0} or newer, and this is {own}: update lockstone", own = env!("CARGO_PKG_VERSION"))]
    TooOld(String),
    /// The operator's signature is missing or does not fit.
    #[error("the credentials do not carry the operator's signature, or were changed")]
    NotSigned,
    /// They have expired.
    #[error("the credentials expired on {}", local(*.0))]
    Expired(Timestamp),
    /// They have expired by the store's clock, which is ahead of this server's.
    #[error(
        "the credentials expired on {} by the clock of the vault's store, which is ahead of this server's clock",
        local(*.0)
    )]
    ExpiredAtStore(Timestamp),
    /// They have expired by the latest time that this machine has seen.
    #[error(
        "the credentials expired on {}; this machine's clock is behind a time that it has seen before",
        local(*.0)
    )]
    ExpiredAsSeen(Timestamp),
    /// The operator revoked them.
    #[error("the credentials were revoked on {}{}", local(*.at), because(.reason))]
    Revoked {
        /// When.
        at: Timestamp,
        /// What the operator said about it; may be empty.
        reason: String,
    },
    /// They were issued in the future, by this machine's clock.
    #[error("the credentials are not valid before {}; this server's clock may be wrong", local(*.0))]
    NotYetValid(Timestamp),
    /// They are for another vault.
    #[error("the credentials are for another vault")]
    OtherVault,
    /// They are for another region.
    #[error("the credentials are for the vault's {found} region; {wanted} is needed")]
    WrongRegion {
        /// What they admit to.
        found: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
    /// No random bytes for a new key.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

impl CredentialsError {
    /// What kind of fault it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Malformed { .. }
            | Self::Newer
            | Self::TooOld(_)
            | Self::NotSigned
            | Self::Expired(_)
            | Self::ExpiredAtStore(_)
            | Self::ExpiredAsSeen(_)
            | Self::NotYetValid(_)
            | Self::OtherVault
            | Self::WrongRegion { .. } => Kind::BadCredentials,
            Self::Revoked { .. } => Kind::Revoked,
            Self::Random(_) => Kind::Other,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Random(_) => return None,
            Self::Newer | Self::TooOld(_) => "install the newest `lockstone` on this machine",
            Self::ExpiredAsSeen(_) => {
                "set this server's clock, or ask the vault's operator for new ones: `lockstone vault credentials URL \
                 --out FILE`"
            }
            Self::NotYetValid(_) => "set this server's clock, or ask the operator for new credentials",
            Self::ExpiredAtStore(_) => {
                "find out which clock is wrong; if it is this server's, ask the vault's operator for new credentials"
            }
            Self::Malformed { .. }
            | Self::NotSigned
            | Self::Expired(_)
            | Self::Revoked { .. }
            | Self::OtherVault
            | Self::WrongRegion { .. } => {
                "ask the vault's operator for new ones: `lockstone vault credentials URL --out FILE`"
            }
        })
    }
}

/// A reason, as the end of a sentence.
pub(crate) fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

/// A time in this machine's time zone, with the distance to UTC: `2026-12-05 10:40 +01:00`.
pub(crate) fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M %:z")
        .to_string()
}
