//! The keys of a domain. There is one random master key. Every other key is derived from it by BLAKE3 `derive_key` with
//! its own context, so that no key serves two purposes.
//!
//! ```text
//! master ─┬─ "lockstone v1 data chunk id"   ids of data chunks (keyed BLAKE3)
//!         ├─ "lockstone v1 tree chunk id"   ids of tree chunks (keyed BLAKE3)
//!         ├─ "lockstone v1 chunker table"   the gear table
//!         ├─ "lockstone v1 page ends"       where tree pages end
//!         ├─ "lockstone v1 packs"    ─ "lockstone v1 pack key"    (‖ pack id)    ─ "lockstone v1 pack commitment"
//!         ├─ "lockstone v1 segments" ─ "lockstone v1 segment key" (‖ segment id) ─ "lockstone v1 segment commitment"
//!         ├─ "lockstone v1 log"      ─ "lockstone v1 log body"    (‖ position ‖ session nonce)
//!         └─ "lockstone v1 policies" ─ "lockstone v1 policy text" (‖ generation ‖ nonce)
//! ```
//!
//! Promise: keys are wiped from memory when dropped and never appear in `Debug` output.

use std::fmt;

use lockstone_proto::ids::{ChunkId, DomainId};
use lockstone_proto::vault::ChunkKind;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::multi_hash::keyed_hashes;

/// The operating system could not give random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandom(#[from] getrandom::Error);

/// `N` fresh random bytes from the operating system. In a simulation they follow from its seed. No release has
/// simulations.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    #[cfg(any(test, feature = "testing"))]
    if crate::testing::seeded::fill(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A domain's 256-bit master key. Only key slots hold it, wrapped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// A fresh random key.
    pub fn generate() -> Result<Self, NoRandom> {
        random().map(Self)
    }

    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(secret)")
    }
}

/// All subkeys of a domain.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Keys {
    #[zeroize(skip)]
    domain: DomainId,
    data_id: [u8; 32],
    tree_id: [u8; 32],
    chunker: [u8; 32],
    page_ends: [u8; 32],
    packs: [u8; 32],
    segments: [u8; 32],
    /// Derives the key of each log entry's body; see `log`.
    pub(crate) log: [u8; 32],
    policies: [u8; 32],
}

impl Keys {
    /// Derives the subkeys of `domain` from its master key.
    #[must_use]
    pub fn derive(master: &MasterKey, domain: DomainId) -> Self {
        let subkey = |context| blake3::derive_key(context, master.as_bytes());
        Self {
            domain,
            data_id: subkey("lockstone v1 data chunk id"),
            tree_id: subkey("lockstone v1 tree chunk id"),
            chunker: subkey("lockstone v1 chunker table"),
            page_ends: subkey("lockstone v1 page ends"),
            packs: subkey("lockstone v1 packs"),
            segments: subkey("lockstone v1 segments"),
            log: subkey("lockstone v1 log"),
            policies: subkey("lockstone v1 policies"),
        }
    }

    /// The domain the keys belong to.
    #[must_use]
    pub fn domain(&self) -> DomainId {
        self.domain
    }

    /// The id of a chunk: keyed BLAKE3 of its plaintext under the subkey of its kind, so that file content never passes
    /// for a tree. A kind that is not `Tree` counts as data.
    #[must_use]
    pub fn chunk_id(&self, kind: ChunkKind, raw: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(self.id_key(kind), raw).as_bytes())
    }

    /// The ids of many chunks, in order; for short ones much faster than one by one.
    #[must_use]
    pub fn chunk_ids(&self, kind: ChunkKind, raw: &[&[u8]]) -> Vec<ChunkId> {
        let hashes = keyed_hashes(self.id_key(kind), raw);
        hashes.into_iter().map(ChunkId).collect()
    }

    fn id_key(&self, kind: ChunkKind) -> &[u8; 32] {
        if kind == ChunkKind::Tree {
            &self.tree_id
        } else {
            &self.data_id
        }
    }

    /// The chunker's 256-entry gear table: the first 2,048 bytes of the keyed BLAKE3 output stream over `gear table`,
    /// as little-endian u64.
    #[must_use]
    pub fn chunker_table(&self) -> Box<[u64; 256]> {
        let mut stream = blake3::Hasher::new_keyed(&self.chunker)
            .update(b"gear table")
            .finalize_xof();
        let mut table = Box::new([0; 256]);
        for entry in table.iter_mut() {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            *entry = u64::from_le_bytes(bytes);
        }
        table
    }

    /// The number that decides whether a tree page of that level ends after the item of that name.
    pub(crate) fn page_end(&self, level: u32, name: &[u8]) -> u32 {
        let hash = blake3::Hasher::new_keyed(&self.page_ends)
            .update(&level.to_le_bytes())
            .update(name)
            .finalize();
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    pub(crate) fn pack_key(&self, id: &[u8; 32]) -> ObjectKey {
        ObjectKey::derive("lockstone v1 pack key", "lockstone v1 pack commitment", &self.packs, id)
    }

    pub(crate) fn segment_key(&self, id: &[u8; 32]) -> ObjectKey {
        ObjectKey::derive(
            "lockstone v1 segment key",
            "lockstone v1 segment commitment",
            &self.segments,
            id,
        )
    }

    /// The key of a policy's text. `nonce` is new for each one.
    pub(crate) fn policy_key(&self, generation: u64, nonce: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let mut material = Zeroizing::new([0; 32 + 8 + 16]);
        material[..32].copy_from_slice(&self.policies);
        material[32..40].copy_from_slice(&generation.to_le_bytes());
        material[40..].copy_from_slice(nonce);
        Zeroizing::new(blake3::derive_key("lockstone v1 policy text", material.as_slice()))
    }

    /// Every subkey by its name in `docs/vectors.json`.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn named(&self) -> [(&'static str, &[u8; 32]); 8] {
        [
            ("data_chunk_id", &self.data_id),
            ("tree_chunk_id", &self.tree_id),
            ("chunker_table", &self.chunker),
            ("page_ends", &self.page_ends),
            ("packs", &self.packs),
            ("segments", &self.segments),
            ("log", &self.log),
            ("policies", &self.policies),
        ]
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, secret)", self.domain)
    }
}

/// The key of one object and its commitment. The commitment in the object's header shows which key was used. AES-GCM
/// alone does not commit to its key: a forger who knows two keys could make bytes that open with both.
pub(crate) struct ObjectKey {
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) commitment: [u8; 32],
}

impl ObjectKey {
    fn derive(context: &str, commitment_context: &str, subkey: &[u8; 32], id: &[u8; 32]) -> Self {
        let mut material = Zeroizing::new([0; 64]);
        material[..32].copy_from_slice(subkey);
        material[32..].copy_from_slice(id);
        let key = Zeroizing::new(blake3::derive_key(context, material.as_slice()));
        let commitment = blake3::derive_key(commitment_context, key.as_slice());
        Self { key, commitment }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::derive(&MasterKey::from_bytes([3; 32]), DomainId([1; 16]))
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let keys = keys();
        let mut all: Vec<[u8; 32]> = keys.named().iter().map(|(_, key)| **key).collect();
        for key in [
            keys.pack_key(&[5; 32]),
            keys.pack_key(&[6; 32]),
            keys.segment_key(&[5; 32]),
        ] {
            all.push(*key.key);
            all.push(key.commitment);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn content_never_passes_for_a_tree() {
        let keys = keys();
        assert_ne!(
            keys.chunk_id(ChunkKind::Data, b"the same"),
            keys.chunk_id(ChunkKind::Tree, b"the same")
        );
    }

    #[test]
    fn the_gear_table_follows_from_the_key() {
        let table = keys().chunker_table();
        assert_eq!(table, keys().chunker_table());
        assert_ne!(
            table,
            Keys::derive(&MasterKey::generate().unwrap(), DomainId([1; 16])).chunker_table()
        );
        assert!(table.iter().all(|entry| *entry != 0));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", MasterKey::from_bytes([0xab; 32])), "MasterKey(secret)");
        assert!(!format!("{:?}", keys()).contains("data_id"));
    }
}
