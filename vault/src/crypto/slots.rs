//! Key slots: how a domain's master key is kept in the vault. Each slot wraps it under one secret: a passphrase, a
//! registered machine's secret, or a printed recovery key. Called by registration, restore and `passphrase change`.
//!
//! ```text
//! object = encoded KeySlot ‖ BLAKE3 of it (32 bytes)
//!
//! secret       = Argon2id(passphrase, salt, parameters)  |  the machine's 32 bytes  |  the recovery key's 32 bytes
//! wrapping key = derive_key("lockstone v1 passphrase slot" | "… machine slot" | "… recovery slot", secret ‖ salt)
//! commitment   = derive_key("lockstone v1 slot commitment", wrapping key)
//! sealed_key   = AES-256-GCM of the master key; nonce = 0; AAD = the encoded KeySlot without its last two fields
//! ```
//!
//! Promise: parameters are checked before Argon2 runs or anything is allocated. A wrong key (`WrongKey`) and a damaged
//! slot (`Damaged`) are told apart by the checksum after the record.

use std::time::{SystemTime, UNIX_EPOCH};

use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use lockstone_proto::ids::{DomainId, ServerId, SlotId};
use lockstone_proto::limits::{
    ARGON_MAX_LANES, ARGON_MAX_MEMORY_KIB, ARGON_MAX_PASSES, FORMAT_VERSION, PASSPHRASE_MAX, PASSPHRASE_MIN,
    RECORD_MAX, TAG_LEN,
};
use lockstone_proto::vault::{KeySlot, SlotKind};
use prost::Message;
use zeroize::Zeroizing;

use crate::crypto::keys::{MasterKey, NoRandom, random};
use crate::crypto::seal::{SealBroken, SealKey};
use crate::kind::Kind;

const CHECKSUM_LEN: usize = 32;
const SEALED_LEN: usize = 32 + TAG_LEN;
/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// A recovery key is 32 bytes and a checksum of 3: 56 characters, in groups of 7.
const RECOVERY_LEN: usize = 35;
const RECOVERY_GROUP: usize = 7;

/// The Argon2id parameters of new passphrase slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory in KiB: at least 8 for each lane, at most `ARGON_MAX_MEMORY_KIB`.
    pub memory_kib: u32,
    /// Passes: 1 to `ARGON_MAX_PASSES`.
    pub passes: u32,
    /// Lanes, which may run in parallel: 1 to `ARGON_MAX_LANES`.
    pub lanes: u32,
}

impl Default for KdfParams {
    /// 256 MiB, 3 passes, 4 lanes: RFC 9106's second recommendation with four times its memory.
    fn default() -> Self {
        Self {
            memory_kib: 256 * 1024,
            passes: 3,
            lanes: 4,
        }
    }
}

impl KdfParams {
    fn check(self) -> Result<Self, SlotError> {
        let possible = (1..=ARGON_MAX_LANES).contains(&self.lanes)
            && (1..=ARGON_MAX_PASSES).contains(&self.passes)
            && (8 * self.lanes..=ARGON_MAX_MEMORY_KIB).contains(&self.memory_kib);
        if possible {
            Ok(self)
        } else {
            Err(SlotError::Damaged("its Argon2 parameters are outside the limits"))
        }
    }
}

/// A passphrase that keeps the rules: 16 to 127 characters, all printable ASCII. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

/// Why a passphrase is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// It has fewer than 16 characters.
    #[error("the passphrase has {0} characters; it needs at least {PASSPHRASE_MIN}")]
    TooShort(usize),
    /// It has more than 127 characters.
    #[error("the passphrase has {0} characters; it may have {PASSPHRASE_MAX} at most")]
    TooLong(usize),
    /// It has a character that is not printable ASCII.
    #[error("the passphrase has a character that is not printable ASCII")]
    NotAscii,
}

impl Passphrase {
    /// Checks the rules. Nothing is trimmed.
    pub fn new(text: String) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text);
        if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
            return Err(PassphraseError::NotAscii);
        }
        if text.len() < PASSPHRASE_MIN {
            return Err(PassphraseError::TooShort(text.len()));
        }
        if text.len() > PASSPHRASE_MAX {
            return Err(PassphraseError::TooLong(text.len()));
        }
        Ok(Self(text))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(secret)")
    }
}

/// Why a slot gave no master key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SlotError {
    /// The slot is whole, and this secret does not open it.
    #[error("this passphrase or key does not open the key slot")]
    WrongKey,
    /// The recovery key was mistyped: its own checksum does not fit.
    #[error("the recovery key is mistyped: {0}")]
    Mistyped(&'static str),
    /// The slot was changed after it was written, or breaks the rules.
    #[error("the key slot is damaged: {0}")]
    Damaged(&'static str),
    /// It was written by a newer program.
    #[error("key slot format {0} is newer than this program reads")]
    Version(u32),
    /// The slot needs another kind of secret.
    #[error("the key slot is of another kind")]
    Kind,
    /// Argon2 cannot run, for example because there is not enough memory.
    #[error("Argon2 with {memory_kib} KiB: {why}")]
    Argon {
        /// The memory it needs, KiB.
        memory_kib: u32,
        /// The error of Argon2.
        why: argon2::Error,
    },
    /// No random bytes for a new slot.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

impl SlotError {
    /// What kind of fault it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::WrongKey | Self::Mistyped(_) | Self::Kind => Kind::WrongKey,
            Self::Damaged(_) => Kind::Damaged,
            Self::Argon { .. } => Kind::Shortage,
            Self::Version(_) | Self::Random(_) => Kind::Other,
        }
    }
}

/// Wraps the master key under a passphrase. Takes as long as `kdf` asks for.
pub fn wrap_with_passphrase(
    master: &MasterKey,
    passphrase: &Passphrase,
    kdf: KdfParams,
    domain: DomainId,
) -> Result<KeySlot, SlotError> {
    let kdf = kdf.check()?;
    let slot = KeySlot {
        argon_memory_kib: kdf.memory_kib,
        argon_passes: kdf.passes,
        argon_lanes: kdf.lanes,
        ..blank(SlotKind::Passphrase, domain)?
    };
    let secret = stretch(&slot, passphrase)?;
    wrap(slot, master, &secret)
}

/// Wraps the master key under a machine's secret of 32 bytes, which stays in that server's state folder.
pub fn wrap_with_machine(
    master: &MasterKey,
    secret: &[u8; 32],
    domain: DomainId,
    server: ServerId,
) -> Result<KeySlot, SlotError> {
    let slot = KeySlot {
        server_id: Bytes::copy_from_slice(server.as_bytes()),
        ..blank(SlotKind::Machine, domain)?
    };
    wrap(slot, master, secret)
}

/// Wraps the master key under a fresh recovery key, and returns that key's printable form.
pub fn wrap_with_recovery(master: &MasterKey, domain: DomainId) -> Result<(KeySlot, Zeroizing<String>), SlotError> {
    let secret = Zeroizing::new(random()?);
    let slot = wrap(blank(SlotKind::Recovery, domain)?, master, &secret)?;
    Ok((slot, print_recovery(&secret)))
}

/// Unwraps the master key of a passphrase slot. Takes as long as the slot's parameters ask for.
pub fn unwrap_with_passphrase(slot: &KeySlot, passphrase: &Passphrase) -> Result<MasterKey, SlotError> {
    check(slot, SlotKind::Passphrase)?;
    let secret = stretch(slot, passphrase)?;
    unwrap(slot, &secret)
}

/// Unwraps the master key of a machine slot.
pub fn unwrap_with_machine(slot: &KeySlot, secret: &[u8; 32]) -> Result<MasterKey, SlotError> {
    check(slot, SlotKind::Machine)?;
    unwrap(slot, secret)
}

/// Unwraps the master key of a recovery slot. `printed` may be in either case, with dashes and spaces anywhere.
pub fn unwrap_with_recovery(slot: &KeySlot, printed: &str) -> Result<MasterKey, SlotError> {
    check(slot, SlotKind::Recovery)?;
    let secret = read_recovery(printed)?;
    unwrap(slot, &secret)
}

/// The object that holds a slot; its name is the hex of `slot_id`.
#[must_use]
pub fn encode_slot(slot: &KeySlot) -> Vec<u8> {
    let mut object = slot.encode_to_vec();
    let checksum = blake3::hash(&object);
    object.extend_from_slice(checksum.as_bytes());
    object
}

/// Reads the slot object of that name in that domain, and checks everything that can be checked without a secret.
pub fn decode_slot(domain: DomainId, id: SlotId, object: &[u8]) -> Result<KeySlot, SlotError> {
    if object.len() as u64 > RECORD_MAX {
        return Err(SlotError::Damaged("it is too long"));
    }
    let (encoded, checksum) = object
        .split_last_chunk::<CHECKSUM_LEN>()
        .ok_or(SlotError::Damaged("it is too short"))?;
    if blake3::hash(encoded) != *checksum {
        return Err(SlotError::Damaged("its checksum does not fit"));
    }
    let slot = KeySlot::decode(encoded).map_err(|_| SlotError::Damaged("it cannot be decoded"))?;
    check(&slot, slot.kind())?;
    if slot.slot_id != id.as_ref() || slot.domain_id != domain.as_ref() {
        return Err(SlotError::Damaged("it belongs elsewhere"));
    }
    if slot.encode_to_vec() != encoded {
        return Err(SlotError::Damaged("it is not encoded as the format wants it"));
    }
    Ok(slot)
}

fn blank(kind: SlotKind, domain: DomainId) -> Result<KeySlot, SlotError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Ok(KeySlot {
        version: FORMAT_VERSION,
        slot_id: random::<{ SlotId::LEN }>()?.to_vec().into(),
        domain_id: Bytes::copy_from_slice(domain.as_bytes()),
        kind: kind.into(),
        salt: random::<32>()?.to_vec().into(),
        created_s: i64::try_from(now).unwrap_or_default(),
        ..KeySlot::default()
    })
}

/// Checks every rule that needs no secret.
fn check(slot: &KeySlot, kind: SlotKind) -> Result<(), SlotError> {
    if slot.version > FORMAT_VERSION {
        return Err(SlotError::Version(slot.version));
    }
    let lens_fit = slot.slot_id.len() == SlotId::LEN
        && slot.domain_id.len() == DomainId::LEN
        && slot.salt.len() == 32
        && slot.commitment.len() == 32
        && slot.sealed_key.len() == SEALED_LEN;
    if slot.version != FORMAT_VERSION || !lens_fit {
        return Err(SlotError::Damaged("a field has an impossible value"));
    }
    if slot.kind != i32::from(kind) {
        return Err(SlotError::Kind);
    }
    let server_fits = slot.server_id.len() == if kind == SlotKind::Machine { ServerId::LEN } else { 0 };
    match kind {
        SlotKind::Passphrase => {
            kdf_of(slot).check()?;
        }
        SlotKind::Machine | SlotKind::Recovery
            if (slot.argon_memory_kib, slot.argon_passes, slot.argon_lanes) == (0, 0, 0) => {}
        _ => {
            return Err(SlotError::Damaged(
                "its kind is unknown, or has no use for Argon2 parameters",
            ));
        }
    }
    if server_fits {
        Ok(())
    } else {
        Err(SlotError::Damaged("its server is missing, or it has no use for one"))
    }
}

fn kdf_of(slot: &KeySlot) -> KdfParams {
    KdfParams {
        memory_kib: slot.argon_memory_kib,
        passes: slot.argon_passes,
        lanes: slot.argon_lanes,
    }
}

pub(crate) fn stretch(slot: &KeySlot, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, SlotError> {
    let kdf = kdf_of(slot).check()?;
    let failed = |why| SlotError::Argon {
        memory_kib: kdf.memory_kib,
        why,
    };
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(32)).map_err(failed)?;
    let mut secret = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), &slot.salt, secret.as_mut_slice())
        .map_err(failed)?;
    Ok(secret)
}

fn wrapping_key(slot: &KeySlot, secret: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, SlotError> {
    let context = match slot.kind() {
        SlotKind::Passphrase => "lockstone v1 passphrase slot",
        SlotKind::Machine => "lockstone v1 machine slot",
        SlotKind::Recovery => "lockstone v1 recovery slot",
        SlotKind::Unspecified => return Err(SlotError::Kind),
    };
    let mut material = Zeroizing::new([0; 64]);
    material[..32].copy_from_slice(secret);
    material[32..].copy_from_slice(&slot.salt);
    Ok(Zeroizing::new(blake3::derive_key(context, material.as_slice())))
}

fn commitment(wrapping_key: &[u8; 32]) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key("lockstone v1 slot commitment", wrapping_key))
}

fn aad(slot: &KeySlot) -> Vec<u8> {
    KeySlot {
        commitment: Bytes::new(),
        sealed_key: Bytes::new(),
        ..slot.clone()
    }
    .encode_to_vec()
}

pub(crate) fn wrap(mut slot: KeySlot, master: &MasterKey, secret: &[u8; 32]) -> Result<KeySlot, SlotError> {
    let key = wrapping_key(&slot, secret)?;
    // Room for the tag, so that no copy of the key is left behind by a reallocation.
    let mut sealed = Vec::with_capacity(SEALED_LEN);
    sealed.extend_from_slice(master.as_bytes());
    SealKey::new(&key)
        .seal_in_place(0, &aad(&slot), &mut sealed)
        .map_err(|SealBroken| SlotError::Damaged("it cannot be sealed"))?;
    slot.commitment = Bytes::copy_from_slice(commitment(&key).as_bytes());
    slot.sealed_key = sealed.into();
    Ok(slot)
}

fn unwrap(slot: &KeySlot, secret: &[u8; 32]) -> Result<MasterKey, SlotError> {
    let key = wrapping_key(slot, secret)?;
    // `blake3::Hash` compares in constant time.
    if commitment(&key) != *slot.commitment {
        return Err(SlotError::WrongKey);
    }
    let mut sealed = Zeroizing::new([0; SEALED_LEN]);
    sealed.copy_from_slice(&slot.sealed_key);
    let opened = SealKey::new(&key)
        .open_slice(0, &aad(slot), sealed.as_mut_slice())
        .map_err(|SealBroken| SlotError::Damaged("its seal is broken"))?;
    let master: &[u8; 32] = (&*opened)
        .try_into()
        .map_err(|_| SlotError::Damaged("its seal is broken"))?;
    Ok(MasterKey::from_bytes(*master))
}

fn recovery_checksum(secret: &[u8; 32]) -> [u8; 3] {
    let [a, b, c, ..] = blake3::derive_key("lockstone v1 recovery key checksum", secret);
    [a, b, c]
}

/// Eight groups of seven characters: the secret and its checksum, five bits a character, most significant bit first.
pub(crate) fn print_recovery(secret: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    let (mut bits, mut held, mut count) = (0_u32, 0, 0);
    for byte in secret.iter().chain(&recovery_checksum(secret)) {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            if count > 0 && count % RECOVERY_GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
            count += 1;
        }
        bits &= (1 << held) - 1;
    }
    text
}

fn read_recovery(printed: &str) -> Result<Zeroizing<[u8; 32]>, SlotError> {
    let mut bytes = Zeroizing::new([0_u8; RECOVERY_LEN]);
    let (mut bits, mut held, mut len) = (0_u32, 0, 0);
    for typed in printed
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-')
    {
        let typed = match typed.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        };
        let value = ALPHABET.iter().position(|letter| *letter == typed);
        let value = value.ok_or(SlotError::Mistyped("it has a character no recovery key has"))?;
        bits = (bits << 5) | value as u32;
        held += 5;
        if held >= 8 {
            held -= 8;
            *bytes.get_mut(len).ok_or(SlotError::Mistyped("it is too long"))? = (bits >> held) as u8;
            len += 1;
        }
        bits &= (1 << held) - 1;
    }
    if len != RECOVERY_LEN || held != 0 {
        return Err(SlotError::Mistyped("it has not 56 characters"));
    }
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(&bytes[..32]);
    if bytes[32..] != recovery_checksum(&secret) {
        return Err(SlotError::Mistyped("its checksum does not fit"));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests;
