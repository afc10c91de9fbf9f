//! Sealing bytes: AES-256-GCM under fresh random nonces, keyed hashes, and the random bytes for both.

use std::sync::{Mutex, PoisonError};

use aes_gcm::aead::{Aead, AeadInOut, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::VaultError;

/// A 256-bit key, wiped when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// The tag by which a sealed text proves itself; journals chain on it.
pub(crate) type Tag = [u8; 16];

const NONCE: usize = 12;
const TAG: usize = 16;

/// Bytes by which a sealed text is longer than its plain text.
pub(crate) const OVERHEAD: usize = NONCE + TAG;

/// One key, ready to seal and open; built once, since the key schedule costs as much as a short message.
pub(crate) struct SealKey(Aes256Gcm);

impl SealKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(&(*key).into()))
    }

    /// Seals `plain` for a place that `aad` names: cipher text, tag, nonce.
    pub(crate) fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = fresh_nonce()?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(plain);
        self.0.encrypt_in_place(&Nonce::from(nonce), aad, &mut sealed).map_err(|_| VaultError::Unsealable)?;
        sealed.extend_from_slice(&nonce);
        Ok(sealed)
    }

    /// Opens what [`SealKey::seal`] made for the same place.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (body, nonce) = sealed.split_last_chunk::<NONCE>().ok_or(VaultError::Unsealable)?;
        let plain = self.0.decrypt(&Nonce::from(*nonce), Payload { msg: body, aad });
        plain.map(Zeroizing::new).map_err(|_| VaultError::Unsealable)
    }
}

/// The tag of a sealed text.
pub(crate) fn tag_of(sealed: &[u8]) -> Tag {
    let tag = sealed.len().checked_sub(OVERHEAD).and_then(|start| sealed.get(start..)?.first_chunk());
    tag.copied().unwrap_or_default()
}

/// A key for keyed hashes (HMAC-SHA256).
pub(super) struct MacKey(Hmac<Sha256>);

impl MacKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // HMAC itself pads a shorter key with zeros to the block of its hash.
        let mut block = Zeroizing::new([0; 64]);
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        Self(Hmac::new(&(*block).into()))
    }

    /// The keyed hash of `parts`, each with its length before it: no two lists of parts look alike.
    pub(super) fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&length(part));
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// `parts` in a row, each with its length before it.
pub(super) fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&length(part));
        bytes.extend_from_slice(part);
    }
    bytes
}

fn length(part: &[u8]) -> [u8; 8] {
    u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes()
}

/// A key of its own for one use, from a stronger one (HKDF-SHA256, RFC 5869).
pub(super) fn subkey(key: &[u8; 32], salt: &[u8], purpose: &str) -> Result<Key, VaultError> {
    let mut out = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(Some(salt), key).expand(purpose.as_bytes(), out.as_mut_slice());
    expanded.map_err(|_| VaultError::Unsealable)?;
    Ok(out)
}

/// Shows accidental damage; anybody can make it.
pub(super) fn checksum(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Compares in a time that does not depend on where the first difference is.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (l, r)| sum | (l ^ r)) == 0
}

/// `N` bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| VaultError::Random)?;
    Ok(bytes)
}

/// Random bytes that were fetched ahead: one call to the system for many nonces.
struct Pool {
    bytes: [u8; 1020],
    used: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { bytes: [0; 1020], used: 1020 });

fn fresh_nonce() -> Result<[u8; NONCE], VaultError> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let at = pool.used;
        let nonce = pool.bytes.get(at..).and_then(|rest| rest.first_chunk::<NONCE>()).copied();
        if let Some(nonce) = nonce {
            pool.used = at + NONCE;
            return Ok(nonce);
        }
        pool.bytes = random()?;
        pool.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_at_its_place_only() {
        let key = SealKey::new(&[7; 32]);
        let sealed = key.seal(b"here", b"plain").unwrap();
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(key.open(b"here", &sealed).unwrap().as_slice(), b"plain");
        assert!(key.open(b"there", &sealed).is_err());
        assert!(SealKey::new(&[8; 32]).open(b"here", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(key.open(b"here", &flipped).is_err());
            assert!(key.open(b"here", &sealed[..at]).is_err());
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        let nonces: std::collections::HashSet<_> = (0..5000).map(|_| fresh_nonce().unwrap()).collect();
        assert_eq!(nonces.len(), 5000);
    }

    #[test]
    fn parts_are_told_apart() {
        let key = MacKey::new(&[1; 32]);
        assert_ne!(key.of(&[b"ab", b"c"]), key.of(&[b"a", b"bc"]));
        assert_ne!(framed(&[b"ab", b"c"]), framed(&[b"a", b"bc"]));
    }
}
