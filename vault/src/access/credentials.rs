//! Credentials: how the operator admits a server or a restore. The operator issues a file that ends in
//! `.vaultcredentials`. Its holder may register servers, or restore, until it expires.
//!
//! The operator signs an `Admission`: a vault, a region, a time, and the public half of an *admission key* made for
//! this file. The file contains the secret half, with which the holder signs its registrations. So the operator need
//! not be present, and a registration itself shows that it was admitted.
//!
//! The file is base64 of an encoded `Credentials` in lines of 64, between BEGIN and END lines. The operator's own key
//! is kept in a text file of the same form. Both files are secret; callers write them with mode 0600.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::{SignedDuration, Timestamp};
use lockstone_proto::access::{Admission, Credentials, Region, SignedAdmission};
use lockstone_proto::ids::{CredentialId, VaultId};
use lockstone_proto::limits::FORMAT_VERSION;
use prost::Message;
use zeroize::Zeroizing;

use crate::access::descriptor::Descriptor;
pub use crate::access::error::CredentialsError;
use crate::crypto::armor;
use crate::crypto::keys::{NoRandom, random};

const ADMISSION_CONTEXT: &[u8] = b"lockstone v1 admission\0";
const CREDENTIALS_LABEL: &str = "LOCKSTONE VAULT CREDENTIALS";
const OPERATOR_LABEL: &str = "LOCKSTONE OPERATOR KEY";
/// The oldest version of this program that understands the credentials it issues.
const LEAST_VERSION: Version = Version([0, 1, 0]);
/// The longest name of a tenant, bytes.
pub const TENANT_MAX: usize = 255;
/// How much a server's clock may be behind the operator's.
const CLOCK_SLACK_S: i64 = 300;

/// The operator's signing key, for one vault.
pub struct OperatorKey {
    vault_id: VaultId,
    key: SigningKey,
}

impl std::fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OperatorKey({}, secret)", self.vault_id)
    }
}

/// What the operator decides when issuing credentials.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The region they admit to.
    pub region: Region,
    /// The vault URL of that region, as the server will reach it.
    pub url: String,
    /// The vault URL of the other region, if there is one.
    pub secondary_url: Option<String>,
    /// Whose vault it is now.
    pub tenant: Option<String>,
    /// The time of issue.
    pub now: Timestamp,
    /// How long the credentials are valid, days from now.
    pub valid_days: u32,
}

impl OperatorKey {
    /// A new key for a new vault.
    pub fn generate() -> Result<Self, NoRandom> {
        Ok(Self {
            vault_id: VaultId(random()?),
            key: generate_signing_key()?,
        })
    }

    /// The vault it is for.
    #[must_use]
    pub fn vault_id(&self) -> VaultId {
        self.vault_id
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.key
    }

    /// The text of the key file. It is secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; VaultId::LEN + 32]);
        bytes[..VaultId::LEN].copy_from_slice(self.vault_id.as_bytes());
        bytes[VaultId::LEN..].copy_from_slice(self.key.as_bytes());
        armor::write(OPERATOR_LABEL, bytes.as_slice())
    }

    /// Reads the text of a key file.
    pub fn from_text(text: &str) -> Result<Self, CredentialsError> {
        let malformed = |why: &str| CredentialsError::Malformed {
            what: "operator key",
            why: why.to_owned(),
        };
        let bytes = armor::read(OPERATOR_LABEL, text).map_err(malformed)?;
        let (vault, key) = bytes
            .split_first_chunk::<{ VaultId::LEN }>()
            .ok_or_else(|| malformed("it is too short"))?;
        let key: &[u8; 32] = key.try_into().map_err(|_| malformed("it has the wrong length"))?;
        Ok(Self {
            vault_id: VaultId(*vault),
            key: SigningKey::from_bytes(key),
        })
    }

    /// Issues credentials.
    pub fn issue(&self, issue: &Issue) -> Result<VaultCredentials, CredentialsError> {
        let admission_key = generate_signing_key()?;
        let valid = SignedDuration::from_hours(24 * i64::from(issue.valid_days));
        let admission = Admission {
            version: FORMAT_VERSION,
            vault_id: Bytes::copy_from_slice(self.vault_id.as_bytes()),
            credential_id: Bytes::copy_from_slice(&random::<16>()?),
            admission_key: Bytes::copy_from_slice(admission_key.verifying_key().as_bytes()),
            region: issue.region.into(),
            issued_s: issue.now.as_second(),
            expires_s: issue.now.as_second().saturating_add(valid.as_secs()),
            tenant: issue.tenant.clone().unwrap_or_default(),
            least_version: LEAST_VERSION.to_string(),
        };
        let encoded = Bytes::from(admission.encode_to_vec());
        let signature = self.key.sign(&[ADMISSION_CONTEXT, &encoded].concat());
        let record = Credentials {
            url: issue.url.clone(),
            operator_key: Bytes::copy_from_slice(self.public().as_bytes()),
            admission: Some(SignedAdmission {
                admission: encoded,
                signature: Bytes::copy_from_slice(&signature.to_bytes()),
            }),
            admission_secret: Bytes::copy_from_slice(admission_key.as_bytes()),
            secondary_url: issue.secondary_url.clone().unwrap_or_default(),
        };
        VaultCredentials::from_record(record)
    }
}

/// A new Ed25519 key, for a server or an admission.
pub fn generate_signing_key() -> Result<SigningKey, NoRandom> {
    let seed = Zeroizing::new(random::<32>()?);
    Ok(SigningKey::from_bytes(&seed))
}

/// The version of a program: three numbers, as in `0.1.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// The version of this program.
    #[must_use]
    pub fn of_this_program() -> Self {
        // What may stand behind the numbers (`-rc.1`) says nothing about what it understands.
        let numbers = env!("CARGO_PKG_VERSION").split(['-', '+']).next().unwrap_or_default();
        numbers.parse().unwrap_or(LEAST_VERSION)
    }
}

impl std::str::FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for number in &mut numbers {
            *number = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        }
        let version = Self(numbers);
        // There is one way to write a version: no sign, no zeros in front.
        let exact = parts.next().is_none() && version.to_string() == text;
        exact.then_some(version).ok_or(())
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// An admission whose signature by the operator was checked. Its times are checked apart: for credentials against the
/// present, for a registration against the time of registration.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) vault_id: VaultId,
    pub(crate) id: CredentialId,
    pub(crate) key: VerifyingKey,
    pub(crate) region: Region,
    pub(crate) issued_s: i64,
    pub(crate) expires_s: i64,
    pub(crate) tenant: String,
    pub(crate) least_version: Version,
}

impl Admitted {
    pub(crate) fn verify(signed: &SignedAdmission, operator: &VerifyingKey) -> Result<Self, CredentialsError> {
        let malformed = |why: &str| CredentialsError::Malformed {
            what: "admission",
            why: why.to_owned(),
        };
        let signature =
            Signature::from_slice(&signed.signature).map_err(|_| malformed("its signature has the wrong length"))?;
        operator
            .verify_strict(&[ADMISSION_CONTEXT, &signed.admission].concat(), &signature)
            .map_err(|_| CredentialsError::NotSigned)?;
        let admission = Admission::decode(signed.admission.clone()).map_err(|_| malformed("it cannot be decoded"))?;
        let least: Result<Version, ()> = admission.least_version.parse();
        // These come before everything that an older program cannot judge.
        if let Ok(least) = least
            && least > Version::of_this_program()
        {
            return Err(CredentialsError::TooOld(least.to_string()));
        }
        if admission.version > FORMAT_VERSION {
            return Err(CredentialsError::Newer);
        }
        if admission.version != FORMAT_VERSION {
            return Err(malformed("its version is unknown to this program"));
        }
        if admission.encode_to_vec() != signed.admission {
            return Err(malformed("it is not encoded as the format wants it"));
        }
        let region = admission.region();
        if region == Region::Unspecified {
            return Err(malformed("its region is unknown to this program"));
        }
        check_tenant(&admission.tenant).map_err(malformed)?;
        let key: &[u8; 32] = admission
            .admission_key
            .as_ref()
            .try_into()
            .map_err(|_| malformed("its key has the wrong length"))?;
        Ok(Self {
            vault_id: VaultId::try_from(admission.vault_id.as_ref())
                .map_err(|_| malformed("its vault is not an id"))?,
            id: CredentialId::try_from(admission.credential_id.as_ref()).map_err(|_| malformed("it has no id"))?,
            key: VerifyingKey::from_bytes(key).map_err(|_| malformed("its key is not a valid key"))?,
            region,
            issued_s: admission.issued_s,
            expires_s: admission.expires_s,
            tenant: admission.tenant,
            least_version: least.map_err(|()| malformed("it does not say which version it needs"))?,
        })
    }

    pub(crate) fn check_time(&self, at_s: i64) -> Result<(), CredentialsError> {
        let time = |s: i64| Timestamp::from_second(s).unwrap_or(Timestamp::MIN);
        if at_s >= self.expires_s {
            return Err(CredentialsError::Expired(time(self.expires_s)));
        }
        if at_s.saturating_add(CLOCK_SLACK_S) < self.issued_s {
            return Err(CredentialsError::NotYetValid(time(self.issued_s)));
        }
        Ok(())
    }
}

/// Credentials that were read and carry a good signature of the operator they name.
pub struct VaultCredentials {
    record: Credentials,
    operator: VerifyingKey,
    admitted: Admitted,
    secret: SigningKey,
}

impl std::fmt::Debug for VaultCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VaultCredentials({}, secret)", self.admitted.vault_id)
    }
}

impl VaultCredentials {
    /// Reads a credentials file and checks the signature. `check` says whether it is still valid.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let malformed = |why: &str| CredentialsError::Malformed {
            what: "credentials file",
            why: why.to_owned(),
        };
        let bytes = armor::read(CREDENTIALS_LABEL, text).map_err(malformed)?;
        let record = Credentials::decode(bytes.as_slice()).map_err(|_| malformed("it cannot be decoded"))?;
        if *Zeroizing::new(record.encode_to_vec()) != *bytes {
            return Err(malformed("it is not encoded as the format wants it"));
        }
        Self::from_record(record)
    }

    fn from_record(record: Credentials) -> Result<Self, CredentialsError> {
        let malformed = |why: &str| CredentialsError::Malformed {
            what: "credentials file",
            why: why.to_owned(),
        };
        let operator: &[u8; 32] = record
            .operator_key
            .as_ref()
            .try_into()
            .map_err(|_| malformed("the operator's key has the wrong length"))?;
        let operator =
            VerifyingKey::from_bytes(operator).map_err(|_| malformed("the operator's key is not a valid key"))?;
        let signed = record
            .admission
            .as_ref()
            .ok_or_else(|| malformed("it has no admission"))?;
        let admitted = Admitted::verify(signed, &operator)?;
        let secret: &[u8; 32] = record
            .admission_secret
            .as_ref()
            .try_into()
            .map_err(|_| malformed("its secret has the wrong length"))?;
        let secret = SigningKey::from_bytes(secret);
        if secret.verifying_key() != admitted.key {
            return Err(CredentialsError::NotSigned);
        }
        Ok(Self {
            record,
            operator,
            admitted,
            secret,
        })
    }

    /// The text of a file with the same credentials, which need a program of at least this version. It is secret.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn text_for_version(&self, operator: &OperatorKey, least_version: &str) -> Zeroizing<String> {
        let mut record = self.record.clone();
        if let Some(signed) = &mut record.admission
            && let Ok(mut admission) = Admission::decode(signed.admission.clone())
        {
            least_version.clone_into(&mut admission.least_version);
            signed.admission = admission.encode_to_vec().into();
            let signature = operator.key.sign(&[ADMISSION_CONTEXT, &signed.admission].concat());
            signed.signature = Bytes::copy_from_slice(&signature.to_bytes());
        }
        armor::write(CREDENTIALS_LABEL, &Zeroizing::new(record.encode_to_vec()))
    }

    /// The text of the file. It is secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        armor::write(CREDENTIALS_LABEL, &Zeroizing::new(self.record.encode_to_vec()))
    }

    /// The vault URL they are for.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.record.url
    }

    /// The vault URL of the other region.
    #[must_use]
    pub fn secondary_url(&self) -> Option<&str> {
        Some(self.record.secondary_url.as_str()).filter(|url| !url.is_empty())
    }

    /// The vault they are for.
    #[must_use]
    pub fn vault_id(&self) -> VaultId {
        self.admitted.vault_id
    }

    /// The public key of the operator that issued them.
    #[must_use]
    pub fn operator_key(&self) -> &VerifyingKey {
        &self.operator
    }

    /// Their own id, by which the operator revokes them.
    #[must_use]
    pub fn id(&self) -> CredentialId {
        self.admitted.id
    }

    /// The vault's tenant when they were issued.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        Some(self.admitted.tenant.as_str()).filter(|tenant| !tenant.is_empty())
    }

    /// The oldest version of the program that understands them.
    #[must_use]
    pub fn least_version(&self) -> Version {
        self.admitted.least_version
    }

    /// The region they admit to.
    #[must_use]
    pub fn region(&self) -> Region {
        self.admitted.region
    }

    /// When they were issued.
    #[must_use]
    pub fn issued(&self) -> Timestamp {
        Timestamp::from_second(self.admitted.issued_s).unwrap_or(Timestamp::MIN)
    }

    /// When they expire.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_second(self.admitted.expires_s).unwrap_or(Timestamp::MAX)
    }

    /// Whether they are valid at that moment.
    pub fn check(&self, now: Timestamp) -> Result<(), CredentialsError> {
        self.admitted.check_time(now.as_second())
    }

    /// Whether they are valid at that moment, which the store's clock shows and this server's does not.
    pub fn check_at_store(&self, shows: Timestamp) -> Result<(), CredentialsError> {
        self.check(shows).map_err(|error| match error {
            CredentialsError::Expired(at) => CredentialsError::ExpiredAtStore(at),
            other => other,
        })
    }

    /// Whether they are valid at that moment, which this machine has seen although its clock is behind it now.
    pub fn check_as_seen(&self, seen: Timestamp) -> Result<(), CredentialsError> {
        self.check(seen).map_err(|error| match error {
            CredentialsError::Expired(at) => CredentialsError::ExpiredAsSeen(at),
            other => other,
        })
    }

    /// Whether they admit to that region.
    pub fn check_region(&self, wanted: Region) -> Result<(), CredentialsError> {
        if self.admitted.region == wanted {
            return Ok(());
        }
        Err(CredentialsError::WrongRegion {
            found: region_name(self.admitted.region),
            wanted: region_name(wanted),
        })
    }

    /// Whether they are for that vault, by its id and its operator.
    pub fn check_vault(&self, vault: &Descriptor) -> Result<(), CredentialsError> {
        if vault.vault_id == self.admitted.vault_id && vault.operator_key == self.operator {
            Ok(())
        } else {
            Err(CredentialsError::OtherVault)
        }
    }

    pub(crate) fn admission(&self) -> Option<&SignedAdmission> {
        self.record.admission.as_ref()
    }

    /// The admission as it is stored beside what is signed with its key.
    #[must_use]
    pub fn admission_object(&self) -> Vec<u8> {
        self.record
            .admission
            .as_ref()
            .map(Message::encode_to_vec)
            .unwrap_or_default()
    }

    /// The key of the admission. Whoever has it is admitted.
    #[must_use]
    pub fn secret(&self) -> &SigningKey {
        &self.secret
    }
}

/// Why a text cannot be the name of a tenant.
pub fn check_tenant(tenant: &str) -> Result<(), &'static str> {
    if tenant.len() > TENANT_MAX || tenant.chars().any(char::is_control) {
        return Err("its tenant has more than 255 bytes, or control characters");
    }
    Ok(())
}

/// A region's name in descriptors and messages.
#[must_use]
pub fn region_name(region: Region) -> &'static str {
    match region {
        Region::Primary => "primary",
        Region::Secondary => "secondary",
        Region::Unspecified => "unknown",
    }
}

#[cfg(test)]
mod tests;
