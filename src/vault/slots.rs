//! Acts on the slots of an open store: another master secret beside the ones that are there, or instead of them. Each is one
//! or two replacements of the header, between which both the old secret and the new one open the store.

use std::path::Path;

use zeroize::Zeroizing;

use crate::environment::Environment;

use super::header::{Header, Request, Root};
use super::kdf::Cost;
use super::keyring::Ring;
use super::master::{self, MasterSetting, MasterSource, NotKept};
use super::slot::Slot;
use super::{Vault, VaultError, recovery};

/// Slots of a store, at most: a wrong password is tried on each of them.
pub const SLOTS_MAX: usize = 8;

/// Longest password, in bytes.
const LONGEST: usize = 4096;

/// What is known of a slot without its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRow {
    /// Its number.
    pub number: u32,
    /// Where its secret is.
    pub source: MasterSource,
    /// The slot that takes its place once it has opened the store.
    pub until: Option<u32>,
}

/// Which secret a new slot gets.
pub enum NewSlot {
    /// One that a person types when the daemon starts.
    Password(Zeroizing<String>),
    /// One that systemd gives the daemon when it starts.
    Credential(Zeroizing<String>),
    /// One that is made now and kept in the keyring of the operating system.
    Keyring,
    /// One that is made now and kept in `master.key` in the state directory.
    File,
    /// One that is made now and written on paper.
    Recovery,
}

/// What becomes of the slots that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Stay,
    /// They go, recovery codes excepted: at once where the new secret was read back or typed, else when it has opened the store.
    Leave,
}

/// A slot that was made.
pub struct Added {
    /// Its number.
    pub number: u32,
    /// The code of a recovery slot, which nobody can tell again.
    pub recovery_code: Option<Zeroizing<String>>,
}

/// Why something can't be done with the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// `encrypt_keys: false`.
    #[error("`encrypt_keys` is false: there is no master secret; set it to true and restart gollmd first")]
    Bare,
    /// There is no such slot.
    #[error("there is no slot {0}; `gollmctl slot list` shows them")]
    Unknown(u32),
    /// Nothing would open the store any more.
    #[error("slot {0} is the last one: without it nothing opens the store; add another one first")]
    Last(u32),
    /// All places are taken.
    #[error("there are {SLOTS_MAX} slots, which is the most; remove one first")]
    TooMany,
    /// The new password is none.
    #[error("the new password is empty, or longer than {LONGEST} bytes")]
    Password,
    /// All secrets are kept by machines.
    #[error(
        "nobody knows a master secret of this store, so that nobody could open the backup elsewhere: give it a passphrase, or add a password or a recovery code"
    )]
    NobodyKnows,
    /// A recovery code stays what it is.
    #[error("that is a recovery code, which can't be changed: `gollmctl slot add password` adds a password")]
    Code,
}

/// The slots of the store in a directory; none: there is no store yet.
///
/// # Errors
/// The header can't be read.
pub fn list(dir: &Path) -> Result<Option<Vec<SlotRow>>, VaultError> {
    let row = |slot: &Slot| SlotRow { number: slot.number, source: slot.source, until: slot.until };
    Ok(Header::read(dir)?.map(|header| match &header.root {
        Root::Bare { .. } => Vec::new(),
        Root::Wrapped { slots, .. } => slots.iter().map(row).collect(),
    }))
}

/// The slots of an open store.
pub struct Slots<'a> {
    dir: &'a Path,
    vault: &'a Vault,
    ring: &'a dyn Ring,
    cost: Cost,
}

impl<'a> Slots<'a> {
    /// Those of the store in `dir`, which `vault` has open.
    #[must_use]
    pub const fn new(dir: &'a Path, vault: &'a Vault) -> Self {
        Self { dir, vault, ring: &super::keyring::RING, cost: Cost::STANDARD }
    }

    /// Makes a slot. Slow: it derives a key, and may ask the keyring.
    ///
    /// # Errors
    /// The secret can't be kept where it belongs, or the header can't be written; the slots are as they were then.
    pub fn add(&self, new: &NewSlot, others: Others) -> Result<Added, VaultError> {
        let (source, secret) = match new {
            NewSlot::Password(text) => (MasterSource::Prompt, checked(text)?),
            NewSlot::Credential(text) => (MasterSource::Credential, checked(text)?),
            NewSlot::Keyring => (MasterSource::Keyring, master::fresh_secret()?),
            NewSlot::File => (MasterSource::File, master::fresh_secret()?),
            NewSlot::Recovery => (MasterSource::Recovery, recovery::fresh()?),
        };
        let number = self.put(source, &secret)?;
        self.change(|slots| {
            let is_over = |slot: &Slot| {
                let replaced = others == Others::Leave && slot.source != MasterSource::Recovery;
                slot.number != number && (replaced || (source.holds_one() && slot.source == source))
            };
            if source == MasterSource::Credential {
                // The file of one that never opened the store is this one's now.
                let unproven: Vec<u32> = slots.iter().filter_map(|slot| slot.until).collect();
                slots.retain(|slot| slot.source != MasterSource::Credential || !unproven.contains(&slot.number));
                // Whether systemd gives it is seen at the next start.
                slots.iter_mut().filter(|slot| is_over(slot)).for_each(|slot| slot.until = Some(number));
            } else {
                slots.retain(|slot| !is_over(slot));
            }
            Ok(())
        })?;
        Ok(Added { number, recovery_code: (source == MasterSource::Recovery).then_some(secret) })
    }

    /// Takes a slot out. Its secret opens the store no more; with a copy of the header of before it opens what that one wrapped.
    ///
    /// # Errors
    /// It is the last one, or the header can't be written.
    pub fn remove(&self, number: u32) -> Result<(), VaultError> {
        self.change(|slots| {
            if !slots.iter().any(|slot| slot.number == number) {
                return Err(SlotError::Unknown(number));
            }
            if slots.len() == 1 {
                return Err(SlotError::Last(number));
            }
            slots.retain(|slot| slot.number != number);
            // What waited for it to open the store stays.
            slots.iter_mut().filter(|slot| slot.until == Some(number)).for_each(|slot| slot.until = None);
            Ok(())
        })
    }

    /// Puts another password in the place of the one that is given; nothing that is sealed changes. Slow.
    ///
    /// # Errors
    /// The old password opens no slot, the new one is none, or it can't be kept; nothing was changed then.
    pub fn change_password(&self, old: &str, new: &str) -> Result<MasterSource, VaultError> {
        let new = checked(new)?;
        let header = Header::existing(self.dir)?;
        let setting = MasterSetting::Password(Zeroizing::new(old.to_owned()));
        let environment = Environment::default();
        let opened_by = header.proves(&Request {
            dir: self.dir,
            setting: &setting,
            encrypt: true,
            environment: &environment,
            ring: self.ring,
            cost: self.cost,
        })?;
        let Root::Wrapped { slots, .. } = &header.root else { return Err(SlotError::Bare.into()) };
        let source = slots.iter().find(|slot| slot.number == opened_by).map_or(MasterSource::Prompt, |slot| slot.source);
        if source == MasterSource::Recovery {
            return Err(SlotError::Code.into());
        }
        let number = self.put(source, &new)?;
        self.change(|slots| {
            slots.retain(|slot| slot.number == number || (slot.number != opened_by && !(source.holds_one() && slot.source == source)));
            slots.iter_mut().filter(|slot| slot.until == Some(opened_by)).for_each(|slot| slot.until = Some(number));
            Ok(())
        })?;
        Ok(source)
    }

    /// Adds a slot, and puts its secret where it belongs. From then on both open the store.
    fn put(&self, source: MasterSource, secret: &str) -> Result<u32, VaultError> {
        let header = Header::existing(self.dir)?;
        let Root::Wrapped { slots, .. } = &header.root else { return Err(SlotError::Bare.into()) };
        if slots.len() >= SLOTS_MAX {
            return Err(SlotError::TooMany.into());
        }
        let store = self.vault.store();
        let number = slots.iter().map(|slot| slot.number).max().unwrap_or(0).saturating_add(1);
        let slot = Slot::new(number, source, secret.as_bytes(), self.cost, store, &self.vault.keys.all.root)?;
        self.change(|slots| {
            slots.push(slot);
            Ok(())
        })?;
        match master::keep(source, secret, self.dir, store, self.ring) {
            Ok(()) => Ok(number),
            // Both open the store then; the one that is not there leaves when the other one has opened it.
            Err(NotKept::Unsure(why)) if Header::existing(self.dir)?.root.sources().iter().filter(|other| **other == source).count() > 1 => Err(why),
            Err(NotKept::Untouched(why) | NotKept::Unsure(why)) => {
                self.remove(number)?;
                Err(why)
            }
        }
    }

    /// Replaces the header by one with changed slots; then the secrets of those that left are taken out of their places.
    fn change(&self, change: impl FnOnce(&mut Vec<Slot>) -> Result<(), SlotError>) -> Result<(), VaultError> {
        let mut header = Header::existing(self.dir)?;
        let gone = header.root.change(change)?;
        let there = header.root.sources();
        header.write(self.dir)?;
        master::forget(&gone, &there, self.dir, self.vault.store(), self.ring);
        Ok(())
    }
}

fn checked(password: &str) -> Result<Zeroizing<String>, VaultError> {
    if password.is_empty() || password.len() > LONGEST {
        return Err(SlotError::Password.into());
    }
    Ok(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::header::Unlocked;
    use crate::vault::keyring::{NoRing, RingFault};
    use std::cell::{Cell, RefCell};

    /// A keyring of one entry, which may lose what it is given, or fall silent once it has something new.
    #[derive(Default)]
    struct OneRing {
        kept: RefCell<Option<String>>,
        forgets: bool,
        falls_silent: bool,
        silent: Cell<bool>,
    }

    impl Ring for OneRing {
        fn read(&self, _: &str) -> Result<Option<Zeroizing<String>>, RingFault> {
            if self.silent.get() { Err(RingFault::Mute) } else { Ok(self.kept.borrow().clone().map(Zeroizing::new)) }
        }
        fn write(&self, _: &str, text: &str) -> Result<(), RingFault> {
            if self.silent.get() {
                return Err(RingFault::Mute);
            }
            self.silent.set(self.falls_silent);
            if !self.forgets {
                *self.kept.borrow_mut() = Some(text.to_owned());
            }
            Ok(())
        }
        fn erase(&self, _: &str) -> Result<(), RingFault> {
            *self.kept.borrow_mut() = None;
            Ok(())
        }
    }

    struct Scene {
        dir: tempfile::TempDir,
        ring: OneRing,
        vault: Vault,
        token: String,
    }

    impl Scene {
        fn of(setting: &MasterSetting, environment: &[(&str, &str)]) -> Self {
            let (dir, ring) = (tempfile::tempdir().unwrap(), OneRing::default());
            let environment: Environment = environment.iter().copied().collect();
            let request = Request { dir: dir.path(), setting, encrypt: true, environment: &environment, ring: &ring, cost: Cost::LEAST };
            let (header, Unlocked { vault, .. }) = Header::create(&request).unwrap();
            header.finish(dir.path()).unwrap();
            let token = vault.seal_token(b"x").unwrap();
            Self { dir, ring, vault, token }
        }

        fn slots(&self) -> Slots<'_> {
            Slots { dir: self.dir.path(), vault: &self.vault, ring: &self.ring, cost: Cost::LEAST }
        }

        fn sources(&self) -> Vec<MasterSource> {
            list(self.dir.path()).unwrap().unwrap().iter().map(|row| row.source).collect()
        }

        /// Opens it as a start with this setting and environment does.
        fn start(&self, setting: &MasterSetting, environment: &[(&str, &str)]) -> Result<MasterSource, VaultError> {
            let environment: Environment = environment.iter().copied().collect();
            let request = Request { dir: self.dir.path(), setting, encrypt: true, environment: &environment, ring: &self.ring, cost: Cost::LEAST };
            let unlocked = Header::read(self.dir.path())?.unwrap().unlock(&request)?;
            assert!(unlocked.vault.open_token(&self.token).is_ok());
            Ok(unlocked.source)
        }

        fn typed(&self, password: &str) -> Result<MasterSource, VaultError> {
            self.start(&MasterSetting::Password(text(password)), &[])
        }
    }

    fn text(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    const PASSWORD: [(&str, &str); 1] = [("GOLLM_MASTER_PASSWORD", "old")];

    #[test]
    fn a_new_password_opens_the_store_and_the_old_one_does_not() {
        let scene = Scene::of(&MasterSetting::Auto, &PASSWORD);
        assert!(matches!(scene.slots().change_password("wrong", "new"), Err(VaultError::WrongPassword { .. })));
        assert!(matches!(scene.slots().change_password("old", ""), Err(VaultError::Slot(SlotError::Password))));
        assert_eq!(scene.slots().change_password("old", "new").unwrap(), MasterSource::Environment);
        assert!(matches!(scene.start(&MasterSetting::Auto, &PASSWORD), Err(VaultError::WrongPassword { .. })));
        assert_eq!(scene.start(&MasterSetting::Auto, &[("GOLLM_MASTER_PASSWORD", "new")]).unwrap(), MasterSource::Environment);
        assert_eq!(scene.sources(), [MasterSource::Environment]);
    }

    #[test]
    fn a_password_that_is_kept_in_a_file_is_changed_there_too() {
        let scene = Scene::of(&MasterSetting::File, &[]);
        let old = std::fs::read_to_string(scene.dir.path().join("master.key")).unwrap();
        scene.slots().change_password(&old, "new").unwrap();
        assert_eq!(scene.start(&MasterSetting::Auto, &[]).unwrap(), MasterSource::File);
        assert!(scene.typed(&old).is_err());
    }

    #[test]
    fn the_master_secret_moves_from_place_to_place_and_the_old_place_is_emptied() {
        let scene = Scene::of(&MasterSetting::File, &[]);
        scene.slots().add(&NewSlot::Keyring, Others::Leave).unwrap();
        assert!(!scene.dir.path().join("master.key").exists());
        assert_eq!(scene.start(&MasterSetting::Auto, &[]).unwrap(), MasterSource::Keyring);
        scene.slots().add(&NewSlot::Password(text("typed")), Others::Leave).unwrap();
        assert_eq!((scene.sources(), scene.ring.kept.borrow().is_none()), (vec![MasterSource::Prompt], true));
        assert!(matches!(scene.start(&MasterSetting::Auto, &[]), Err(VaultError::Locked { why: None })));
        assert_eq!(scene.typed("typed").unwrap(), MasterSource::Prompt);
        scene.slots().add(&NewSlot::File, Others::Leave).unwrap();
        assert_eq!(scene.start(&MasterSetting::Auto, &[]).unwrap(), MasterSource::File);
        assert!(scene.typed("typed").is_err());
    }

    #[test]
    fn a_credential_takes_over_when_it_has_opened_the_store() {
        let scene = Scene::of(&MasterSetting::File, &[]);
        scene.slots().add(&NewSlot::Credential(text("given")), Others::Leave).unwrap();
        // systemd does not give it yet.
        assert_eq!(scene.start(&MasterSetting::Auto, &[]).unwrap(), MasterSource::File);
        let credentials = tempfile::tempdir().unwrap();
        std::fs::write(credentials.path().join("gollm-master"), "given\n").unwrap();
        let environment = [("CREDENTIALS_DIRECTORY", credentials.path().to_str().unwrap())];
        assert_eq!(scene.start(&MasterSetting::Auto, &environment).unwrap(), MasterSource::Credential);
        assert_eq!((scene.sources(), scene.dir.path().join("master.key").exists()), (vec![MasterSource::Credential], false));
    }

    #[test]
    fn a_keyring_that_forgets_changes_nothing() {
        let mut scene = Scene::of(&MasterSetting::Auto, &PASSWORD);
        scene.ring.forgets = true;
        assert!(matches!(scene.slots().add(&NewSlot::Keyring, Others::Leave), Err(VaultError::Keyring(RingFault::Forgetful))));
        assert_eq!(scene.sources(), [MasterSource::Environment]);
        let none = Slots { ring: &NoRing, ..scene.slots() };
        assert!(matches!(none.add(&NewSlot::Keyring, Others::Stay), Err(VaultError::Keyring(RingFault::Absent))));
        assert_eq!(scene.start(&MasterSetting::Auto, &PASSWORD).unwrap(), MasterSource::Environment);
    }

    #[test]
    fn a_keyring_that_falls_silent_in_the_middle_opens_the_store_whichever_secret_it_has() {
        for has_new in [true, false] {
            let mut scene = Scene::of(&MasterSetting::Keyring, &[]);
            let before = scene.ring.kept.borrow().clone();
            scene.ring.falls_silent = true;
            assert!(matches!(scene.slots().add(&NewSlot::Keyring, Others::Leave), Err(VaultError::Keyring(RingFault::Mute))));
            scene.ring.silent.set(false);
            assert_ne!(*scene.ring.kept.borrow(), before);
            if !has_new {
                *scene.ring.kept.borrow_mut() = before;
            }
            assert_eq!(scene.start(&MasterSetting::Keyring, &[]).unwrap(), MasterSource::Keyring, "{has_new}");
            assert_eq!(scene.sources(), [MasterSource::Keyring], "the other one left");
        }
    }

    #[test]
    fn what_others_still_give_after_a_move_is_passed_over_and_nothing_else_is() {
        let scene = Scene::of(&MasterSetting::Auto, &PASSWORD);
        scene.slots().add(&NewSlot::File, Others::Leave).unwrap();
        assert_eq!(scene.start(&MasterSetting::Auto, &PASSWORD).unwrap(), MasterSource::File);
        // Who names the source means it.
        assert!(matches!(scene.start(&MasterSetting::Environment, &PASSWORD), Err(VaultError::WrongPassword { .. })));
        scene.slots().add(&NewSlot::Password(text("typed")), Others::Leave).unwrap();
        assert!(matches!(scene.start(&MasterSetting::Auto, &PASSWORD), Err(VaultError::Locked { .. })));
        let never = Scene::of(&MasterSetting::File, &[]);
        assert!(matches!(never.start(&MasterSetting::Auto, &PASSWORD), Err(VaultError::WrongPassword { .. })));
    }

    #[test]
    fn a_recovery_code_opens_the_store_when_the_rest_is_lost() {
        let scene = Scene::of(&MasterSetting::File, &[]);
        let added = scene.slots().add(&NewSlot::Recovery, Others::Leave).unwrap();
        let code = added.recovery_code.unwrap();
        assert_eq!(scene.sources(), [MasterSource::Recovery], "what leaves is everything else");
        let scene = Scene::of(&MasterSetting::File, &[]);
        let more = scene.slots().add(&NewSlot::Recovery, Others::Stay).unwrap().recovery_code.unwrap();
        std::fs::remove_file(scene.dir.path().join("master.key")).unwrap();
        let locked = scene.start(&MasterSetting::Auto, &[]);
        assert!(matches!(&locked, Err(VaultError::Locked { why: Some(why) }) if why.contains("master.key")), "{:?}", locked.err());
        assert_eq!(scene.typed(&more.to_lowercase()).unwrap(), MasterSource::Prompt);
        std::fs::write(scene.dir.path().join("master.key"), "another one").unwrap();
        assert!(matches!(scene.start(&MasterSetting::Auto, &[]), Err(VaultError::Locked { why: Some(_) })), "as where it is lost");
        assert!(scene.typed(&code).is_err());
        assert!(matches!(scene.slots().change_password(&more, "new"), Err(VaultError::Slot(SlotError::Code))));
    }

    #[test]
    fn the_last_slot_stays() {
        let scene = Scene::of(&MasterSetting::Auto, &PASSWORD);
        assert!(matches!(scene.slots().remove(1), Err(VaultError::Slot(SlotError::Last(1)))));
        assert!(matches!(scene.slots().remove(7), Err(VaultError::Slot(SlotError::Unknown(7)))));
        let number = scene.slots().add(&NewSlot::Password(text("second")), Others::Stay).unwrap().number;
        assert_eq!(scene.typed("second").unwrap(), MasterSource::Prompt);
        scene.slots().remove(1).unwrap();
        assert!(scene.typed("old").is_err());
        assert!(matches!(scene.slots().remove(number), Err(VaultError::Slot(SlotError::Last(_)))));
    }

    #[test]
    fn there_is_a_most_of_slots_and_a_bare_store_has_none() {
        let scene = Scene::of(&MasterSetting::Auto, &PASSWORD);
        for _ in 1..SLOTS_MAX {
            scene.slots().add(&NewSlot::Recovery, Others::Stay).unwrap();
        }
        assert!(matches!(scene.slots().add(&NewSlot::File, Others::Stay), Err(VaultError::Slot(SlotError::TooMany))));
        let environment = Environment::default();
        let bare = Request {
            dir: scene.dir.path(),
            setting: &MasterSetting::Password(text("old")),
            encrypt: false,
            environment: &environment,
            ring: &NoRing,
            cost: Cost::LEAST,
        };
        Header::read(scene.dir.path()).unwrap().unwrap().unlock(&bare).unwrap();
        assert!(matches!(scene.slots().add(&NewSlot::File, Others::Stay), Err(VaultError::Slot(SlotError::Bare))));
        assert!(list(tempfile::tempdir().unwrap().path()).unwrap().is_none());
    }
}
