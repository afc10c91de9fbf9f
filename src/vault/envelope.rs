//! A backup's envelope: parts sealed under a key of their own, which a passphrase wraps, or the root key of the store.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::protocol::bytes::{hex, unhex, unhex_array};
use crate::time::Timestamp;

use super::cipher::{self, Key, SealKey, framed, subkey};
use super::header::{Header, Root};
use super::kdf::Cost;
use super::master::MasterSource;
use super::slot::{Slot, Tried};
use super::slots::SlotError;
use super::{StoreId, Vault, VaultError};

const VERSION: u32 = 1;

/// The first line of a backup.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Label {
    gollm_backup: u32,
    store: String,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// The version of gollm that made it.
    pub(crate) made_by: String,
    /// The first one is empty: opening it proves this line.
    parts: u32,
    /// Slots of the store, each of which opens the root key; with a passphrase, one, which opens the key itself.
    slots: Vec<Slot>,
    /// The key under the root key; none: the slot has it.
    key: Option<String>,
}

/// Why a backup can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("this is no backup of gollm's, or its beginning is cut or changed")]
    NoBackup,
    #[error("a newer version of gollm made this backup")]
    Newer,
    #[error("the backup is damaged: part {0} is cut, changed or missing")]
    Damaged(u32),
    #[error("wrong password: it does not open this backup")]
    WrongPassword,
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Label {
    /// The store that it is a backup of.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }
}

/// Seals parts under a passphrase, or, without one, for whoever knows a master secret of the store. Slow with a passphrase.
///
/// # Errors
/// There is no passphrase, and no slot whose secret a person knows.
pub(crate) fn seal(
    vault: &Vault,
    dir: &std::path::Path,
    passphrase: Option<&str>,
    created: Timestamp,
    parts: &[Zeroizing<Vec<u8>>],
) -> Result<Vec<u8>, VaultError> {
    let key: Key = Zeroizing::new(cipher::random()?);
    let store = vault.store();
    let (slots, wrapped) = match passphrase {
        Some(passphrase) => (vec![Slot::new(1, MasterSource::Prompt, passphrase.as_bytes(), Cost::STANDARD, store, &key)?], None),
        None => {
            let slots = known_slots(dir)?;
            (slots, Some(hex(&wrapping(&vault.keys.all.root, store)?.seal(&aad(store), key.as_slice())?)))
        }
    };
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX).saturating_add(1);
    let made_by = env!("CARGO_PKG_VERSION").to_owned();
    let label = Label { gollm_backup: VERSION, store: store.to_string(), created, made_by, parts: count, slots, key: wrapped };
    let mut bytes = serde_json::to_vec(&label).map_err(|_| VaultError::Unsealable)?;
    bytes.push(b'\n');
    let seal_key = SealKey::new(&key);
    let of_label = cipher::checksum(&bytes);
    for (number, part) in (0_u32..).zip([&Zeroizing::default()].into_iter().chain(parts)) {
        let sealed = seal_key.seal(&aad_of_part(&of_label, number), part)?;
        bytes.extend_from_slice(&u32::try_from(sealed.len()).map_err(|_| VaultError::Unsealable)?.to_le_bytes());
        bytes.extend_from_slice(&sealed);
    }
    Ok(bytes)
}

/// Slots whose secret somebody may have when the machine is lost.
fn known_slots(dir: &std::path::Path) -> Result<Vec<Slot>, VaultError> {
    let header = Header::existing(dir)?;
    let slots = match header.root {
        Root::Bare { .. } => Vec::new(),
        Root::Wrapped { slots, .. } => slots.into_iter().filter(|slot| !slot.source.holds_one()).collect(),
    };
    if slots.is_empty() { Err(SlotError::NobodyKnows.into()) } else { Ok(slots) }
}

/// What is sealed, in the order in which it was given.
pub(crate) type Parts = Vec<Zeroizing<Vec<u8>>>;

/// Opens all parts. Slow.
pub(crate) fn open(bytes: &[u8], password: &str) -> Result<(Label, Parts), EnvelopeError> {
    let end = bytes.iter().take(64 * 1024).position(|byte| *byte == b'\n').ok_or(EnvelopeError::NoBackup)?;
    let (line, mut rest) = bytes.split_at(end + 1);
    let label: Label = serde_json::from_slice(line).map_err(|_| EnvelopeError::NoBackup)?;
    if label.gollm_backup != VERSION {
        return Err(EnvelopeError::Newer);
    }
    let store = unhex_array(&label.store).map(StoreId).ok_or(EnvelopeError::NoBackup)?;
    let key = SealKey::new(&*opened_key(&label, store, password)?);
    let of_label = cipher::checksum(line);
    let mut parts = Vec::new();
    if label.parts == 0 {
        return Err(EnvelopeError::NoBackup);
    }
    for number in 0..label.parts {
        let damaged = || EnvelopeError::Damaged(number + 1);
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (sealed, after) = after.split_at_checked(length).ok_or_else(damaged)?;
        parts.push(key.open(&aad_of_part(&of_label, number), sealed).map_err(|_| damaged())?);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(EnvelopeError::Damaged(label.parts.saturating_add(1)));
    }
    parts.remove(0);
    Ok((label, parts))
}

fn opened_key(label: &Label, store: StoreId, password: &str) -> Result<Key, EnvelopeError> {
    // More than a store has would be work that nobody asked for.
    for slot in label.slots.iter().filter(|slot| slot.costs_at_most(Cost::STANDARD)).take(super::slots::SLOTS_MAX) {
        let Tried::Opened(opened) = slot.open(password.as_bytes(), store)? else { continue };
        let Some(wrapped) = &label.key else { return Ok(opened) };
        let sealed = unhex(wrapped).unwrap_or_default();
        let plain = wrapping(&opened, store)?.open(&aad(store), &sealed).map_err(|_| EnvelopeError::NoBackup)?;
        return <[u8; 32]>::try_from(plain.as_slice()).map(Zeroizing::new).map_err(|_| EnvelopeError::NoBackup);
    }
    Err(EnvelopeError::WrongPassword)
}

fn wrapping(root: &Key, store: StoreId) -> Result<SealKey, VaultError> {
    Ok(SealKey::new(&*subkey(root, &store.0, "gollm backup 1")?))
}

fn aad(store: StoreId) -> Vec<u8> {
    framed(&[&store.0, b"backup key"])
}

fn aad_of_part(of_label: &[u8; 32], number: u32) -> Vec<u8> {
    framed(&[of_label, b"backup part", &number.to_le_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::vault::header::Request;
    use crate::vault::keyring::NoRing;
    use crate::vault::master::MasterSetting;

    fn store(setting: &MasterSetting) -> (tempfile::TempDir, Vault) {
        let dir = tempfile::tempdir().unwrap();
        let environment: Environment = [("GOLLM_MASTER_PASSWORD", "master")].into_iter().collect();
        let request = Request { dir: dir.path(), setting, encrypt: true, environment: &environment, ring: &NoRing, cost: Cost::LEAST };
        let (_, unlocked) = Header::create(&request).unwrap();
        (dir, unlocked.vault)
    }

    fn parts() -> Vec<Zeroizing<Vec<u8>>> {
        vec![Zeroizing::new(b"first".to_vec()), Zeroizing::new(b"second".to_vec())]
    }

    const AT: Timestamp = Timestamp::from_unix_millis(1_767_225_600_000);

    #[test]
    fn a_backup_opens_with_the_master_password_or_with_its_own_passphrase_alone() {
        let (dir, vault) = store(&MasterSetting::Auto);
        let by_master = seal(&vault, dir.path(), None, AT, &parts()).unwrap();
        let by_phrase = seal(&vault, dir.path(), Some("phrase"), AT, &parts()).unwrap();
        let (label, opened) = open(&by_master, "master").unwrap();
        assert_eq!((label.store(), label.created, opened), (vault.store().to_string().as_str(), AT, parts()));
        assert_eq!(open(&by_phrase, "phrase").unwrap().1, parts());
        assert!(matches!(open(&by_phrase, "master"), Err(EnvelopeError::WrongPassword)));
        assert!(matches!(open(&by_master, "phrase"), Err(EnvelopeError::WrongPassword)));
    }

    #[test]
    fn a_secret_that_nobody_knows_seals_no_backup() {
        let (dir, vault) = store(&MasterSetting::File);
        assert!(matches!(seal(&vault, dir.path(), None, AT, &parts()), Err(VaultError::Slot(SlotError::NobodyKnows))));
        assert!(seal(&vault, dir.path(), Some("phrase"), AT, &parts()).is_ok());
    }

    #[test]
    fn a_backup_that_was_changed_cut_or_lengthened_is_refused() {
        let (dir, vault) = store(&MasterSetting::Auto);
        let whole = seal(&vault, dir.path(), None, AT, &parts()).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(open(&flipped, "master").is_err(), "byte {at}");
        }
        for length in [0, 10, whole.len() - 40, whole.len() - 1] {
            assert!(open(&whole[..length], "master").is_err(), "{length} bytes");
        }
        assert!(matches!(open(&[whole.as_slice(), b"x"].concat(), "master"), Err(EnvelopeError::Damaged(4))));
    }

    /// By somebody who knows the format, and no secret.
    #[test]
    fn a_backup_that_was_emptied_with_care_is_refused() {
        let (dir, vault) = store(&MasterSetting::Auto);
        let whole = seal(&vault, dir.path(), None, AT, &parts()).unwrap();
        let end = whole.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&whole[..end]).unwrap();
        assert!(line.contains("\"parts\":3,"));
        for (count, rest) in [(0, &[][..]), (1, &whole[end + 1..][..32]), (2, &whole[end + 1..whole.len() - 38])] {
            let emptied = [line.replace("\"parts\":3,", &format!("\"parts\":{count},")).as_bytes(), b"\n", rest].concat();
            assert!(open(&emptied, "master").is_err(), "{count} parts");
        }
        assert!(open(&seal(&vault, dir.path(), None, AT, &[]).unwrap(), "master").unwrap().1.is_empty());
    }
}
