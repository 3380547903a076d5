//! AES-256-GCM under a key that is used for one object only. Everything sealed in the vault passes through here: packs,
//! segments, key slots and log bodies. There are no random nonces: a key belongs to one object (or one slot, or one log
//! entry), and the nonce is the ordinal of the piece within it, so that no nonce comes twice under one key.
//!
//! A nonce is 12 bytes: the ordinal as u64, little endian, then four zero bytes. The 16-byte tag stands behind the
//! sealed bytes. Both directions work in place.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use lockstone_proto::limits::TAG_LEN;

/// A key that seals and opens.
#[derive(Clone)]
pub(crate) struct SealKey(Aes256Gcm);

/// The bytes are not what was sealed under this key, nonce and AAD: damaged, forged or misplaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal is broken")]
pub(crate) struct SealBroken;

impl SealKey {
    /// A key of 32 bytes that seals nothing but one object.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals all of `buf` and appends the tag. Fails only beyond AES-GCM's own limit of 64 GiB.
    pub(crate) fn seal_in_place(&self, nonce: u64, aad: &[u8], buf: &mut Vec<u8>) -> Result<(), SealBroken> {
        let tag = self
            .0
            .encrypt_inout_detached(&nonce_of(nonce), aad, buf.as_mut_slice().into())
            .map_err(|_| SealBroken)?;
        buf.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens all of `buf` and cuts the tag off. On failure nothing was decrypted.
    pub(crate) fn open_in_place(&self, nonce: u64, aad: &[u8], buf: &mut Vec<u8>) -> Result<(), SealBroken> {
        let len = self.open_slice(nonce, aad, buf)?.len();
        buf.truncate(len);
        Ok(())
    }

    /// Opens a slice that ends with its tag and returns the part before the tag, opened. On failure nothing was decrypted.
    pub(crate) fn open_slice<'a>(
        &self,
        nonce: u64,
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], SealBroken> {
        let (body, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(SealBroken)?;
        let tag: &Tag = (&*tag).into();
        self.0
            .decrypt_inout_detached(&nonce_of(nonce), aad, (&mut *body).into(), tag)
            .map_err(|_| SealBroken)?;
        Ok(body)
    }
}

fn nonce_of(ordinal: u64) -> Nonce<aes_gcm::aes::cipher::consts::U12> {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&ordinal.to_le_bytes());
    nonce.into()
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

            let mut opened = sealed.clone();
            key.open_in_place(nonce, &aad, &mut opened).unwrap();
            prop_assert_eq!(&opened, &plain);

            let mut flipped = sealed.clone();
            let bit = bit % (flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
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
        }
    }
}
