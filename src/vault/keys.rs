//! The keys of a store: the root key, which slots wrap, and the data key that came after it, which the root key wraps.
//!
//! Rotating the data key leaves the slots as they are: nobody has to type every password again.

use zeroize::Zeroizing;

use super::cipher::{self, Key, SealKey, framed, subkey};
use super::{StoreId, VaultError};

/// All keys from which the others of a store come. They are wiped when dropped.
pub(crate) struct Keys {
    /// What the slots wrap. It is the data key of a store whose data key was never rotated.
    pub(super) root: Key,
    /// The data key since the last rotation.
    rotated: Option<Key>,
}

impl Keys {
    /// Those of a new store.
    pub(super) fn fresh() -> Result<Self, VaultError> {
        Ok(Self { root: Zeroizing::new(cipher::random()?), rotated: None })
    }

    /// Those that a header holds: `wrapped` is what [`Keys::wrap`] gave for the same generation.
    pub(super) fn of(store: StoreId, root: Key, wrapped: Option<&[u8]>, generation: u32) -> Result<Self, VaultError> {
        let rotated = match wrapped {
            None => None,
            Some(wrapped) => {
                let plain = wrapping(&root, store)?.open(&aad(store, generation), wrapped)?;
                Some(Zeroizing::new(<[u8; 32]>::try_from(plain.as_slice()).map_err(|_| VaultError::Unsealable)?))
            }
        };
        Ok(Self { root, rotated })
    }

    /// The same store's with a new data key.
    pub(super) fn rotated(&self) -> Result<Self, VaultError> {
        Ok(Self { root: self.root.clone(), rotated: Some(Zeroizing::new(cipher::random()?)) })
    }

    /// What seals the store's values.
    pub(super) fn current(&self) -> &[u8; 32] {
        self.rotated.as_ref().unwrap_or(&self.root)
    }

    /// The data key, wrapped under the root key for one generation of the store's files; none: there was no rotation.
    pub(super) fn wrap(&self, store: StoreId, generation: u32) -> Result<Option<Vec<u8>>, VaultError> {
        let Some(current) = &self.rotated else { return Ok(None) };
        wrapping(&self.root, store)?.seal(&aad(store, generation), current.as_slice()).map(Some)
    }

    #[cfg(test)]
    pub(crate) fn of_root(root: [u8; 32]) -> Self {
        Self { root: Zeroizing::new(root), rotated: None }
    }
}

fn wrapping(root: &Key, store: StoreId) -> Result<SealKey, VaultError> {
    Ok(SealKey::new(&*subkey(root, &store.0, "gollm data key 1")?))
}

fn aad(store: StoreId, generation: u32) -> Vec<u8> {
    framed(&[&store.0, b"data key", &generation.to_le_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([1; 16]);

    #[test]
    fn rotated_keys_read_back_for_their_generation_only() {
        let first = Keys::of_root([7; 32]);
        assert!(first.wrap(STORE, 0).unwrap().is_none());
        let second = first.rotated().unwrap();
        assert_ne!(second.current(), &[7; 32]);
        let wrapped = second.wrap(STORE, 1).unwrap().unwrap();
        let read = Keys::of(STORE, second.root.clone(), Some(&wrapped), 1).unwrap();
        assert_eq!(read.current(), second.current());
        assert!(Keys::of(STORE, second.root.clone(), Some(&wrapped), 2).is_err());
    }
}
