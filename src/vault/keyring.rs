//! The keyring of the operating system, asked with a limit; what it can do wrong is told apart.

#[cfg(feature = "keyring")]
use std::sync::Arc;
#[cfg(feature = "keyring")]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "keyring")]
use std::sync::mpsc;
#[cfg(feature = "keyring")]
use std::time::Duration;

use zeroize::Zeroizing;

/// What a keyring did instead of what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingFault {
    /// gollm was built without the feature `keyring`.
    #[error("is not built into this gollm")]
    Absent,
    /// It gave no answer in time.
    #[error("does not answer: it may be locked")]
    Mute,
    /// It said no.
    #[error("can't be used ({0})")]
    Refused(String),
    /// It is locked, and nobody unlocked it in time; or it was never unlocked, and has no collection to keep secrets in.
    #[error("is locked")]
    Locked,
    /// It holds nothing for this store.
    #[error("holds no master secret of this store: it was deleted, or the keyring is another one")]
    Empty,
    /// It lasts no longer than the session.
    #[error("forgets at logout what it is given: its default collection is that of the session")]
    Passing,
    /// It gave back something else than it was given.
    #[error("does not keep what it is given")]
    Forgetful,
}

impl RingFault {
    /// What a person can do about it.
    pub(super) const fn mend(&self) -> &'static str {
        match self {
            RingFault::Mute | RingFault::Locked => "unlock it and try again, or set `master.source` to another source",
            RingFault::Empty => {
                "put it back, or set `master.source: prompt` and open the store by another slot, as with a recovery code: `gollmctl unlock`"
            }
            RingFault::Absent | RingFault::Refused(_) | RingFault::Forgetful | RingFault::Passing => "set `master.source` to another source",
        }
    }
}

/// What gollm needs of a keyring.
pub(crate) trait Ring {
    /// The text kept for an account, if there is any.
    fn read(&self, account: &str) -> Result<Option<Zeroizing<String>>, RingFault>;
    /// Keeps a text for an account.
    fn write(&self, account: &str, text: &str) -> Result<(), RingFault>;
    /// Removes what is kept for an account.
    fn erase(&self, account: &str) -> Result<(), RingFault>;
}

/// A keyring that answers in no such time is taken for mute: it may be waiting for a person, or for ever.
#[cfg(feature = "keyring")]
const LIMIT: Duration = Duration::from_secs(5);

/// Seconds that a person has to unlock it: less, so that its prompt is gone by then.
#[cfg(all(feature = "keyring", target_os = "linux"))]
const PROMPT: u64 = 4;

/// The keyring of the operating system: Secret Service, Keychain, Credential Manager. Service `gollm`.
#[cfg(feature = "keyring")]
pub(crate) struct SystemRing;

#[cfg(feature = "keyring")]
impl SystemRing {
    /// Runs one call on a thread of its own: a bus that accepts and never answers would hold the daemon for ever.
    fn ask<T: Send + 'static>(
        account: &str,
        lasting: bool,
        call: impl FnOnce(keyring::Entry) -> keyring::Result<T> + Send + 'static,
    ) -> Result<Option<T>, RingFault> {
        let (answer, answered) = mpsc::channel();
        let account = account.to_owned();
        let thread = std::thread::Builder::new().name("keyring".to_owned());
        let late = Arc::new(AtomicBool::new(false));
        let is_late = Arc::clone(&late);
        let asked = thread.spawn(move || {
            let done = ready(lasting).and_then(|()| {
                // What was given up is not to happen later, over what was done meanwhile.
                if is_late.load(Ordering::Acquire) { Err(RingFault::Mute) } else { told(keyring::Entry::new("gollm", &account).and_then(call)) }
            });
            answer.send(done)
        });
        asked.map_err(|error| RingFault::Refused(error.to_string()))?;
        answered.recv_timeout(LIMIT).unwrap_or_else(|_| {
            late.store(true, Ordering::Release);
            Err(RingFault::Mute)
        })
    }
}

#[cfg(feature = "keyring")]
fn told<T>(result: keyring::Result<T>) -> Result<Option<T>, RingFault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(keyring::Error::NoEntry) => Ok(None),
        // Only these say why in words that hold nothing secret.
        Err(keyring::Error::PlatformFailure(why) | keyring::Error::NoStorageAccess(why)) => Err(RingFault::Refused(why.to_string())),
        Err(_) => Err(RingFault::Refused("its entry is not one of gollm's".to_owned())),
    }
}

/// Unlocks the collection that the keyring keeps new secrets in, as long as a person may take for it; `lasting`: it has to outlive the
/// session. The calls of the crate `keyring` would wait a year for that person.
#[cfg(all(feature = "keyring", target_os = "linux"))]
fn ready(lasting: bool) -> Result<(), RingFault> {
    use dbus_secret_service::{EncryptionType, Error, SecretService};
    let of_bus = |name: &str| match name.strip_prefix("org.freedesktop.DBus.Error.")? {
        "NoReply" | "Timeout" | "TimedOut" => Some(RingFault::Mute),
        // What libdbus says where it is told of no bus.
        "NotSupported" => Some(RingFault::Refused("there is no bus of a session: DBUS_SESSION_BUS_ADDRESS is not set".to_owned())),
        "ServiceUnknown" => Some(RingFault::Refused("no program of this session is one".to_owned())),
        "AccessDenied" => Some(RingFault::Refused("the bus of the session lets nobody of this user speak to it".to_owned())),
        _ => None,
    };
    let fault = |why: Error| match &why {
        Error::Prompt | Error::Locked => RingFault::Locked,
        Error::Dbus(said) => said.name().and_then(of_bus).unwrap_or_else(|| RingFault::Refused(why.to_string())),
        _ => RingFault::Refused(why.to_string()),
    };
    let service = SecretService::connect_with_max_prompt_timeout(EncryptionType::Dh, PROMPT).map_err(fault)?;
    let collection = match service.get_default_collection() {
        Err(Error::NoResult) if lasting => return Err(RingFault::Locked),
        // Then nothing is kept there, which the call itself says.
        Err(Error::NoResult) => return Ok(()),
        found => found.map_err(fault)?,
    };
    if lasting && collection.path.ends_with("/collection/session") {
        return Err(RingFault::Passing);
    }
    collection.ensure_unlocked().map_err(fault)
}

#[cfg(all(feature = "keyring", not(target_os = "linux")))]
const fn ready(_: bool) -> Result<(), RingFault> {
    Ok(())
}

#[cfg(feature = "keyring")]
impl Ring for SystemRing {
    fn read(&self, account: &str) -> Result<Option<Zeroizing<String>>, RingFault> {
        Self::ask(account, false, |entry| entry.get_password().map(Zeroizing::new))
    }

    fn write(&self, account: &str, text: &str) -> Result<(), RingFault> {
        let text = Zeroizing::new(text.to_owned());
        Self::ask(account, true, move |entry| entry.set_password(&text))?.ok_or(RingFault::Empty)
    }

    fn erase(&self, account: &str) -> Result<(), RingFault> {
        Self::ask(account, false, |entry| entry.delete_credential()).map(drop)
    }
}

/// The keyring that this gollm was built for.
#[cfg(feature = "keyring")]
pub(crate) const RING: SystemRing = SystemRing;
#[cfg(not(feature = "keyring"))]
pub(crate) const RING: NoRing = NoRing;

/// No keyring at all.
#[cfg(any(test, not(feature = "keyring")))]
pub(crate) struct NoRing;

#[cfg(any(test, not(feature = "keyring")))]
impl Ring for NoRing {
    fn read(&self, _: &str) -> Result<Option<Zeroizing<String>>, RingFault> {
        Err(RingFault::Absent)
    }

    fn write(&self, _: &str, _: &str) -> Result<(), RingFault> {
        Err(RingFault::Absent)
    }

    fn erase(&self, _: &str) -> Result<(), RingFault> {
        Err(RingFault::Absent)
    }
}
