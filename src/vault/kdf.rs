//! From a master secret to a key: Argon2id (RFC 9106) with a cost that is stored, and bounded when read.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::VaultError;
use super::cipher::Key;

/// What one guess at the master secret costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes over the memory.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

impl Cost {
    /// What new stores are made with: 64 MiB, 3 passes, 4 lanes.
    pub const STANDARD: Self = Self { m_kib: 64 * 1024, t: 3, p: 4 };

    /// The least that tests may use, to be quick.
    #[cfg(test)]
    pub(crate) const LEAST: Self = Self { m_kib: 19_456, t: 1, p: 1 };

    /// Whether a stored cost is one that gollm may have written. Checked before any memory is taken: a changed header
    /// shall neither weaken the key nor exhaust the machine.
    fn is_sane(self) -> bool {
        (19_456..=1024 * 1024).contains(&self.m_kib) && (1..=16).contains(&self.t) && (1..=16).contains(&self.p)
    }
}

/// The key-encryption key that a master secret gives.
pub(super) fn derive(secret: &[u8], salt: &[u8; 16], cost: Cost) -> Result<Key, VaultError> {
    if !cost.is_sane() {
        return Err(VaultError::Cost { cost });
    }
    let params = Params::new(cost.m_kib, cost.t, cost.p, Some(32)).map_err(|_| VaultError::Cost { cost })?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(secret, salt, key.as_mut_slice()).map_err(|_| VaultError::Cost { cost })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_outside_its_bounds_is_refused_before_it_is_paid() {
        for cost in [
            Cost { m_kib: 19_455, ..Cost::STANDARD },
            Cost { m_kib: u32::MAX, ..Cost::STANDARD },
            Cost { t: 0, ..Cost::STANDARD },
            Cost { t: 17, ..Cost::STANDARD },
            Cost { p: 0, ..Cost::STANDARD },
            Cost { p: 17, ..Cost::STANDARD },
        ] {
            assert!(matches!(derive(b"x", &[0; 16], cost), Err(VaultError::Cost { .. })), "{cost:?}");
        }
    }

    #[test]
    fn the_standard_cost_gives_the_same_key_each_time() {
        let key = derive(b"correct horse", &[1; 16], Cost::STANDARD).unwrap();
        assert_eq!(derive(b"correct horse", &[1; 16], Cost::STANDARD).unwrap(), key);
        assert_ne!(derive(b"correct horsf", &[1; 16], Cost::STANDARD).unwrap(), key);
        assert_ne!(derive(b"correct horse", &[2; 16], Cost::STANDARD).unwrap(), key);
    }
}
