//! One slot: the root key of a store, wrapped under one master secret.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cipher::{self, Key, SealKey, framed, subkey};
use super::kdf::{self, Cost};
use super::master::MasterSource;
use super::{StoreId, VaultError, recovery};
use crate::protocol::bytes::{hex, unhex, unhex_array};

/// A slot as it stands in the header, its bytes in hexadecimal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    /// Its name in this store; none is given twice while its owner is there.
    #[serde(default = "first")]
    pub(super) number: u32,
    /// Where its secret is.
    pub(super) source: MasterSource,
    kdf: Cost,
    salt: String,
    check: String,
    key: String,
    /// The slot that takes its place: once that one has opened the store, this one goes.
    #[serde(default)]
    pub(super) until: Option<u32>,
}

const fn first() -> u32 {
    1
}

/// What trying a slot came to.
pub(super) enum Tried {
    /// The root key.
    Opened(Key),
    /// The secret is another one.
    Other,
    /// The secret is right, and the slot was changed.
    Damaged(&'static str),
}

impl Slot {
    /// Wraps a root key under a secret. Slow.
    pub(super) fn new(number: u32, source: MasterSource, secret: &[u8], cost: Cost, store: StoreId, root: &Key) -> Result<Self, VaultError> {
        let salt: [u8; 16] = cipher::random()?;
        let kek = Kek::derive(&as_kept(source, secret), &salt, cost)?;
        let sealed = SealKey::new(&kek.wrap).seal(&aad(store, source, cost, &salt), root.as_slice())?;
        Ok(Self { number, source, kdf: cost, salt: hex(&salt), check: hex(&*kek.check), key: hex(&sealed), until: None })
    }

    /// Does trying it cost no more than that?
    pub(super) const fn costs_at_most(&self, cost: Cost) -> bool {
        self.kdf.m_kib <= cost.m_kib && self.kdf.t <= cost.t && self.kdf.p <= cost.p
    }

    /// Opens it with a secret, if that is its own. Slow.
    ///
    /// # Errors
    /// The cost that it asks for is none that gollm writes.
    pub(super) fn open(&self, secret: &[u8], store: StoreId) -> Result<Tried, VaultError> {
        let Some(salt) = unhex_array::<16>(&self.salt) else { return Ok(Tried::Damaged("a salt is cut")) };
        let kek = Kek::derive(&as_kept(self.source, secret), &salt, self.kdf)?;
        if !cipher::same(hex(&*kek.check).as_bytes(), self.check.as_bytes()) {
            return Ok(Tried::Other);
        }
        let sealed = unhex(&self.key).unwrap_or_default();
        let opened = SealKey::new(&kek.wrap).open(&aad(store, self.source, self.kdf, &salt), &sealed).ok();
        let root = opened.and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok());
        Ok(root.map_or(Tried::Damaged("a wrapped key was changed"), |root| Tried::Opened(Zeroizing::new(root))))
    }
}

/// A recovery code is typed from paper.
fn as_kept(source: MasterSource, secret: &[u8]) -> Zeroizing<Vec<u8>> {
    match source {
        MasterSource::Recovery => recovery::normal(secret),
        _ => Zeroizing::new(secret.to_vec()),
    }
}

/// The two keys that a master secret gives: one wraps the root key, one only proves that the secret is right.
struct Kek {
    wrap: Key,
    check: Key,
}

impl Kek {
    fn derive(secret: &[u8], salt: &[u8; 16], cost: Cost) -> Result<Self, VaultError> {
        let kek = kdf::derive(secret, salt, cost)?;
        Ok(Self { wrap: subkey(&kek, salt, "gollm wrap 1")?, check: subkey(&kek, salt, "gollm check 1")? })
    }
}

fn aad(store: StoreId, source: MasterSource, cost: Cost, salt: &[u8; 16]) -> Vec<u8> {
    framed(&[&store.0, source.name().as_bytes(), &cost.m_kib.to_le_bytes(), &cost.t.to_le_bytes(), &cost.p.to_le_bytes(), salt])
}
