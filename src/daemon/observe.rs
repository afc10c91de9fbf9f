//! What happened, told to the log: one line for each event worth reading.

use std::collections::HashMap;

use crate::audit::Entry;
use crate::daemon::bounds::{self, Sparse};
use crate::event::{AccountKey, Event};
use crate::health::KeyHealth;
use crate::health::account::AccountHealth;
use crate::id::{KeyId, ProviderName};
use crate::protocol::live::{self, AccountStateChanged, KeyStateChanged};
use crate::protocol::reply::KeyState;
use crate::time::{Now, Timestamp};

/// The states of keys and accounts: subscribers and the audit trail hear of a change, not of everything that happens to a key's health.
#[derive(Default)]
pub(crate) struct States {
    known: HashMap<String, KeyState>,
    noted: Sparse,
}

impl States {
    /// The changes that these events make.
    pub(crate) fn changed(&mut self, events: &[Event], now: Now) -> Vec<Changed> {
        let mut changes = Vec::new();
        for event in events {
            let (act, target, told) = match event {
                Event::Health { key, health } => ("key_state", key.to_string(), key_state(key, health, now)),
                Event::Account { account, health } => {
                    let (provider, name) = named(account);
                    let Some(told) = account_state(provider, name, health, now) else { continue };
                    ("account_state", format!("{provider}/{name}"), told)
                }
                _ => continue,
            };
            let Told { state, reason, event } = told;
            let whose = format!("{act} {target}");
            if self.known.insert(whose.clone(), state) == Some(state) {
                continue;
            }
            let entry = self.noted.take(&whose, bounds::STATES, now.steady).map(|left_out| {
                let detail = [reason, bounds::left_out(left_out)].into_iter().flatten().collect::<Vec<_>>().join("; ");
                Entry {
                    at: now.wall,
                    uid: None,
                    pid: None,
                    unit: None,
                    act: act.to_owned(),
                    target: Some(target),
                    result: state.name().to_owned(),
                    detail: Some(detail).filter(|detail| !detail.is_empty()),
                }
            });
            changes.push(Changed { event, entry });
        }
        changes
    }
}

/// A state that is another one than before.
pub(crate) struct Changed {
    /// What subscribers hear.
    pub(crate) event: live::Event,
    /// What the audit trail hears, as often as its bounds let it.
    pub(crate) entry: Option<Entry>,
}

/// A state, and how it is told.
struct Told {
    state: KeyState,
    reason: Option<String>,
    event: live::Event,
}

fn key_state(key: &KeyId, health: &KeyHealth, now: Now) -> Told {
    let (state, until, reason) = health.state(now);
    let event = live::Event::KeyState(KeyStateChanged {
        time: now.wall,
        provider: key.provider.clone(),
        key_name: key.key.clone(),
        state,
        until: until.map(|until| now.wall_at(until)),
        reason: reason.clone(),
    });
    Told { state, reason, event }
}

fn account_state(provider: &ProviderName, name: &str, health: &AccountHealth, now: Now) -> Option<Told> {
    let (state, until, reason) = health.state(now.steady).map_or((KeyState::Healthy, None, None), |(state, until, why)| (state, until, Some(why)));
    let event = live::Event::AccountState(AccountStateChanged {
        time: now.wall,
        provider: provider.clone(),
        account: name.parse().ok()?,
        state,
        until: until.map(|until| now.wall_at(until)),
        reason: reason.clone(),
    });
    Some(Told { state, reason, event })
}

fn named(account: &AccountKey) -> (&ProviderName, &str) {
    match account {
        AccountKey::Own(provider, key) => (provider, key.as_str()),
        AccountKey::Named(provider, account) => (provider, account.as_str()),
    }
}

/// Tells the log of events that are durable.
pub(crate) fn happened(events: &[Event]) {
    for event in events {
        one(event);
    }
}

fn one(event: &Event) {
    match event {
        Event::Granted(lease) => tracing::trace!(key = %lease.key, uid = %lease.caller.uid, lease = lease.number, "leased"),
        Event::Settled(settled) => {
            tracing::debug!(key = %settled.lease.key, uid = %settled.lease.caller.uid, lease = settled.lease.number, outcome = %settled.outcome, cost = %settled.usage.cost, "reported");
        }
        Event::AccountForgotten { key } => tracing::debug!(key = %key, "its account is to be learned again"),
        Event::Session { session, key, .. } => tracing::trace!(key = %key, uid = %session.caller, "session"),
        Event::Expired { number, .. } => tracing::debug!(lease = number, "a lease ran out and was charged its estimate"),
        Event::Recorded(recorded) => {
            tracing::debug!(key = %recorded.key, uid = %recorded.caller.uid, outcome = %recorded.outcome, cost = %recorded.usage.cost, "recorded")
        }
        Event::Health { key, health } => {
            let now = Now { wall: health.since.unwrap_or(Timestamp::from_unix_millis(0)), steady: crate::time::Steady::from_millis(0) };
            let (state, _, reason) = health.state(now);
            let reason = reason.unwrap_or_default();
            if state.is_healthy() {
                tracing::info!(key = %key, state = %state, reason, "key state")
            } else {
                tracing::warn!(key = %key, state = %state, reason, "key state")
            }
        }
        Event::Account { account, health } => {
            let state = health.state(crate::time::Steady::from_millis(0)).map_or(KeyState::Healthy, |(state, ..)| state);
            let (provider, account) = named(account);
            if state.is_healthy() {
                tracing::info!(provider = %provider, account, state = %state, "account state")
            } else {
                tracing::warn!(provider = %provider, account, state = %state, "account state")
            }
        }
        Event::AccountLearned { key, account } => tracing::info!(key = %key, account = %account, "the key's account is known"),
        Event::Alerted { key: Some(key), .. } => tracing::warn!(key = %key, "a key's cost today has passed the alert threshold of its cost_limit"),
        Event::Alerted { key: None, .. } => tracing::warn!("the cost today has passed the alert threshold of daily_cost_limit"),
        Event::SecretKept { key, .. } => tracing::info!(key = %key, "a secret was kept"),
        Event::SecretErased { key } => tracing::info!(key = %key, "a secret was erased"),
        Event::Audited(_) | Event::Clock(_) | Event::Ahead(_) | Event::Adopted(_) | Event::Renewed { .. } | Event::Unit { .. } => {}
    }
}
