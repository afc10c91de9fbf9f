//! The keys' secrets: sealed in memory and in the store, opened for each lease.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::KeyId;
use crate::policy::KeyPolicy;
use crate::protocol::request::KeySet;
use crate::secret::Secret;
use crate::vault::{Vault, VaultError};

/// Version of the encoding of a kept secret, its first byte.
const VERSION: u8 = 1;

/// How a secret came here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// From a source that the configuration names.
    Configured,
    /// By `key_set`.
    Set {
        /// The fingerprint of the configured secret that it replaced: as long as the configuration gives that one, it is
        /// the older one.
        over: Option<String>,
        /// The settings of a key that the configuration does not name.
        settings: Option<KeySettings>,
    },
}

/// The settings of a key that the configuration does not name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeySettings {
    rate_limit: Option<u64>,
    cost_limit: Option<crate::money::Usd>,
    enabled: bool,
    weight: u32,
    account: Option<crate::id::AccountName>,
}

impl KeySettings {
    /// Those that `key_set` asks for; what it does not name stays as it was kept.
    pub(crate) fn of(request: &KeySet, kept: Option<Self>) -> Self {
        let kept = kept.unwrap_or_default();
        Self {
            rate_limit: request.rate_limit.or(kept.rate_limit),
            cost_limit: request.cost_limit.or(kept.cost_limit),
            enabled: request.enabled.unwrap_or(kept.enabled),
            weight: request.weight.unwrap_or(kept.weight),
            account: request.account.clone().or(kept.account),
        }
    }

    /// The same settings, enabled; none: they are already.
    pub(crate) fn enabled(self) -> Option<Self> {
        (!self.enabled).then_some(Self { enabled: true, ..self })
    }

    /// The key with these settings.
    pub(crate) fn policy(&self, id: &KeyId) -> KeyPolicy {
        KeyPolicy {
            name: id.key.clone(),
            rate_limit: self.rate_limit,
            cost_limit: self.cost_limit,
            enabled: self.enabled,
            weight: self.weight,
            account: self.account.clone(),
        }
    }
}

impl Default for KeySettings {
    fn default() -> Self {
        Self { rate_limit: None, cost_limit: None, enabled: true, weight: 1, account: None }
    }
}

/// A secret as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    secret: String,
    origin: Origin,
}

/// What is known of a kept secret without opening it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The key's name, under which it is sealed.
    name: String,
    sealed: Vec<u8>,
    pub(crate) last_four: String,
    pub(crate) fingerprint: String,
    pub(crate) origin: Origin,
}

/// All secrets.
#[derive(Default)]
pub(crate) struct Safe {
    entries: HashMap<KeyId, Arc<Entry>>,
}

/// A secret that can't be opened or sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SafeError {
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What was opened is no secret of this version.
    #[error("what is kept for this key is no secret of this version")]
    Malformed,
}

fn decode(plain: &[u8]) -> Result<(Secret, Origin), SafeError> {
    let Some((&VERSION, body)) = plain.split_first() else {
        return Err(SafeError::Malformed);
    };
    let (kept, used): (Kept, usize) =
        bincode::serde::decode_from_slice(body, bincode::config::standard().with_limit::<65_536>()).map_err(|_| SafeError::Malformed)?;
    let secret = Secret::new(kept.secret).map_err(|_| SafeError::Malformed)?;
    if used == body.len() { Ok((secret, kept.origin)) } else { Err(SafeError::Malformed) }
}

fn encode(secret: &Secret, origin: &Origin) -> Result<Zeroizing<Vec<u8>>, SafeError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(secret.expose().len() + 512));
    plain.push(VERSION);
    // The same layout as `Kept`, without a copy of the secret's text in between.
    bincode::serde::encode_into_std_write((secret.expose(), origin), &mut *plain, bincode::config::standard()).map_err(|_| SafeError::Malformed)?;
    Ok(plain)
}

/// A secret, sealed for memory and events.
pub(crate) fn seal(vault: &Vault, id: &KeyId, secret: &Secret, origin: &Origin) -> Result<Vec<u8>, SafeError> {
    Ok(vault.seal_held(&id.to_string(), &encode(secret, origin)?)?)
}

impl Entry {
    /// The fingerprint of the secret that the configuration gave last; none: it never gave one.
    pub(crate) fn configured_fingerprint(&self) -> Option<&str> {
        match &self.origin {
            Origin::Configured => Some(&self.fingerprint),
            Origin::Set { over, .. } => over.as_deref(),
        }
    }

    /// Opens the secret.
    pub(crate) fn open(&self, vault: &Vault) -> Result<Secret, SafeError> {
        Ok(decode(&vault.open_held(&self.name, &self.sealed)?)?.0)
    }
}

impl Safe {
    pub(crate) fn entry(&self, id: &KeyId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&KeyId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (id, entry.as_ref()))
    }

    /// Takes up a secret that is sealed for memory.
    pub(crate) fn put(&mut self, vault: &Vault, id: &KeyId, sealed: Vec<u8>) -> Result<(), SafeError> {
        let name = id.to_string();
        let (secret, origin) = decode(&vault.open_held(&name, &sealed)?)?;
        let entry = Entry { name, sealed, last_four: secret.last_four(), fingerprint: vault.fingerprint(&secret), origin };
        self.entries.insert(id.clone(), Arc::new(entry));
        Ok(())
    }

    /// Takes up a secret from the store, where it stands as a record.
    pub(crate) fn load(&mut self, vault: &Vault, id: &KeyId, record: &[u8]) -> Result<(), SafeError> {
        let (secret, origin) = decode(record)?;
        let sealed = seal(vault, id, &secret, &origin)?;
        self.put(vault, id, sealed)
    }

    /// The secret as a record for the store; none: there is no secret.
    pub(crate) fn record(&self, vault: &Vault, id: &KeyId) -> Result<Option<Zeroizing<Vec<u8>>>, SafeError> {
        let Some(entry) = self.entries.get(id) else {
            return Ok(None);
        };
        Ok(Some(vault.open_held(&entry.name, &entry.sealed)?))
    }

    /// Erases a secret.
    pub(crate) fn erase(&mut self, id: &KeyId) {
        self.entries.remove(id);
    }
}
