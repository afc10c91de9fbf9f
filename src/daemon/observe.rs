//! What happened, told to the log: one line for each event worth reading.

use std::collections::HashMap;

use crate::alert::Notice;
use crate::audit::Entry;
use crate::daemon::bounds::{self, Sparse};
use crate::daemon::logging as log;
use crate::event::{Event, Recorded, Settled};
use crate::health::KeyHealth;
use crate::health::account::{AccountHealth, AccountKey};
use crate::id::{AccountName, KeyId, KeyName, ProviderName};
use crate::protocol::alert::{Alert, AlertState};
use crate::protocol::live::{self, AccountStateChanged, KeyStateChanged};
use crate::protocol::reply::KeyState;
use crate::time::Now;

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
        Event::Granted(lease) => {
            let KeyId { provider, key } = &lease.key;
            tracing::trace!(%provider, %key, uid = %lease.caller.uid, lease = lease.number, "leased");
        }
        Event::Settled(Settled { lease, outcome, usage, .. }) => {
            let KeyId { provider, key } = &lease.key;
            tracing::debug!(%provider, %key, %outcome, uid = %lease.caller.uid, lease = lease.number, cost = %usage.cost, "reported");
        }
        Event::AccountForgotten { key: KeyId { provider, key } } => tracing::debug!(%provider, %key, "its account is to be learned again"),
        Event::Session { session, key: KeyId { provider, key }, .. } => tracing::trace!(%provider, %key, uid = %session.caller, "session"),
        Event::Expired { number, .. } => tracing::debug!(lease = number, "a lease ran out and was charged its estimate"),
        Event::Recorded(Recorded { key: KeyId { provider, key }, outcome, caller, usage, .. }) => {
            tracing::debug!(%provider, %key, %outcome, uid = %caller.uid, cost = %usage.cost, "recorded");
        }
        Event::AccountLearned { key: KeyId { provider, key }, account } => tracing::info!(%provider, %key, %account, "the key's account is known"),
        Event::SecretKept { key: KeyId { provider, key }, .. } => tracing::info!(%provider, %key, "a secret was kept"),
        Event::SecretErased { key: KeyId { provider, key } } => tracing::info!(%provider, %key, "a secret was erased"),
        Event::Provider { provider, reachable: true, .. } => tracing::info!(target: log::PROVIDER, %provider, "the provider is reached again"),
        Event::Provider { provider, reachable: false, reason, .. } => {
            tracing::warn!(target: log::PROVIDER, %provider, reason, "the provider is not reached");
        }
        // The states are told of where they change, alerts where they are sent.
        Event::Health { .. } | Event::Account { .. } | Event::Alert(_) => {}
        Event::Audited(_) | Event::Clock(_) | Event::Ahead(_) | Event::Adopted(_) | Event::Renewed { .. } => {}
        Event::Unit { .. } | Event::Posted { .. } | Event::Alerted { .. } => {}
    }
}

/// Tells the log of a state that is another one than before.
pub(crate) fn changed(event: &live::Event) {
    match event {
        live::Event::KeyState(KeyStateChanged { provider, key_name, state, reason, .. }) if state.is_healthy() => {
            tracing::info!(target: log::STATE, %provider, key = %key_name, %state, reason, "key state");
        }
        live::Event::KeyState(KeyStateChanged { provider, key_name, state, reason, .. }) => {
            tracing::warn!(target: log::STATE, %provider, key = %key_name, %state, reason, "key state");
        }
        live::Event::AccountState(AccountStateChanged { provider, account, state, reason, .. }) if state.is_healthy() => {
            tracing::info!(target: log::STATE, %provider, %account, %state, reason, "account state");
        }
        live::Event::AccountState(AccountStateChanged { provider, account, state, reason, .. }) => {
            tracing::warn!(target: log::STATE, %provider, %account, %state, reason, "account state");
        }
        _ => {}
    }
}

/// What the audit trail hears of an alert.
pub(crate) fn entry_of(notice: &Notice) -> Entry {
    let alert = notice.told();
    let key = alert.provider.as_ref().zip(alert.key_name.as_ref()).map(|(provider, key)| format!("{provider}/{key}"));
    Entry {
        at: alert.time,
        uid: None,
        pid: None,
        unit: None,
        act: "alert".to_owned(),
        target: key.or_else(|| alert.provider.map(|provider| provider.to_string())),
        result: alert.state.name().to_owned(),
        detail: Some(format!("{}: {}", alert.kind, alert.message)),
    }
}

/// Tells the log of an alert.
pub(crate) fn alert(alert: &Alert) {
    let Alert { id, kind, provider, key_name, account, caller, message, .. } = alert;
    let [provider, key, account] =
        [provider.as_ref().map(ProviderName::as_str), key_name.as_ref().map(KeyName::as_str), account.as_ref().map(AccountName::as_str)];
    let uid = caller.map(|caller| caller.0);
    match alert.state {
        AlertState::Raised => tracing::warn!(target: log::ALERT, alert = %kind, id, provider, key, account, uid, "{message}"),
        AlertState::Recovered => tracing::info!(target: log::ALERT, alert = %kind, id, provider, key, account, uid, "{message}"),
    }
}
