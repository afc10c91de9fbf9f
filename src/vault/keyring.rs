//! The keyring of the operating system, asked with a limit; what it can do wrong is told apart.

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
    /// It holds nothing for this store. A locked keyring can look like this.
    #[error("holds no master secret of this store: it is locked, or belongs to another user")]
    Empty,
    /// It gave back something else than it was given.
    #[error("does not keep what it is given")]
    Forgetful,
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

/// The keyring of the operating system: Secret Service, Keychain, Credential Manager. Service `gollm`.
#[cfg(feature = "keyring")]
pub(crate) struct SystemRing;

#[cfg(feature = "keyring")]
impl SystemRing {
    /// Runs one call on a thread of its own: a bus that accepts and never answers would hold the daemon for ever.
    fn ask<T: Send + 'static>(
        account: &str,
        call: impl FnOnce(keyring::Entry) -> keyring::Result<T> + Send + 'static,
    ) -> Result<Option<T>, RingFault> {
        let (answer, answered) = mpsc::channel();
        let account = account.to_owned();
        let thread = std::thread::Builder::new().name("keyring".to_owned());
        let asked = thread.spawn(move || answer.send(keyring::Entry::new("gollm", &account).and_then(call)));
        asked.map_err(|error| RingFault::Refused(error.to_string()))?;
        match answered.recv_timeout(LIMIT) {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(keyring::Error::NoEntry)) => Ok(None),
            // Only these say why in words that hold nothing secret.
            Ok(Err(keyring::Error::PlatformFailure(why) | keyring::Error::NoStorageAccess(why))) => Err(RingFault::Refused(why.to_string())),
            Ok(Err(_)) => Err(RingFault::Refused("its entry is not one of gollm's".to_owned())),
            Err(_) => Err(RingFault::Mute),
        }
    }
}

#[cfg(feature = "keyring")]
impl Ring for SystemRing {
    fn read(&self, account: &str) -> Result<Option<Zeroizing<String>>, RingFault> {
        Self::ask(account, |entry| entry.get_password().map(Zeroizing::new))
    }

    fn write(&self, account: &str, text: &str) -> Result<(), RingFault> {
        let text = Zeroizing::new(text.to_owned());
        Self::ask(account, move |entry| entry.set_password(&text))?.ok_or(RingFault::Empty)
    }

    fn erase(&self, account: &str) -> Result<(), RingFault> {
        Self::ask(account, |entry| entry.delete_credential()).map(drop)
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
