//! The store's header: its name, the generation of its files, and its keys, wrapped. Replaced as a whole, never changed in place.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::disk;
use crate::environment::Environment;

use super::cipher::{self, Key};
use super::kdf::Cost;
use super::keyring::Ring;
use super::keys::Keys;
use super::master::{self, Found, MasterSetting, MasterSource};
use super::slot::{Slot, Tried};
use super::slots::{SLOTS_MAX, SlotError};
use super::{StoreId, Vault, VaultError};
use crate::protocol::bytes::{hex, unhex, unhex_array};

const VERSION: u32 = 2;

/// What opening a store is asked with.
pub(crate) struct Request<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) setting: &'a MasterSetting,
    pub(crate) encrypt: bool,
    pub(crate) environment: &'a Environment,
    pub(crate) ring: &'a dyn Ring,
    /// What new slots cost.
    pub(crate) cost: Cost,
}

/// An open vault, and where its master secret came from.
pub(crate) struct Unlocked {
    pub(crate) vault: Vault,
    pub(crate) source: MasterSource,
    pub(crate) warnings: Vec<String>,
}

/// The root key can't be taken back from who has seen it.
const WAS_BARE: &str = "the key of this store lay bare once (`encrypt_keys: false`): whoever copied the state directory then can read what is kept now; \
    to end that, `gollmctl backup`, start with an empty state directory, and `gollmctl restore`";

/// The file as it is: a line of JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    gollm_store: u32,
    store: String,
    /// False until the first start has made all files of the store: until then there is nothing to lose.
    pub(crate) ready: bool,
    /// Which files are the store's: rotating the data key makes new ones beside the old ones.
    pub(crate) generation: u32,
    pub(super) root: Root,
    /// The data key since the last rotation, wrapped under the root key.
    data_key: Option<String>,
    /// Of all the rest: tells damage from a wrong password.
    checksum: String,
}

/// How the root key lies in the header.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Root {
    /// As it is, so that wiping it from memory would protect nothing.
    Bare {
        /// In hexadecimal.
        key: String,
    },
    /// Once for each master secret.
    Wrapped {
        /// In the order in which they were made.
        slots: Vec<Slot>,
        /// Sources that gollm can't empty, and that opened the store once: what they still give is no wrong password.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<MasterSource>,
        /// The root key lay bare before: whoever has a copy of that time can open what is sealed now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        was_bare: bool,
    },
}

/// The header of the first version: one slot, no rotation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "gollm_store")]
    _version: u32,
    store: String,
    ready: bool,
    slot: FirstSlot,
    #[serde(rename = "checksum")]
    _checksum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum FirstSlot {
    Plain { data_key: String },
    Wrapped(Slot),
}

impl From<First> for Header {
    fn from(first: First) -> Self {
        let root = match first.slot {
            FirstSlot::Plain { data_key } => Root::Bare { key: data_key },
            FirstSlot::Wrapped(slot) => Root::Wrapped { slots: vec![slot], left: Vec::new(), was_bare: false },
        };
        Self { gollm_store: VERSION, store: first.store, ready: first.ready, generation: 0, root, data_key: None, checksum: String::new() }
    }
}

/// Of whatever version.
#[derive(Deserialize)]
struct Any {
    gollm_store: u32,
}

/// What opened a store.
struct Opening {
    root: Key,
    /// The slot; none: the key lies bare.
    slot: Option<u32>,
    source: MasterSource,
    warnings: Vec<String>,
}

impl Opening {
    fn warning(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }
}

impl Header {
    /// The header of the store in a directory, if there is one.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, VaultError> {
        let path = path_in(dir);
        let bytes = disk::read(&path).map_err(|cause| VaultError::Io { path: path.clone(), cause })?;
        let Some(bytes) = bytes.map(Zeroizing::new) else { return Ok(None) };
        let cut = || damaged(dir, "it is cut or changed");
        if !is_whole(&bytes).ok_or_else(cut)? {
            return Err(damaged(dir, "its checksum does not fit"));
        }
        let version = serde_json::from_slice(&bytes).map(|any: Any| any.gollm_store).map_err(|_| cut())?;
        match version {
            1 => serde_json::from_slice(&bytes).map(|first: First| Some(first.into())).map_err(|_| cut()),
            VERSION => serde_json::from_slice(&bytes).map_err(|_| cut()).and_then(|header: Self| {
                if header.root.sources().len() > SLOTS_MAX { Err(damaged(dir, "it has more slots than gollm makes")) } else { Ok(Some(header)) }
            }),
            _ => Err(damaged(dir, "a newer version of gollm wrote it")),
        }
    }

    /// The header of the store in a directory, which has one.
    pub(crate) fn existing(dir: &Path) -> Result<Self, VaultError> {
        Self::read(dir)?.ok_or_else(|| damaged(dir, "it is missing"))
    }

    /// Makes the header of a new store, and its keys. It is not ready yet.
    pub(crate) fn create(request: &Request<'_>) -> Result<(Self, Unlocked), VaultError> {
        let store = StoreId(cipher::random()?);
        let keys = Keys::fresh()?;
        let (root, source, warnings) = Root::new(request, store, &keys.root)?;
        let header = Self { gollm_store: VERSION, store: hex(&store.0), ready: false, generation: 0, root, data_key: None, checksum: String::new() };
        let header = header.write(request.dir)?;
        Ok((header, Unlocked { vault: Vault::new(store, keys)?, source, warnings }))
    }

    /// Says that all files of the store are there.
    pub(crate) fn finish(mut self, dir: &Path) -> Result<(), VaultError> {
        self.ready = true;
        self.write(dir).map(drop)
    }

    /// Opens the keys; wraps them, or lays them bare, where `encrypt_keys` was changed since. Slots whose time is over go.
    pub(crate) fn unlock(mut self, request: &Request<'_>) -> Result<Unlocked, VaultError> {
        let store = self.store(request.dir)?;
        let Opening { root, slot, mut source, mut warnings } = self.open(request, store)?;
        let keys = self.keys(request.dir, store, root)?;
        if request.encrypt == matches!(self.root, Root::Bare { .. }) {
            (self.root, source, warnings) = Root::new(request, store, &keys.root)?;
            if let Root::Wrapped { was_bare, .. } = &mut self.root {
                *was_bare = true;
            }
            self = self.write(request.dir)?;
        } else if let Some(opened_by) = slot {
            let gone = self.root.change(|slots| {
                leave(slots, opened_by);
                Ok(())
            })?;
            if !gone.is_empty() {
                let there = self.root.sources();
                self = self.write(request.dir)?;
                master::forget(&gone, &there, request.dir, store, request.ring);
            }
        }
        if matches!(self.root, Root::Wrapped { was_bare: true, .. }) {
            warnings.push(WAS_BARE.to_owned());
        }
        Ok(Unlocked { vault: Vault::new(store, keys)?, source, warnings })
    }

    /// Is the root key wrapped, so that a master secret is needed?
    pub(crate) const fn is_wrapped(&self) -> bool {
        matches!(self.root, Root::Wrapped { .. })
    }

    /// Does `setting` open the store? Changes nothing. Slow.
    pub(crate) fn proves(&self, request: &Request<'_>) -> Result<u32, VaultError> {
        let store = self.store(request.dir)?;
        Ok(self.open(request, store)?.slot.unwrap_or_default())
    }

    /// Goes over to the files of another generation, and to the keys that seal them.
    pub(crate) fn switch(mut self, dir: &Path, vault: &Vault, generation: u32) -> Result<(), VaultError> {
        self.data_key = vault.keys.all.wrap(vault.store, generation)?.map(|wrapped| hex(&wrapped));
        self.generation = generation;
        self.write(dir).map(drop)
    }

    pub(super) fn store(&self, dir: &Path) -> Result<StoreId, VaultError> {
        unhex_array(&self.store).map(StoreId).ok_or_else(|| damaged(dir, "it names no store"))
    }

    fn keys(&self, dir: &Path, store: StoreId, root: Key) -> Result<Keys, VaultError> {
        let wrapped = self.data_key.as_deref().map(|text| unhex(text).unwrap_or_default());
        Keys::of(store, root, wrapped.as_deref(), self.generation).map_err(|why| match why {
            VaultError::Unsealable => damaged(dir, "its data key was changed"),
            other => other,
        })
    }

    /// The root key, by the master secret that is looked up now.
    fn open(&self, request: &Request<'_>, store: StoreId) -> Result<Opening, VaultError> {
        let (slots, left) = match &self.root {
            Root::Bare { key } => {
                let root = unhex_array(key).map(Zeroizing::new).ok_or_else(|| damaged(request.dir, "its key is cut"))?;
                return Ok(Opening { root, slot: None, source: MasterSource::None, warnings: Vec::new() });
            }
            Root::Wrapped { slots, left, .. } => (slots, left),
        };
        let sources = self.root.sources();
        let mut passed_over = Vec::new();
        for given in master::given(request.setting, request.environment)? {
            match tried(slots, given, request.dir, store) {
                Err(VaultError::WrongPassword { used, .. }) if matches!(request.setting, MasterSetting::Auto) && left.contains(&used) => {
                    passed_over.push(format!("{used} opens the store no more and was passed over: take it away"));
                }
                opened => return opened.map(|opening| opening.warning(passed_over)),
            }
        }
        let found = master::kept_or_typed(request.setting, &sources, request.dir, store, request.ring)?;
        match tried(slots, found, request.dir, store) {
            // Somebody can open it still, while it runs.
            Err(VaultError::WrongPassword { used, .. })
                if matches!(request.setting, MasterSetting::Auto) && sources.iter().any(|source| source.is_typed()) =>
            {
                Err(VaultError::Locked { why: Some(format!("the secret from {used} is another one")) })
            }
            opened => opened.map(|opening| opening.warning(passed_over)),
        }
    }

    pub(super) fn write(mut self, dir: &Path) -> Result<Self, VaultError> {
        let path = path_in(dir);
        self.checksum = String::new();
        let io = |cause| VaultError::Io { path: path.clone(), cause };
        let bare = self.text().map_err(io)?;
        self.checksum = hex(&cipher::checksum(bare.as_bytes()));
        let text = self.text().map_err(io)?;
        disk::replace(&path, text.as_bytes()).map_err(io)?;
        Ok(self)
    }

    fn text(&self) -> std::io::Result<Zeroizing<String>> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(Zeroizing::new(text))
    }
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join("header")
}

pub(super) fn damaged(dir: &Path, what: &'static str) -> VaultError {
    VaultError::HeaderDamaged { path: path_in(dir), what }
}

/// Does the checksum at the end of a header fit what stands before it? None: there is no such end.
fn is_whole(bytes: &[u8]) -> Option<bool> {
    const FIELD: &str = "\"checksum\":\"";
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, end) = text.rsplit_once(FIELD)?;
    let sum = end.strip_suffix("\"}\n")?;
    let bare = Zeroizing::new(format!("{body}{FIELD}\"}}\n"));
    Some(hex(&cipher::checksum(bare.as_bytes())) == sum)
}

/// Tries a secret on the slots. Slow.
fn tried(slots: &[Slot], found: Found, dir: &Path, store: StoreId) -> Result<Opening, VaultError> {
    let Found { secret, source, warnings } = found;
    let mut broken = None;
    // Most likely first: each try costs a key derivation.
    let (likely, others): (Vec<&Slot>, Vec<&Slot>) = slots.iter().rev().partition(|slot| slot.source == source);
    for slot in likely.into_iter().chain(others) {
        match slot.open(&secret, store) {
            Ok(Tried::Opened(root)) => return Ok(Opening { root, slot: Some(slot.number), source, warnings }),
            Ok(Tried::Other) => {}
            Ok(Tried::Damaged(what)) => broken = Some(damaged(dir, what)),
            Err(why) => broken = Some(why),
        }
    }
    match broken {
        Some(why) => Err(why),
        None => {
            let made_with = slots.iter().find(|slot| slot.source != MasterSource::Recovery).or(slots.first());
            Err(VaultError::WrongPassword { used: source, made_with: made_with.map_or(MasterSource::None, |slot| slot.source) })
        }
    }
}

/// Takes out the slots whose time is over now that `opened_by` has opened the store: those that it replaces, and those of a
/// place that holds one secret only, and another one. Gives their sources.
fn leave(slots: &mut Vec<Slot>, opened_by: u32) {
    let place = slots.iter().find(|slot| slot.number == opened_by).map(|slot| slot.source).filter(|source| source.holds_one());
    let is_over = |slot: &Slot| slot.number != opened_by && (slot.until == Some(opened_by) || Some(slot.source) == place);
    slots.retain(|slot| !is_over(slot));
}

impl Root {
    /// A root key under a master secret that is looked up, or made, now.
    fn new(request: &Request<'_>, store: StoreId, root: &Key) -> Result<(Self, MasterSource, Vec<String>), VaultError> {
        if !request.encrypt {
            return Ok((Self::Bare { key: hex(root.as_slice()) }, MasterSource::None, Vec::new()));
        }
        let found = master::make(request.setting, request.dir, request.environment, store, request.ring)?;
        let slot = Slot::new(1, found.source, &found.secret, request.cost, store, root)?;
        Ok((Self::Wrapped { slots: vec![slot], left: Vec::new(), was_bare: false }, found.source, found.warnings))
    }

    /// Where the secrets are that open the store.
    pub(super) fn sources(&self) -> Vec<MasterSource> {
        match self {
            Self::Bare { .. } => Vec::new(),
            Self::Wrapped { slots, .. } => slots.iter().map(|slot| slot.source).collect(),
        }
    }

    /// Changes the slots. Answers with the sources of those that went.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Vec<Slot>) -> Result<(), SlotError>) -> Result<Vec<MasterSource>, SlotError> {
        let Self::Wrapped { slots, left, .. } = self else { return Err(SlotError::Bare) };
        let before: Vec<(u32, MasterSource)> = slots.iter().map(|slot| (slot.number, slot.source)).collect();
        change(slots)?;
        let is_gone = |number: u32| !slots.iter().any(|slot| slot.number == number);
        let gone: Vec<MasterSource> = before.into_iter().filter(|(number, _)| is_gone(*number)).map(|(_, source)| source).collect();
        left.extend(gone.iter().filter(|source| source.is_given()));
        left.sort_unstable();
        left.dedup();
        left.retain(|source| !slots.iter().any(|slot| slot.source == *source));
        Ok(gone)
    }
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
    fn edit(dir: &Path, from: &str, to: &str) {
        let header = Header::read(dir).unwrap().unwrap();
        let text = header.text().unwrap();
        assert!(text.contains(from));
        serde_json::from_str::<Header>(&text.replace(from, to)).unwrap().write(dir).unwrap();
    }

    #[test]
    fn a_header_of_the_first_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store-1/header"), dir.path().join("header")).unwrap();
        assert!(matches!(unlock(dir.path(), "wrong", true), Err(VaultError::WrongPassword { .. })));
        assert_eq!(unlock(dir.path(), "a password for tests", true).unwrap().source, MasterSource::Environment);
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
        edit(dir.path(), "\"m_kib\":19456", "\"m_kib\":1");
        assert!(matches!(unlock(dir.path(), "correct horse", true), Err(VaultError::Cost { .. })));
        edit(dir.path(), "\"m_kib\":1,", "\"m_kib\":19456,");
        edit(dir.path(), "\"environment\"", "\"credential\"");
        assert!(matches!(unlock(dir.path(), "correct horse", true), Err(VaultError::HeaderDamaged { .. })));
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
