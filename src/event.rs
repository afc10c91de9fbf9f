//! Everything that happens: decided by the broker, kept in the journal, applied the same way live and after a restart.

use serde::{Deserialize, Serialize};

use crate::alert::Notice;
use crate::alert::post::PostId;
use crate::health::KeyHealth;
use crate::health::account::{AccountHealth, AccountKey};
use crate::id::{AccountName, KeyId, ModelName, Origin, ProviderName, SessionName, Uid, UnitName};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::strategy::Strategy;
use crate::time::clock::SteadyMark;
use crate::time::{Now, Steady};

/// Version of the encoding of events, the first byte of a batch.
pub const VERSION: u8 = 1;

/// One thing that happened. The order of the variants is the stored format: add at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The steady clock was started, or its place was noted.
    Clock(SteadyMark),
    /// A horizon was moved ahead: after a crash counting starts there.
    Ahead(Ahead),
    /// A lease was given.
    Granted(Granted),
    /// A lease that a crash made unknown was presented: its place is counted already.
    Adopted(Granted),
    /// A lease got more time.
    Renewed {
        /// The lease.
        number: u64,
        /// When it ends now.
        expires: Steady,
    },
    /// A lease was settled by a report, in time or late.
    Settled(Settled),
    /// A lease ran out and was charged its estimate.
    Expired {
        /// The lease.
        number: u64,
        /// When that was noticed.
        at: Now,
    },
    /// Usage without a lease was booked.
    Recorded(Recorded),
    /// The health of a key changed.
    Health {
        /// The key.
        key: KeyId,
        /// Its health from now on.
        health: KeyHealth,
    },
    /// The health of an account changed.
    Account {
        /// The account.
        account: AccountKey,
        /// Its health from now on.
        health: AccountHealth,
    },
    /// The account of a key was learned from its provider.
    AccountLearned {
        /// The key.
        key: KeyId,
        /// The account it belongs to.
        account: AccountName,
    },
    /// A secret was kept, sealed; it replaces the one before.
    SecretKept {
        /// The key.
        key: KeyId,
        /// What is kept of it, sealed under the key's name.
        sealed: Vec<u8>,
    },
    /// A secret was erased: its key was retired.
    SecretErased {
        /// The key.
        key: KeyId,
    },
    /// What an earlier build said of a cost limit; nothing follows from it.
    Alerted {
        /// Whose limit; none: the global one.
        key: Option<KeyId>,
        /// When.
        at: Now,
    },
    /// A session has a key: it is new, it moved, or it is still used.
    Session {
        /// The session.
        session: SessionId,
        /// Its key.
        key: KeyId,
        /// When it was used.
        at: Steady,
    },
    /// The account that was learned of a key is not that of its present secret.
    AccountForgotten {
        /// The key.
        key: KeyId,
    },
    /// An entry of the audit trail, as the trail encodes it.
    Audited(Vec<u8>),
    /// A systemd unit got a number.
    Unit {
        /// The number, from 1.
        number: u32,
        /// The unit.
        name: UnitName,
    },
    /// An alert was raised, or its cause has passed.
    Alert(Box<Notice>),
    /// A provider is reached no more, or again.
    Provider {
        /// Which.
        provider: ProviderName,
        /// Is it?
        reachable: bool,
        /// Why not.
        reason: Option<String>,
        /// When that was noticed.
        at: Now,
    },
    /// A webhook has taken a notice, or is given up on for it.
    Posted {
        /// Which webhook.
        webhook: PostId,
        /// The number of the notice.
        notice: u64,
        /// It was never taken.
        given_up: bool,
    },
}

/// A session: a conversation of one caller with one provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// The provider that is asked for.
    pub provider: ProviderName,
    /// Who asks.
    pub caller: Uid,
    /// What the caller names it.
    pub name: SessionName,
}

/// A horizon: a count that memory may reach before the store must hear of it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ahead {
    /// Of one key, or (none) of all keys together.
    Meter {
        /// Whose.
        key: Option<KeyId>,
        /// Leases in its lifetime.
        places: u64,
        /// Nano-dollars of estimates reserved in its lifetime.
        reserved: u64,
    },
    /// Of the numbers of leases.
    Numbers {
        /// The first number that may not be given yet.
        until: u64,
    },
    /// Of one caller.
    Caller {
        /// Whose.
        uid: Uid,
        /// Leases in its lifetime.
        places: u64,
        /// Nano-dollars of estimates reserved in its lifetime.
        reserved: u64,
    },
}

/// A lease as it was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Granted {
    /// Unique in this store.
    pub number: u64,
    /// The key.
    pub key: KeyId,
    /// Who may report it, and where it was.
    pub caller: Origin,
    /// The model it was selected for.
    pub model: Option<ModelName>,
    /// What is reserved for it.
    pub estimate: Usd,
    /// When it was given.
    pub at: Now,
    /// When it ends.
    pub expires: Steady,
    /// The key is on trial for the whole key, the model or the account, and this is the one lease of that trial.
    pub trial: bool,
    /// It was chosen in turn, so the turn goes on to the next key.
    pub in_turn: bool,
    /// How the key was chosen.
    pub strategy: Strategy,
    /// The provider that was asked for, when this is another one.
    pub fallback_from: Option<ProviderName>,
}

/// What a request used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens sent, cached ones included.
    pub input_tokens: u64,
    /// Tokens answered.
    pub output_tokens: u64,
    /// Input tokens from the provider's cache.
    pub cached_tokens: u64,
    /// What it cost.
    pub cost: Usd,
    /// No price is known for its model, though tokens were used.
    pub unpriced: bool,
}

/// How a lease was settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// The lease, whole: after a crash it may be known from its token alone.
    pub lease: Granted,
    /// What came of it.
    pub outcome: Outcome,
    /// The model that answered.
    pub model: Option<ModelName>,
    /// What it used.
    pub usage: Usage,
    /// When it was reported.
    pub at: Now,
}

/// Usage that had no lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The key.
    pub key: KeyId,
    /// Who recorded it, and where.
    pub caller: Origin,
    /// What came of it.
    pub outcome: Outcome,
    /// The model that answered.
    pub model: Option<ModelName>,
    /// What it used.
    pub usage: Usage,
    /// When.
    pub at: Now,
}

impl Event {
    /// The steady time that the event carries, where it carries one.
    #[must_use]
    pub fn steady(&self) -> Option<Steady> {
        match self {
            Event::Clock(mark) => Some(mark.steady),
            Event::Granted(granted) => Some(granted.at.steady),
            Event::Settled(settled) => Some(settled.at.steady),
            Event::Expired { at, .. } | Event::Alerted { at, .. } => Some(at.steady),
            Event::Recorded(recorded) => Some(recorded.at.steady),
            Event::Session { at, .. } => Some(*at),
            Event::Alert(notice) => Some(notice.at.steady),
            _ => None,
        }
    }
}

/// A batch of events as bytes for the journal: a version byte, then bincode.
///
/// # Errors
/// None that events of this crate can cause.
pub fn encode(events: &[Event]) -> Result<Vec<u8>, bincode::error::EncodeError> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(events, &mut bytes, bincode::config::standard())?;
    Ok(bytes)
}

/// A batch of events that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal holds events that can't be read: a newer gollm wrote them")]
pub struct UnknownEvents;

/// Reads a batch of events.
///
/// # Errors
/// The bytes are none of this version.
pub fn decode(bytes: &[u8]) -> Result<Vec<Event>, UnknownEvents> {
    let Some((&VERSION, body)) = bytes.split_first() else {
        return Err(UnknownEvents);
    };
    match bincode::serde::decode_from_slice(body, bincode::config::standard().with_limit::<{ 256 * 1024 * 1024 }>()) {
        Ok((events, used)) if used == body.len() => Ok(events),
        _ => Err(UnknownEvents),
    }
}
