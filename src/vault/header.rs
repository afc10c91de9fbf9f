//! The store's header: its name, and the data key wrapped under the master secret. Replaced as a whole, never changed in place.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::disk;
use crate::environment::Environment;

use super::cipher::{self, Key, SealKey, framed, subkey};
use super::kdf::{self, Cost};
use super::keyring::Ring;
use super::master::{Found, MasterSetting, MasterSource, find, make};
use super::text::{hex, unhex, unhex_array};
use super::{StoreId, Vault, VaultError};

const VERSION: u32 = 1;

/// What opening a store is asked with.
pub(crate) struct Request<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) setting: &'a MasterSetting,
    pub(crate) encrypt: bool,
    pub(crate) environment: &'a Environment,
    pub(crate) ring: &'a dyn Ring,
    /// What new headers cost.
    pub(crate) cost: Cost,
}

impl Request<'_> {
    fn path(&self) -> PathBuf {
        self.dir.join("header")
    }
}

/// An open vault, and where its master secret came from.
pub(crate) struct Unlocked {
    pub(crate) vault: Vault,
    pub(crate) source: MasterSource,
    pub(crate) warnings: Vec<String>,
}

/// The file as it is: a line of JSON, its numbers in hexadecimal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    gollm_store: u32,
    store: String,
    /// False until the first start has made all files of the store: until then there is nothing to lose.
    pub(crate) ready: bool,
    slot: Slot,
    /// Of all the rest: tells damage from a wrong password.
    checksum: String,
}

/// How the data key lies in the header.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Slot {
    /// Bare in the file, so that wiping it from memory would protect nothing.
    Plain {
        data_key: String,
    },
    Wrapped {
        source: MasterSource,
        kdf: Cost,
        salt: String,
        check: String,
        key: String,
    },
}

impl Header {
    /// The header of the store in a directory, if there is one.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, VaultError> {
        let path = dir.join("header");
        let bytes = disk::read(&path).map_err(|cause| VaultError::Io { path: path.clone(), cause })?;
        let Some(bytes) = bytes.map(Zeroizing::new) else { return Ok(None) };
        let damaged = |what| VaultError::HeaderDamaged { path: path.clone(), what };
        let header: Self = serde_json::from_slice(&bytes).map_err(|_| damaged("it is cut or changed"))?;
        if header.checksum != header.sum() {
            return Err(damaged("its checksum does not fit"));
        }
        if header.gollm_store != VERSION {
            return Err(damaged("a newer version of gollm wrote it"));
        }
        Ok(Some(header))
    }

    /// Makes the header of a new store, and its keys. It is not ready yet.
    pub(crate) fn create(request: &Request<'_>) -> Result<(Self, Unlocked), VaultError> {
        let store = StoreId(cipher::random()?);
        let data_key: Key = Zeroizing::new(cipher::random()?);
        let (slot, source, warnings) = Slot::new(request, store, &data_key)?;
        let header = Self { gollm_store: VERSION, store: hex(&store.0), ready: false, slot, checksum: String::new() };
        let header = header.write(request.dir)?;
        Ok((header, Unlocked { vault: Vault::new(store, &data_key)?, source, warnings }))
    }

    /// Says that all files of the store are there.
    pub(crate) fn finish(mut self, dir: &Path) -> Result<(), VaultError> {
        self.ready = true;
        self.write(dir).map(drop)
    }

    /// Opens the data key; wraps it, or lays it bare, where `encrypt_keys` was changed since.
    pub(crate) fn unlock(mut self, request: &Request<'_>) -> Result<Unlocked, VaultError> {
        let (store, data_key, mut source, mut warnings) = self.data_key(request)?;
        if request.encrypt == matches!(self.slot, Slot::Plain { .. }) {
            (self.slot, source, warnings) = Slot::new(request, store, &data_key)?;
            self.write(request.dir)?;
        }
        Ok(Unlocked { vault: Vault::new(store, &data_key)?, source, warnings })
    }

    /// Opens the data key with `old` and wraps it with `new`; what it seals stays as it is.
    pub(crate) fn rewrap(mut self, old: &Request<'_>, new: &Request<'_>) -> Result<(), VaultError> {
        let (store, data_key, _, _) = self.data_key(old)?;
        self.slot = Slot::new(new, store, &data_key)?.0;
        self.write(new.dir).map(drop)
    }

    fn data_key(&self, request: &Request<'_>) -> Result<(StoreId, Key, MasterSource, Vec<String>), VaultError> {
        let damaged = |what| VaultError::HeaderDamaged { path: request.path(), what };
        let store = StoreId(unhex_array(&self.store).ok_or_else(|| damaged("it names no store"))?);
        match &self.slot {
            Slot::Plain { data_key } => {
                let key: [u8; 32] = unhex_array(data_key).ok_or_else(|| damaged("its data key is cut"))?;
                Ok((store, Zeroizing::new(key), MasterSource::None, Vec::new()))
            }
            Slot::Wrapped { source, kdf, salt, check, key } => {
                let salt: [u8; 16] = unhex_array(salt).ok_or_else(|| damaged("its salt is cut"))?;
                let found = find(request.setting, *source, request.dir, request.environment, store, request.ring)?;
                let kek = Kek::derive(&found, &salt, *kdf)?;
                if !cipher::same(hex(&*kek.check).as_bytes(), check.as_bytes()) {
                    return Err(VaultError::WrongPassword { used: found.source, made_with: *source });
                }
                let aad = slot_aad(store, *source, *kdf, &salt);
                let sealed = unhex(key).ok_or_else(|| damaged("its data key is cut"))?;
                let opened = SealKey::new(&kek.wrap).open(&aad, &sealed).ok();
                let data_key = opened.and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok());
                let data_key = data_key.ok_or_else(|| damaged("its data key was changed"))?;
                Ok((store, Zeroizing::new(data_key), found.source, found.warnings))
            }
        }
    }

    fn write(mut self, dir: &Path) -> Result<Self, VaultError> {
        let path = dir.join("header");
        self.checksum = self.sum();
        let written = self.text().and_then(|text| disk::replace(&path, text.as_bytes()));
        written.map_err(|cause| VaultError::Io { path, cause })?;
        Ok(self)
    }

    fn text(&self) -> std::io::Result<Zeroizing<String>> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(Zeroizing::new(text))
    }

    fn sum(&self) -> String {
        let bare = Self { checksum: String::new(), ..self.clone() };
        bare.text().map(|text| hex(&cipher::checksum(text.as_bytes()))).unwrap_or_default()
    }
}

impl Slot {
    /// A new slot for a data key, under a master secret that is looked up, or made, now.
    fn new(request: &Request<'_>, store: StoreId, data_key: &Key) -> Result<(Self, MasterSource, Vec<String>), VaultError> {
        if !request.encrypt {
            return Ok((Self::Plain { data_key: hex(data_key.as_slice()) }, MasterSource::None, Vec::new()));
        }
        let found = make(request.setting, request.dir, request.environment, store, request.ring)?;
        let salt: [u8; 16] = cipher::random()?;
        let kek = Kek::derive(&found, &salt, request.cost)?;
        let sealed = SealKey::new(&kek.wrap).seal(&slot_aad(store, found.source, request.cost, &salt), data_key.as_slice())?;
        let slot = Self::Wrapped { source: found.source, kdf: request.cost, salt: hex(&salt), check: hex(&*kek.check), key: hex(&sealed) };
        Ok((slot, found.source, found.warnings))
    }
}

/// The two keys that a master secret gives: one wraps the data key, one only proves that the secret is right.
struct Kek {
    wrap: Key,
    check: Key,
}

impl Kek {
    fn derive(found: &Found, salt: &[u8; 16], cost: Cost) -> Result<Self, VaultError> {
        let kek = kdf::derive(&found.secret, salt, cost)?;
        Ok(Self { wrap: subkey(&kek, salt, "gollm wrap 1")?, check: subkey(&kek, salt, "gollm check 1")? })
    }
}

fn slot_aad(store: StoreId, source: MasterSource, cost: Cost, salt: &[u8; 16]) -> Vec<u8> {
    framed(&[&store.0, source.name().as_bytes(), &cost.m_kib.to_le_bytes(), &cost.t.to_le_bytes(), &cost.p.to_le_bytes(), salt])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::keyring::NoRing;

    fn environment(password: &str) -> Environment {
        [("GOLLM_MASTER_PASSWORD", password)].into_iter().collect()
    }

    fn with<T>(dir: &Path, password: &str, encrypt: bool, act: impl FnOnce(&Request<'_>) -> T) -> T {
        let environment = environment(password);
        act(&Request { dir, setting: &MasterSetting::Auto, encrypt, environment: &environment, ring: &NoRing, cost: Cost::LEAST })
    }

    fn unlock(dir: &Path, password: &str, encrypt: bool) -> Result<Unlocked, VaultError> {
        with(dir, password, encrypt, |request| Header::read(dir)?.unwrap().unlock(request))
    }

    fn made() -> (tempfile::TempDir, Vault) {
        let dir = tempfile::tempdir().unwrap();
        let (_, unlocked) = with(dir.path(), "correct horse", true, |request| Header::create(request).unwrap());
        (dir, unlocked.vault)
    }

    /// Changes the file as somebody would who knows how to make the checksum fit.
    fn edit(dir: &Path, change: impl FnOnce(&mut Slot)) {
        let mut header = Header::read(dir).unwrap().unwrap();
        change(&mut header.slot);
        header.write(dir).unwrap();
    }

    #[test]
    fn the_right_password_opens_the_same_keys() {
        let (dir, vault) = made();
        let token = vault.seal_token(b"x").unwrap();
        let again = unlock(dir.path(), "correct horse", true).unwrap();
        assert_eq!(again.source, MasterSource::Environment);
        assert!(again.vault.open_token(&token).is_ok());
    }

    #[test]
    fn a_wrong_password_is_told_from_damage() {
        let (dir, _) = made();
        let before = std::fs::read(dir.path().join("header")).unwrap();
        assert!(matches!(unlock(dir.path(), "wrong", true), Err(VaultError::WrongPassword { .. })));
        assert_eq!(std::fs::read(dir.path().join("header")).unwrap(), before);
        for at in 0..before.len() - 1 {
            let mut bytes = before.clone();
            bytes[at] ^= 1;
            std::fs::write(dir.path().join("header"), &bytes).unwrap();
            assert!(matches!(Header::read(dir.path()), Err(VaultError::HeaderDamaged { .. })), "byte {at}");
        }
    }

    #[test]
    fn edited_parameters_are_refused() {
        let (dir, _) = made();
        edit(dir.path(), |slot| {
            if let Slot::Wrapped { kdf, .. } = slot {
                kdf.m_kib = 1;
            }
        });
        assert!(matches!(unlock(dir.path(), "correct horse", true), Err(VaultError::Cost { .. })));
        edit(dir.path(), |slot| {
            if let Slot::Wrapped { kdf, source, .. } = slot {
                *kdf = Cost::LEAST;
                *source = MasterSource::Credential;
            }
        });
        assert!(matches!(unlock(dir.path(), "correct horse", true), Err(VaultError::HeaderDamaged { .. })));
    }

    #[test]
    fn a_new_password_opens_what_the_old_one_sealed() {
        let (dir, vault) = made();
        let token = vault.seal_token(b"x").unwrap();
        let change = |old: &str, new: &str| crate::vault::change_password(dir.path(), old, new);
        assert!(matches!(change("wrong", "new"), Err(VaultError::WrongPassword { .. })));
        assert!(matches!(change("correct horse", ""), Err(VaultError::NoMaster { .. })));
        change("correct horse", "new").unwrap();
        assert!(matches!(unlock(dir.path(), "correct horse", true), Err(VaultError::WrongPassword { .. })));
        assert!(unlock(dir.path(), "new", true).unwrap().vault.open_token(&token).is_ok());
    }

    #[test]
    fn encryption_can_be_turned_off_and_on() {
        let (dir, vault) = made();
        let token = vault.seal_token(b"x").unwrap();
        let bare = unlock(dir.path(), "correct horse", false).unwrap();
        assert_eq!(bare.source, MasterSource::None);
        assert!(unlock(dir.path(), "", false).unwrap().vault.open_token(&token).is_ok());
        assert_eq!(unlock(dir.path(), "another", true).unwrap().source, MasterSource::Environment);
        assert!(matches!(unlock(dir.path(), "correct horse", true), Err(VaultError::WrongPassword { .. })));
        assert!(unlock(dir.path(), "another", true).unwrap().vault.open_token(&token).is_ok());
    }
}
