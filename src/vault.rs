//! Sealing: everything that gollm stores, and the keys for it, which all come from one data key.

pub mod kdf;
pub mod keyring;
pub mod master;
pub(crate) mod cipher;
pub(crate) mod envelope;
pub(crate) mod header;
pub(crate) mod keys;
mod locked;
mod recovery;
mod slot;
pub mod sign;
pub mod slots;
pub(crate) mod text;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::protocol::bytes::hex;
use crate::secret::Secret;

use cipher::{Key, MacKey, SealKey, framed, subkey};
use header::{Header, Request};
use kdf::Cost;
use keyring::RingFault;
use keys::Keys;
use locked::Locked;
use master::{MasterSetting, MasterSource};
use slots::SlotError;

/// The name of one store, made when it is made; also its account in the keyring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StoreId(pub(crate) [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a sealed value belongs. It opens there and nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The tree of the store.
    pub tree: &'a str,
    /// The key in that tree.
    pub key: &'a [u8],
    /// The version of what is sealed.
    pub version: u8,
}

/// Why sealing, opening or unlocking failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The master secret is not the store's.
    #[error(
        "wrong master password: the one from {used} does not open this store, which was made with {made_with}; {mend}, nothing was changed",
        mend = used.mend_wrong(*.made_with)
    )]
    WrongPassword {
        /// Where the secret came from.
        used: MasterSource,
        /// Where the one came from that the store was made with.
        made_with: MasterSource,
    },
    /// There is no master secret where it was looked for.
    #[error("no master password: {wanted} gives none, and the store was made with {made_with}; {mend}", mend = .made_with.mend())]
    NoMaster {
        /// Where it was looked for.
        wanted: MasterSource,
        /// Where the one came from that the store was made with.
        made_with: MasterSource,
    },
    /// A person has to give the master secret, and has not yet.
    #[error("the store is locked: `gollmctl unlock` opens it{}", .why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default())]
    Locked {
        /// Why nothing else opened it; none: nothing else was to.
        why: Option<String>,
    },
    /// What was asked of the slots can't be done.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The keyring did not give, or keep, the master secret.
    #[error("the keyring {0}; {mend}", mend = .0.mend())]
    Keyring(RingFault),
    /// A file with a master secret can't be used.
    #[error("{}: {what}", path.display())]
    MasterFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what mends it.
        what: &'static str,
    },
    /// The store's header was changed or cut. This is not a wrong password.
    #[error("{}: the header of the store is damaged: {what}; move the directory aside, start anew and `gollmctl restore` a backup", path.display())]
    HeaderDamaged {
        /// The header.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The store's key derivation costs less or more than gollm ever writes.
    #[error("the header asks for a key derivation of {} KiB, {} passes, {} lanes, which gollm never writes: it was changed; restore a backup", cost.m_kib, cost.t, cost.p)]
    Cost {
        /// The cost that was found.
        cost: Cost,
    },
    /// The value was changed, cut, sealed elsewhere, or is too long to be sealed.
    #[error("the value can't be opened: it was changed, or belongs to another place or store")]
    Unsealable,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// Reading or writing failed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// The keys of an open store. They are wiped when it is dropped.
pub struct Vault {
    store: StoreId,
    /// What the tokens of leases are sealed for.
    of_leases: Vec<u8>,
    /// What the tokens of this run begin with.
    salt: Salt,
    keys: Locked<Schedule>,
}

type Salt = [u8; 16];

fn of_leases(root: &Key, store: StoreId, salt: &Salt) -> Result<SealKey, VaultError> {
    Ok(SealKey::new(&*subkey(root, &[store.0, *salt].concat(), "gollm leases 1")?))
}

/// The keys, and those that come from them.
struct Schedule {
    values: SealKey,
    /// For tokens, of the salt that they begin with: one key seals those of one run, so that none seals more than random nonces allow.
    leases: SealKey,
    journal: Key,
    ledger: MacKey,
    fingerprints: MacKey,
    trail: MacKey,
    held: SealKey,
    all: Keys,
}

impl Vault {
    pub(crate) fn new(store: StoreId, keys: Keys) -> Result<Self, VaultError> {
        let key = |purpose: &str| subkey(keys.current(), &store.0, purpose);
        let of_root = |purpose: &str| subkey(&keys.root, &store.0, purpose);
        let salt: Salt = cipher::random()?;
        let schedule = Schedule {
            values: SealKey::new(&*key("gollm values 1")?),
            // Neither are these of the data key: a lease outlives its rotations.
            leases: of_leases(&keys.root, store, &salt)?,
            journal: key("gollm journal 1")?,
            ledger: MacKey::new(&*key("gollm manifest 1")?),
            // Not of the data key: a secret is to be known again after the next rotation.
            fingerprints: MacKey::new(&*of_root("gollm fingerprints 1")?),
            // Neither is this: the trail goes on over a rotation.
            trail: MacKey::new(&*of_root("gollm audit 1")?),
            // What is sealed with it lies in memory, and on the disk within what the data key seals.
            held: SealKey::new(&*of_root("gollm held 1")?),
            all: keys,
        };
        Ok(Self { store, of_leases: framed(&[&store.0, b"lease"]), salt, keys: Locked::new(schedule) })
    }

    /// Why the system may write the keys to its swap; none: it does not.
    #[must_use]
    pub fn swappable(&self) -> Option<&str> {
        self.keys.refused()
    }

    /// One that opens nothing: for a daemon whose store is locked.
    pub(crate) fn of_nothing() -> Result<Self, VaultError> {
        Self::new(StoreId([0; 16]), Keys::fresh()?)
    }

    /// The same store's with a new data key: it opens nothing that this one sealed but tokens.
    pub(crate) fn rotated(&self) -> Result<Self, VaultError> {
        Self::new(self.store, self.keys.all.rotated()?)
    }

    /// The store's name.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Seals `plain` for one place: it can't be opened at another one, nor in another store.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.keys.values.seal(&self.aad(place), plain)
    }

    /// Opens what [`Vault::seal`] made for the same place. The plain text is wiped when dropped.
    ///
    /// # Errors
    /// [`VaultError::Unsealable`]: it was changed, or sealed for another place or store.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.keys.values.open(&self.aad(place), sealed)
    }

    /// Seals what memory holds, and events carry: it opens after a rotation of the data key, too.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal_held(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.keys.held.seal(&framed(&[&self.store.0, b"held", name.as_bytes()]), plain)
    }

    /// Opens what [`Vault::seal_held`] made for the same name, or the first version of gollm for its memory.
    ///
    /// # Errors
    /// [`VaultError::Unsealable`]: it was changed, or sealed for another name or store.
    pub fn open_held(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let opened = self.keys.held.open(&framed(&[&self.store.0, b"held", name.as_bytes()]), sealed);
        opened.or_else(|_| self.open(&Place { tree: "secret-in-memory", key: name.as_bytes(), version: 1 }, sealed))
    }

    /// Twelve digits that tell secrets apart without showing them. Keyed by the store: nobody can look them up elsewhere.
    #[must_use]
    pub fn fingerprint(&self, secret: &Secret) -> String {
        let hash = self.keys.fingerprints.of(&[b"secret", secret.expose().as_bytes()]);
        hex(hash.first_chunk::<6>().map_or(&[], |start| start.as_slice()))
    }

    /// Seals `plain` into text for others to keep: A-Z, a-z, 0-9, `-` and `_`, four characters for three bytes of `plain` and 44 more.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal_token(&self, plain: &[u8]) -> Result<String, VaultError> {
        let sealed = self.keys.leases.seal(&self.of_leases, plain)?;
        Ok(text::base64url(&[self.salt.as_slice(), &sealed].concat()))
    }

    /// Opens what [`Vault::seal_token`] made.
    ///
    /// # Errors
    /// [`VaultError::Unsealable`]: this store did not make it.
    pub fn open_token(&self, token: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let token = text::unbase64url(token).ok_or(VaultError::Unsealable)?;
        let (salt, sealed) = token.split_first_chunk().ok_or(VaultError::Unsealable)?;
        if *salt == self.salt {
            return self.keys.leases.open(&self.of_leases, sealed);
        }
        of_leases(&self.keys.all.root, self.store, salt)?.open(&self.of_leases, sealed)
    }

    /// A keyed hash that chains the audit trail; the same before and after a rotation of the data key.
    pub(crate) fn chain(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.keys.trail.of(parts)
    }

    /// A key for one segment of the journal, so that no key seals more messages than random nonces allow (2^32, NIST SP 800-38D).
    pub(crate) fn segment_key(&self, salt: &[u8; 16]) -> Result<SealKey, VaultError> {
        Ok(SealKey::new(&*subkey(&self.keys.journal, salt, "gollm segment 1")?))
    }

    /// A keyed hash by which the store knows its own files again.
    pub(crate) fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut all: Vec<&[u8]> = vec![&self.store.0, purpose.as_bytes()];
        all.extend_from_slice(parts);
        self.keys.ledger.of(&all)
    }

    /// Whether `mac` is what [`Vault::mac`] gives for the same parts.
    pub(crate) fn has_mac(&self, mac: &[u8], purpose: &str, parts: &[&[u8]]) -> bool {
        cipher::same(mac, &self.mac(purpose, parts))
    }

    fn aad(&self, place: &Place<'_>) -> Vec<u8> {
        framed(&[&self.store.0, place.tree.as_bytes(), place.key, &[place.version]])
    }
}

/// Does this master secret open the store in `dir`? Changes nothing. Slow.
///
/// # Errors
/// It does not, or the header can't be read.
pub fn proves(dir: &Path, setting: &MasterSetting) -> Result<(), VaultError> {
    let header = Header::existing(dir)?;
    let environment = Environment::default();
    header.proves(&Request { dir, setting, encrypt: true, environment: &environment, ring: &keyring::RING, cost: Cost::STANDARD }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(StoreId([1; 16]), Keys::of_root([2; 32])).unwrap()
    }

    #[test]
    fn a_value_opens_at_its_place_only() {
        let vault = vault();
        let place = Place { tree: "secrets", key: b"a", version: 1 };
        let sealed = vault.seal(&place, b"sk-example").unwrap();
        assert_eq!(vault.open(&place, &sealed).unwrap().as_slice(), b"sk-example");
        for other in [Place { tree: "states", ..place }, Place { key: b"b", ..place }, Place { version: 2, ..place }] {
            assert!(vault.open(&other, &sealed).is_err(), "{other:?}");
        }
        assert!(Vault::new(StoreId([9; 16]), Keys::of_root([2; 32])).unwrap().open(&place, &sealed).is_err());
    }

    #[test]
    fn a_token_is_text_that_only_its_store_reads() {
        let vault = vault();
        let token = vault.seal_token(b"openai/primary").unwrap();
        assert!(format!("gl_{token}").parse::<crate::id::LeaseId>().is_ok());
        assert_eq!(vault.open_token(&token).unwrap().as_slice(), b"openai/primary");
        assert!(Vault::new(StoreId([1; 16]), Keys::of_root([3; 32])).unwrap().open_token(&token).is_err());
        assert!(vault.open_token("abc").is_err());
    }

    #[test]
    fn after_a_rotation_tokens_and_fingerprints_are_known_and_values_are_sealed_anew() {
        let before = vault();
        let after = before.rotated().unwrap();
        let secret = Secret::new("sk-a".to_owned()).unwrap();
        let place = Place { tree: "secrets", key: b"a", version: 1 };
        assert!(after.open_token(&before.seal_token(b"x").unwrap()).is_ok());
        assert_eq!(after.fingerprint(&secret), before.fingerprint(&secret));
        assert!(after.open(&place, &before.seal(&place, b"x").unwrap()).is_err());
        assert!(before.rotated().unwrap().rotated().unwrap().open_token(&before.seal_token(b"x").unwrap()).is_ok());
    }

    #[test]
    fn a_password_from_another_source_is_told_what_mends_it() {
        let told = |used, made_with| VaultError::WrongPassword { used, made_with }.to_string();
        let other = told(MasterSource::Environment, MasterSource::File);
        assert!(other.contains("unset GOLLM_MASTER_PASSWORD, or set `master.source` to `file`"), "{other}");
        assert!(told(MasterSource::Credential, MasterSource::Environment).contains("set `master.source` to `environment`"));
        assert!(told(MasterSource::Environment, MasterSource::Environment).contains("give the right one"));
    }

    #[test]
    fn a_fingerprint_belongs_to_secret_and_store() {
        let secret = |text: &str| Secret::new(text.to_owned()).unwrap();
        assert_eq!(vault().fingerprint(&secret("sk-a")), vault().fingerprint(&secret("sk-a")));
        assert_eq!(vault().fingerprint(&secret("sk-a")).len(), 12);
        assert_ne!(vault().fingerprint(&secret("sk-a")), vault().fingerprint(&secret("sk-b")));
        let other = Vault::new(StoreId([9; 16]), Keys::of_root([2; 32])).unwrap();
        assert_ne!(vault().fingerprint(&secret("sk-a")), other.fingerprint(&secret("sk-a")));
    }
}
