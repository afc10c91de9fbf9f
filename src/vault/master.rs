//! Where the master secret comes from: systemd credential, environment, keyring, file, or a person.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::disk;
use crate::environment::Environment;

use super::keyring::{Ring, RingFault};
use super::{StoreId, VaultError, cipher};
use crate::protocol::bytes::hex;

/// Longest master secret, in bytes.
const LONGEST: usize = 64 * 1024;

/// Which source the configuration asks for (`master.source`).
pub enum MasterSetting {
    /// The first that there is: credential, environment, keyring, file.
    Auto,
    /// The systemd credential `gollm-master`.
    Credential,
    /// `GOLLM_MASTER_PASSWORD`.
    Environment,
    /// The keyring of the operating system.
    Keyring,
    /// `master.key` in the state directory.
    File,
    /// A person, who has not given it yet.
    Prompt,
    /// A password that a person has given.
    Password(Zeroizing<String>),
}

/// Where a master secret came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterSource {
    /// The systemd credential `gollm-master`.
    Credential,
    /// `GOLLM_MASTER_PASSWORD`.
    Environment,
    /// The keyring of the operating system.
    Keyring,
    /// `master.key` in the state directory.
    File,
    /// A person.
    Prompt,
    /// None is needed: `encrypt_keys: false`.
    None,
    /// A code on paper, made for the day on which all others are lost.
    Recovery,
}

impl MasterSource {
    /// The word for it, in `status` and in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Environment => "environment",
            Self::Keyring => "keyring",
            Self::File => "file",
            Self::Prompt => "prompt",
            Self::None => "none",
            Self::Recovery => "recovery",
        }
    }

    /// Is it a place that holds one secret of a store, so that another one overwrites it?
    pub(super) const fn holds_one(self) -> bool {
        matches!(self, Self::Keyring | Self::File)
    }

    /// Is it given to the daemon by others, who alone can take it away?
    pub(super) const fn is_given(self) -> bool {
        matches!(self, Self::Credential | Self::Environment)
    }

    /// Can a person give it to a daemon that runs?
    pub(super) const fn is_typed(self) -> bool {
        matches!(self, Self::Prompt | Self::Recovery)
    }

    /// How a person gives the master secret that came from here.
    pub(super) const fn mend(self) -> &'static str {
        match self {
            Self::Credential => "give the credential again (LoadCredential=gollm-master:FILE in the unit)",
            Self::Environment => "set GOLLM_MASTER_PASSWORD",
            Self::Keyring => "set `master.source` to `auto` or `keyring`",
            Self::File => "put `master.key` back into the state directory",
            Self::Prompt | Self::Recovery => "set `master.source` to `prompt` and run `gollmctl unlock`",
            Self::None => "set one of the sources, or `encrypt_keys: false`",
        }
    }

    /// What mends it that the secret from here does not open a store that was made with `made_with`.
    pub(super) fn mend_wrong(self, made_with: Self) -> String {
        match (self, made_with) {
            (_, Self::Prompt | Self::Recovery | Self::None) | (Self::Prompt, _) => "give the right one".to_owned(),
            (used, made) if used == made => "give the right one".to_owned(),
            (Self::Environment, made) => format!("unset GOLLM_MASTER_PASSWORD, or set `master.source` to `{}`", made.name()),
            (_, made) => format!("set `master.source` to `{}`", made.name()),
        }
    }
}

impl fmt::Display for MasterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credential => "the systemd credential `gollm-master`",
            Self::Environment => "GOLLM_MASTER_PASSWORD",
            Self::Keyring => "the keyring",
            Self::File => "`master.key` in the state directory",
            Self::Prompt => "a password that a person typed",
            Self::None => "no master password",
            Self::Recovery => "a recovery code",
        })
    }
}

/// A master secret. It has no `Debug`, and is wiped when dropped.
pub(super) struct Found {
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) source: MasterSource,
    pub(super) warnings: Vec<String>,
}

/// The master secret for a new header: found, or made where a keyring or a file shall keep it.
pub(super) fn make(setting: &MasterSetting, dir: &Path, environment: &Environment, store: StoreId, ring: &dyn Ring) -> Result<Found, VaultError> {
    if let Some(found) = given(setting, environment)?.into_iter().next() {
        return Ok(found);
    }
    match setting {
        MasterSetting::Keyring => make_in_ring(store, ring).map_err(VaultError::Keyring),
        MasterSetting::File => make_in_file(dir),
        MasterSetting::Auto => match make_in_ring(store, ring) {
            Ok(found) => Ok(found),
            Err(why) => {
                let mut found = make_in_file(dir)?;
                found.warnings.push(format!("no keyring was used: it {why}"));
                Ok(found)
            }
        },
        MasterSetting::Prompt => Err(VaultError::Locked { why: None }),
        MasterSetting::Credential | MasterSetting::Environment | MasterSetting::Password(_) => {
            Err(VaultError::NoMaster { wanted: wanted(setting, MasterSource::None), made_with: MasterSource::None })
        }
    }
}

/// The master secret for a header that has slots of these sources, where none is given. Nothing is made: a new secret could not
/// open it. Where only a person can help, and can, the store is locked.
pub(super) fn kept_or_typed(
    setting: &MasterSetting,
    slots: &[MasterSource],
    dir: &Path,
    store: StoreId,
    ring: &dyn Ring,
) -> Result<Found, VaultError> {
    let made_with = slots.first().copied().unwrap_or(MasterSource::None);
    let places: &[MasterSource] = match setting {
        MasterSetting::Auto => &[MasterSource::Keyring, MasterSource::File],
        MasterSetting::Keyring => &[MasterSource::Keyring],
        MasterSetting::File => &[MasterSource::File],
        MasterSetting::Prompt => return Err(VaultError::Locked { why: None }),
        MasterSetting::Credential | MasterSetting::Environment | MasterSetting::Password(_) => &[],
    };
    let mut failed = None;
    for place in places.iter().filter(|place| slots.contains(place)) {
        match kept(*place, dir, made_with, store, ring) {
            Ok(found) => return Ok(found),
            Err(why) => failed = failed.or(Some(why)),
        }
    }
    let why = failed.unwrap_or(VaultError::NoMaster { wanted: wanted(setting, made_with), made_with });
    if matches!(setting, MasterSetting::Auto) && slots.iter().any(|slot| slot.is_typed()) {
        return Err(VaultError::Locked { why: Some(why.to_string()).filter(|_| !slots.iter().all(|slot| slot.is_typed())) });
    }
    Err(why)
}

/// The secret that one of the places holds which gollm writes itself.
fn kept(place: MasterSource, dir: &Path, made_with: MasterSource, store: StoreId, ring: &dyn Ring) -> Result<Found, VaultError> {
    if place == MasterSource::File {
        return read_file(dir, made_with);
    }
    let text = ring.read(&store.to_string()).map_err(VaultError::Keyring)?.ok_or(VaultError::Keyring(RingFault::Empty))?;
    Ok(Found { secret: Zeroizing::new(text.as_bytes().to_vec()), source: MasterSource::Keyring, warnings: Vec::new() })
}

/// Why a place did not take a secret.
pub(super) enum NotKept {
    /// It holds what it held.
    Untouched(VaultError),
    /// Nobody knows which one it holds.
    Unsure(VaultError),
}

/// Puts a secret where the daemon finds it at its next start, in the place of the one before; other sources are others' matter.
pub(super) fn keep(place: MasterSource, secret: &str, dir: &Path, store: StoreId, ring: &dyn Ring) -> Result<(), NotKept> {
    match place {
        MasterSource::File => {
            let path = dir.join("master.key");
            disk::replace(&path, secret.as_bytes()).map_err(|cause| NotKept::Unsure(VaultError::Io { path, cause }))
        }
        MasterSource::Keyring => {
            let account = store.to_string();
            let before = ring.read(&account).map_err(|fault| NotKept::Untouched(VaultError::Keyring(fault)))?;
            let kept = ring.write(&account, secret).and_then(|()| ring.read(&account));
            let fault = match kept {
                Ok(kept) if kept.as_ref().is_some_and(|kept| kept.as_str() == secret) => return Ok(()),
                Ok(_) => RingFault::Forgetful,
                Err(fault) => fault,
            };
            let is_back = before.is_some_and(|before| ring.write(&account, &before).is_ok());
            Err(if is_back { NotKept::Untouched(VaultError::Keyring(fault)) } else { NotKept::Unsure(VaultError::Keyring(fault)) })
        }
        _ => Ok(()),
    }
}

/// Takes the secrets of slots that are gone out of the places that held them, where no slot that is left needs them. What
/// can't be taken out opens the store no more.
pub(super) fn forget(gone: &[MasterSource], left: &[MasterSource], dir: &Path, store: StoreId, ring: &dyn Ring) {
    let is_over = |source: MasterSource| gone.contains(&source) && !left.contains(&source);
    if is_over(MasterSource::File) {
        drop(disk::remove(&dir.join("master.key")));
    }
    if is_over(MasterSource::Keyring) {
        drop(ring.erase(&store.to_string()));
    }
}

/// The source that a setting means for a store that was made with `made_with`.
fn wanted(setting: &MasterSetting, made_with: MasterSource) -> MasterSource {
    match setting {
        MasterSetting::Auto => made_with,
        MasterSetting::Credential => MasterSource::Credential,
        MasterSetting::Environment => MasterSource::Environment,
        MasterSetting::Keyring => MasterSource::Keyring,
        MasterSetting::File => MasterSource::File,
        MasterSetting::Prompt | MasterSetting::Password(_) => MasterSource::Prompt,
    }
}

/// What comes with the start of the process, in the order in which `auto` looks.
pub(super) fn given(setting: &MasterSetting, environment: &Environment) -> Result<Vec<Found>, VaultError> {
    let found = |secret: &[u8], source| Found { secret: Zeroizing::new(secret.to_vec()), source, warnings: Vec::new() };
    if let MasterSetting::Password(password) = setting {
        let typed = Some(found(password.as_bytes(), MasterSource::Prompt)).filter(|found| !found.secret.is_empty());
        return Ok(typed.into_iter().collect());
    }
    let mut all = Vec::new();
    if matches!(setting, MasterSetting::Auto | MasterSetting::Credential)
        && let Some(dir) = environment.path("CREDENTIALS_DIRECTORY")
        && let Some(secret) = read_secret(&dir.join("gollm-master"))?
    {
        all.push(Found { secret, source: MasterSource::Credential, warnings: Vec::new() });
    }
    let password = environment.value("GOLLM_MASTER_PASSWORD").filter(|_| matches!(setting, MasterSetting::Auto | MasterSetting::Environment));
    all.extend(password.map(|password| found(password.as_bytes(), MasterSource::Environment)));
    Ok(all)
}

/// The content of a file without the line end that editors and `echo` leave.
fn read_secret(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    let bytes = disk::read(path).map_err(|cause| VaultError::Io { path: path.to_owned(), cause })?;
    let Some(mut bytes) = bytes.map(Zeroizing::new) else { return Ok(None) };
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() || bytes.len() > LONGEST {
        return Err(VaultError::MasterFile { path: path.to_owned(), what: "it is empty, or far too long for a master password" });
    }
    Ok(Some(bytes))
}

pub(super) fn fresh_secret() -> Result<Zeroizing<String>, VaultError> {
    let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(cipher::random()?);
    Ok(Zeroizing::new(hex(bytes.as_slice())))
}

fn make_in_ring(store: StoreId, ring: &dyn Ring) -> Result<Found, RingFault> {
    let secret = fresh_secret().map_err(|why| RingFault::Refused(why.to_string()))?;
    ring.write(&store.to_string(), &secret)?;
    let kept = ring.read(&store.to_string())?;
    if kept.as_deref() != Some(&*secret) {
        return Err(RingFault::Forgetful);
    }
    Ok(Found { secret: Zeroizing::new(secret.as_bytes().to_vec()), source: MasterSource::Keyring, warnings: Vec::new() })
}

/// Makes `master.key`, or takes the one that an unfinished start has left.
fn make_in_file(dir: &Path) -> Result<Found, VaultError> {
    let path = dir.join("master.key");
    let there = disk::read(&path).map_err(|cause| VaultError::Io { path: path.clone(), cause })?.map(Zeroizing::new);
    if there.is_none() {
        let secret = fresh_secret()?;
        disk::replace(&path, secret.as_bytes()).map_err(|cause| VaultError::Io { path, cause })?;
    }
    read_file(dir, MasterSource::File)
}

fn read_file(dir: &Path, made_with: MasterSource) -> Result<Found, VaultError> {
    let path = dir.join("master.key");
    let secret = read_secret(&path)?.ok_or(VaultError::NoMaster { wanted: MasterSource::File, made_with })?;
    if disk::open_to_others(&path).map_err(|cause| VaultError::Io { path: path.clone(), cause })? {
        return Err(VaultError::MasterFile { path, what: "others than its owner can read it; `chmod 600` it, and change the password" });
    }
    Ok(Found { secret, source: MasterSource::File, warnings: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::keyring::NoRing;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct TestRing {
        kept: RefCell<BTreeMap<String, String>>,
        forgets: bool,
    }

    impl Ring for TestRing {
        fn read(&self, account: &str) -> Result<Option<Zeroizing<String>>, RingFault> {
            Ok(self.kept.borrow().get(account).cloned().map(Zeroizing::new))
        }
        fn write(&self, account: &str, text: &str) -> Result<(), RingFault> {
            if !self.forgets {
                self.kept.borrow_mut().insert(account.to_owned(), text.to_owned());
            }
            Ok(())
        }
        fn erase(&self, account: &str) -> Result<(), RingFault> {
            self.kept.borrow_mut().remove(account);
            Ok(())
        }
    }

    const STORE: StoreId = StoreId([5; 16]);

    #[test]
    fn auto_takes_credential_before_environment_before_keyring_before_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("gollm-master"), "from the credential\n").unwrap();
        let both: Environment =
            [("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap()), ("GOLLM_MASTER_PASSWORD", "from the environment")].into_iter().collect();
        let ring = TestRing::default();
        let made = |environment: &Environment, ring: &dyn Ring| make(&MasterSetting::Auto, dir.path(), environment, STORE, ring).unwrap();
        let credential = made(&both, &ring);
        assert_eq!((credential.source, credential.secret.as_slice()), (MasterSource::Credential, b"from the credential".as_slice()));
        std::fs::remove_file(dir.path().join("gollm-master")).unwrap();
        assert_eq!(made(&both, &ring).source, MasterSource::Environment);
        assert_eq!(made(&Environment::default(), &ring).source, MasterSource::Keyring);
        let file = made(&Environment::default(), &NoRing);
        assert_eq!((file.source, file.warnings.len()), (MasterSource::File, 1));
        assert_eq!(made(&Environment::default(), &NoRing).secret, file.secret);
    }

    #[test]
    fn a_keyring_that_forgets_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let ring = TestRing { forgets: true, ..TestRing::default() };
        let explicit = make(&MasterSetting::Keyring, dir.path(), &Environment::default(), STORE, &ring);
        assert!(matches!(explicit, Err(VaultError::Keyring(RingFault::Forgetful))));
        assert_eq!(
            make(&MasterSetting::Auto, dir.path(), &Environment::default(), STORE, &ring).map(|found| found.source).ok(),
            Some(MasterSource::File)
        );
    }

    #[test]
    fn a_store_made_with_the_keyring_gets_no_new_secret() {
        let dir = tempfile::tempdir().unwrap();
        let find = |ring: &dyn Ring| kept_or_typed(&MasterSetting::Auto, &[MasterSource::Keyring], dir.path(), STORE, ring).map(|f| f.source);
        assert!(matches!(find(&NoRing), Err(VaultError::Keyring(RingFault::Absent))));
        assert!(matches!(find(&TestRing::default()), Err(VaultError::Keyring(RingFault::Empty))));
        assert!(!dir.path().join("master.key").exists());
    }

    #[test]
    fn an_explicit_source_uses_just_that() {
        let dir = tempfile::tempdir().unwrap();
        let environment: Environment = [("GOLLM_MASTER_PASSWORD", "x")].into_iter().collect();
        let source = |setting| make(&setting, dir.path(), &environment, STORE, &NoRing).map(|found| found.source);
        assert!(matches!(source(MasterSetting::Credential), Err(VaultError::NoMaster { .. })));
        assert!(matches!(source(MasterSetting::File), Ok(MasterSource::File)));
        assert!(matches!(source(MasterSetting::Password(Zeroizing::new("y".to_owned()))), Ok(MasterSource::Prompt)));
        assert!(matches!(source(MasterSetting::Password(Zeroizing::default())), Err(VaultError::NoMaster { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        make(&MasterSetting::File, dir.path(), &Environment::default(), STORE, &NoRing).map(drop).unwrap();
        std::fs::set_permissions(dir.path().join("master.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let found = kept_or_typed(&MasterSetting::Auto, &[MasterSource::File], dir.path(), STORE, &NoRing);
        assert!(matches!(found, Err(VaultError::MasterFile { .. })));
    }
}
