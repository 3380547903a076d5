//! AES-256-GCM with a key for each object. Everything that is sealed in the vault is sealed here: packs, segments, key
//! slots and log bodies. There are no random nonces. A key belongs to one object (or one slot, or one log entry), and
//! the nonce is the ordinal of the part within it, so no nonce is used twice with one key.
//!
//! A nonce has 12 bytes: the ordinal as u64, little endian, then four zero bytes. The 16-byte tag follows the sealed
//! bytes.
//!
//! aws-lc does the work in assembly, four times as fast as portable code. If it were wrong on one kind of processor, it
//! would seal and open wrongly in the same way, and the error would show only when another machine reads the vault.
//! Therefore `opens_elsewhere` opens with a second implementation (`aes-gcm`) that shares no code with the first. Each
//! pack is checked so once, by its directory, before it is uploaded.

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use lockstone_proto::limits::TAG_LEN;
use zeroize::Zeroizing;

/// A key that seals and opens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SealKey {
    /// `None` if the library refused the key, which it never does for 32 bytes. Then nothing can be sealed or opened.
    key: Option<Arc<LessSafeKey>>,
    bytes: Arc<Zeroizing<[u8; 32]>>,
}

/// The bytes were not sealed with this key, nonce and AAD: they are damaged, forged or misplaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal is broken")]
pub(crate) struct SealBroken;

impl From<Unspecified> for SealBroken {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl SealKey {
    /// A key of 32 bytes. It must be used for one object only.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key);
        Self {
            key: unbound.ok().map(|key| Arc::new(LessSafeKey::new(key))),
            bytes: Arc::new(Zeroizing::new(*key)),
        }
    }

    fn key(&self) -> Result<&LessSafeKey, SealBroken> {
        self.key.as_deref().ok_or(SealBroken)
    }

    /// Seals all of `buf` and appends the tag. Fails only beyond AES-GCM's own limit of 64 GiB.
    pub(crate) fn seal_in_place(&self, nonce: u64, aad: &[u8], buf: &mut Vec<u8>) -> Result<(), SealBroken> {
        let tag = self
            .key()?
            .seal_in_place_separate_tag(nonce_of(nonce), Aad::from(aad), buf)?;
        buf.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Seals `plain` into `out`, which is longer by `TAG_LEN` and ends with the tag.
    pub(crate) fn seal_into(&self, nonce: u64, aad: &[u8], plain: &[u8], out: &mut [u8]) -> Result<(), SealBroken> {
        let (body, tag) = out.split_last_chunk_mut::<TAG_LEN>().ok_or(SealBroken)?;
        if body.len() != plain.len() {
            return Err(SealBroken);
        }
        let nonce = nonce_of(nonce);
        Ok(self
            .key()?
            .seal_out_of_place_scatter(nonce, Aad::from(aad), plain, body, &[], tag)?)
    }

    /// Opens all of `buf` and cuts the tag off. After a failure the content of `buf` is undefined.
    pub(crate) fn open_in_place(&self, nonce: u64, aad: &[u8], buf: &mut Vec<u8>) -> Result<(), SealBroken> {
        let len = self.open_slice(nonce, aad, buf)?.len();
        buf.truncate(len);
        Ok(())
    }

    /// Opens a slice that ends with its tag and returns the part before the tag, opened. After a failure its content is
    /// undefined.
    pub(crate) fn open_slice<'a>(
        &self,
        nonce: u64,
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], SealBroken> {
        Ok(self.key()?.open_in_place(nonce_of(nonce), Aad::from(aad), sealed)?)
    }

    /// Opens `sealed`, which ends with its tag and stays as it is, into `out`, which is shorter by `TAG_LEN`.
    pub(crate) fn open_into(&self, nonce: u64, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), SealBroken> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(SealBroken)?;
        if body.len() != out.len() {
            return Err(SealBroken);
        }
        let nonce = nonce_of(nonce);
        Ok(self
            .key()?
            .open_separate_gather(nonce, Aad::from(aad), body, tag, out)?)
    }

    /// Whether a second implementation of AES-256-GCM also opens `sealed`, which ends with its tag.
    pub(crate) fn opens_elsewhere(&self, nonce: u64, aad: &[u8], sealed: &[u8]) -> Result<(), SealBroken> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(SealBroken)?;
        let mut body = body.to_vec();
        Aes256Gcm::new((&**self.bytes).into())
            .decrypt_inout_detached(
                &nonce_bytes(nonce).into(),
                aad,
                body.as_mut_slice().into(),
                &(*tag).into(),
            )
            .map_err(|_| SealBroken)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

fn nonce_bytes(ordinal: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&ordinal.to_le_bytes());
    nonce
}

fn nonce_of(ordinal: u64) -> Nonce {
    Nonce::assume_unique_for_key(nonce_bytes(ordinal))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_nothing_else_does(
            key: [u8; 32], nonce: u64, aad: Vec<u8>, plain: Vec<u8>, bit in 0usize..1 << 16,
        ) {
            let key = SealKey::new(&key);
            let mut sealed = plain.clone();
            key.seal_in_place(nonce, &aad, &mut sealed).unwrap();
            prop_assert_eq!(sealed.len(), plain.len() + TAG_LEN);
            prop_assert_eq!(key.opens_elsewhere(nonce, &aad, &sealed), Ok(()));

            let (mut beside, mut back) = (vec![1; sealed.len()], vec![2; plain.len()]);
            key.seal_into(nonce, &aad, &plain, &mut beside).unwrap();
            prop_assert_eq!(&beside, &sealed);
            key.open_into(nonce, &aad, &beside, &mut back).unwrap();
            prop_assert_eq!(&back, &plain);

            let mut opened = sealed.clone();
            key.open_in_place(nonce, &aad, &mut opened).unwrap();
            prop_assert_eq!(&opened, &plain);

            let mut flipped = sealed.clone();
            let bit = bit % (flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.open_into(nonce, &aad, &flipped, &mut back), Err(SealBroken));
            prop_assert_eq!(key.opens_elsewhere(nonce, &aad, &flipped), Err(SealBroken));
            prop_assert_eq!(key.open_in_place(nonce, &aad, &mut flipped), Err(SealBroken));
            prop_assert_eq!(key.open_in_place(nonce ^ 1, &aad, &mut sealed.clone()), Err(SealBroken));
            let mut other_aad = aad.clone();
            other_aad.push(0);
            prop_assert_eq!(key.open_in_place(nonce, &other_aad, &mut sealed.clone()), Err(SealBroken));
        }
    }

    #[test]
    fn less_than_a_tag_is_refused() {
        let key = SealKey::new(&[7; 32]);
        for len in 0..TAG_LEN {
            assert_eq!(key.open_in_place(0, b"", &mut vec![0; len]), Err(SealBroken));
            assert_eq!(key.open_into(0, b"", &vec![0; len], &mut []), Err(SealBroken));
            assert_eq!(key.seal_into(0, b"", &[], &mut vec![0; len]), Err(SealBroken));
        }
    }
}
