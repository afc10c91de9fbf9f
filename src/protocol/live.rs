//! What happens, as it is told to those who subscribed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AccountName, KeyName, ModelName, ProviderName, Uid, UnitName};
use crate::money::Usd;
use crate::protocol::alert::Alert;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{AuditEntry, KeyState};
use crate::protocol::strategy::UnknownVariant;
use crate::time::Timestamp;

/// One thing that happened, once the store holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A lease was given.
    Granted(Granted),
    /// A lease was reported.
    Settled(Settled),
    /// A lease ran out and was charged its estimate.
    Expired(Settled),
    /// Usage that had no lease was booked.
    Recorded(Settled),
    /// A select got no key.
    Refused(Refused),
    /// The state of a key is another one.
    KeyState(KeyStateChanged),
    /// The state of an account is another one.
    AccountState(AccountStateChanged),
    /// A provider is reached no more, or again.
    ProviderState(ProviderStateChanged),
    /// An alert was raised, or its cause is gone.
    Alert(Alert),
    /// Somebody did, or was denied, what the audit trail has; for admins alone.
    Audit(AuditEntry),
    /// The reader was too slow: so many events before the next one are lost to it.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// A kind of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Leases that were given.
    Granted,
    /// Leases that were reported.
    Settled,
    /// Leases that ran out.
    Expired,
    /// Usage without a lease.
    Recorded,
    /// Selects that got no key.
    Refused,
    /// States of keys.
    KeyState,
    /// States of accounts.
    AccountState,
    /// Whether providers are reached.
    ProviderState,
    /// Alerts.
    Alert,
    /// Entries of the audit trail.
    Audit,
}

/// A lease as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// When.
    pub time: Timestamp,
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// Who has it.
    pub caller: Uid,
    /// The system's unit that its process is in; null: none that is known.
    pub unit: Option<UnitName>,
    /// The number of the lease. It is not the token that reports it.
    pub lease: u64,
    /// The model that it is for.
    pub model: Option<ModelName>,
    /// What is reserved for it.
    pub estimate_usd: Usd,
    /// The provider that was asked for, when this is another one.
    pub fallback_from: Option<ProviderName>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// When it was reported.
    pub time: Timestamp,
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// Who made the request.
    pub caller: Uid,
    /// The system's unit that its process was in; null: none that is known.
    pub unit: Option<UnitName>,
    /// The number of the lease; null: it had none.
    pub lease: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
    /// The model that answered.
    pub model: Option<ModelName>,
    /// Tokens sent, cached ones included.
    pub input_tokens: u64,
    /// Tokens answered.
    pub output_tokens: u64,
    /// Input tokens that came from the provider's cache.
    pub cached_tokens: u64,
    /// What it cost.
    pub cost_usd: Usd,
    /// `false`: no price is known for the model, so it counts as nothing.
    pub priced: bool,
}

/// A select that got no key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When.
    pub time: Timestamp,
    /// The provider that was asked for.
    pub provider: ProviderName,
    /// The model that was asked for.
    pub model: Option<ModelName>,
    /// Who asked.
    pub caller: Uid,
    /// The system's unit that its process is in; null: none that is known.
    pub unit: Option<UnitName>,
    /// Why, for people.
    pub message: String,
    /// When it may be worth asking again; null: only a person can mend it.
    pub retry_after_ms: Option<u64>,
}

/// The state of a key as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStateChanged {
    /// Since when.
    pub time: Timestamp,
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// Its state.
    pub state: KeyState,
    /// Until when the state lasts at most.
    pub until: Option<Timestamp>,
    /// Why it is in this state.
    pub reason: Option<String>,
}

/// The state of an account as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStateChanged {
    /// Since when.
    pub time: Timestamp,
    /// Whose account.
    pub provider: ProviderName,
    /// Its name, or that of the one key that is known to be of it.
    pub account: AccountName,
    /// Its state.
    pub state: KeyState,
    /// Until when the state lasts at most.
    pub until: Option<Timestamp>,
    /// Why it is in this state.
    pub reason: Option<String>,
}

/// Whether a provider is reached, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStateChanged {
    /// Since when.
    pub time: Timestamp,
    /// Which.
    pub provider: ProviderName,
    /// Is it?
    pub reachable: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl EventKind {
    /// All of them, with their names.
    pub const ALL: [(&'static str, EventKind); 10] = [
        ("granted", EventKind::Granted),
        ("settled", EventKind::Settled),
        ("expired", EventKind::Expired),
        ("recorded", EventKind::Recorded),
        ("refused", EventKind::Refused),
        ("key_state", EventKind::KeyState),
        ("account_state", EventKind::AccountState),
        ("provider_state", EventKind::ProviderState),
        ("alert", EventKind::Alert),
        ("audit", EventKind::Audit),
    ];
}

impl FromStr for EventKind {
    type Err = UnknownVariant;
    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        let allowed = "granted, settled, expired, recorded, refused, key_state, account_state, provider_state, alert, audit";
        found.map(|(_, kind)| *kind).ok_or(UnknownVariant { allowed })
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

impl Event {
    /// Its kind; none: it tells of events that are lost, which every subscriber hears.
    #[must_use]
    pub const fn kind(&self) -> Option<EventKind> {
        Some(match self {
            Event::Granted(_) => EventKind::Granted,
            Event::Settled(_) => EventKind::Settled,
            Event::Expired(_) => EventKind::Expired,
            Event::Recorded(_) => EventKind::Recorded,
            Event::Refused(_) => EventKind::Refused,
            Event::KeyState(_) => EventKind::KeyState,
            Event::AccountState(_) => EventKind::AccountState,
            Event::ProviderState(_) => EventKind::ProviderState,
            Event::Alert(_) => EventKind::Alert,
            Event::Audit(_) => EventKind::Audit,
            Event::Lagged { .. } => return None,
        })
    }

    /// When it happened; none: it tells of events that are lost.
    #[must_use]
    pub const fn time(&self) -> Option<Timestamp> {
        Some(match self {
            Event::Granted(granted) => granted.time,
            Event::Settled(settled) | Event::Expired(settled) | Event::Recorded(settled) => settled.time,
            Event::Refused(refused) => refused.time,
            Event::KeyState(changed) => changed.time,
            Event::AccountState(changed) => changed.time,
            Event::ProviderState(changed) => changed.time,
            Event::Alert(alert) => alert.time,
            Event::Audit(entry) => entry.time,
            Event::Lagged { .. } => return None,
        })
    }

    /// The provider that it concerns; none: it concerns no one in particular.
    #[must_use]
    pub const fn provider(&self) -> Option<&ProviderName> {
        match self {
            Event::Granted(granted) => Some(&granted.provider),
            Event::Settled(settled) | Event::Expired(settled) | Event::Recorded(settled) => Some(&settled.provider),
            Event::Refused(refused) => Some(&refused.provider),
            Event::KeyState(changed) => Some(&changed.provider),
            Event::AccountState(changed) => Some(&changed.provider),
            Event::ProviderState(changed) => Some(&changed.provider),
            Event::Alert(alert) => alert.provider.as_ref(),
            Event::Audit(_) | Event::Lagged { .. } => None,
        }
    }

    /// The user whose request it tells of; none: it tells of no request.
    #[must_use]
    pub const fn caller(&self) -> Option<Uid> {
        match self {
            Event::Granted(granted) => Some(granted.caller),
            Event::Settled(settled) | Event::Expired(settled) | Event::Recorded(settled) => Some(settled.caller),
            Event::Refused(refused) => Some(refused.caller),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_named_as_its_events_are_on_the_wire() {
        for (name, kind) in EventKind::ALL {
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
            assert_eq!(kind.to_string(), name);
        }
        let allowed = "nothing".parse::<EventKind>().unwrap_err().allowed;
        assert_eq!(allowed.split(", ").collect::<Vec<_>>(), EventKind::ALL.map(|(name, _)| name));
        assert_eq!(serde_json::to_string(&Event::Lagged { missed: 7 }).unwrap(), r#"{"lagged":{"missed":7}}"#);
    }
}
