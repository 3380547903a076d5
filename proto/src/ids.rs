//! Typed ids. Each has a fixed number of bytes and is written as lower-case hex. An id of one kind cannot be used in
//! place of another.

use std::fmt;
use std::str::FromStr;

/// The error for a text or byte slice that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: {bytes} bytes wanted, written as hex")]
pub struct BadId {
    /// The kind of id that was wanted, such as "vault".
    pub kind: &'static str,
    /// The number of bytes that an id of this kind has.
    pub bytes: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The length of this kind of id, in bytes.
            pub const LEN: usize = $len;

            /// The bytes of the id.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The id as lower-case hex: two digits for each byte.
            #[must_use]
            pub fn hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = BadId;

            fn try_from(bytes: &[u8]) -> Result<Self, BadId> {
                bytes.try_into().map(Self).map_err(|_| BadId { kind: $kind, bytes: $len })
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut id = [0; $len];
                hex::decode_to_slice(text, &mut id).map_err(|_| BadId { kind: $kind, bytes: $len })?;
                Ok(Self(id))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.hex())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.hex())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(/** Names a vault. Random. */ VaultId, 16, "vault");
id!(/** Names a domain: the servers that share a key. Random. */ DomainId, 16, "domain");
id!(/** Names a registered server. Random. */ ServerId, 16, "server");
id!(/** Names a job. Random. */ JobId, 16, "job");
id!(/** Names a recovery point. Random. */ PointId, 16, "recovery point");
id!(/** Names a key slot. Random. */ SlotId, 16, "key slot");
id!(/** Names credentials. Random. */ CredentialId, 16, "credentials");
id!(/** Names a chunk: keyed BLAKE3 of the plaintext, with the subkey of the chunk's kind. */ ChunkId, 32, "chunk");
id!(/** Names a pack. Random; the pack's key is derived from it. */ PackId, 32, "pack");
id!(/** Names a segment. Random; the segment's key is derived from it. */ SegmentId, 32, "segment");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = PackId([0xa5; 32]);
        assert_eq!(id.hex().parse::<PackId>(), Ok(id));
        assert!("a5".parse::<PackId>().is_err());
        assert!(PackId::try_from(&[0; 31][..]).is_err());
    }
}
