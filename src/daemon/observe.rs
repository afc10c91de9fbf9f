//! What happened, told to the log: one line for each event worth reading.

use std::collections::HashMap;

use crate::audit::Entry;
use crate::daemon::bounds::{self, Sparse};
use crate::event::{AccountKey, Event};
use crate::id::ProviderName;
use crate::protocol::reply::KeyState;
use crate::time::{Now, Timestamp};

/// The states of keys and accounts: the audit trail hears of a change, not of everything that happens to a key's health.
#[derive(Default)]
pub(crate) struct States {
    known: HashMap<String, KeyState>,
    noted: Sparse,
}

impl States {
    /// The entries that these events make.
    pub(crate) fn changed(&mut self, events: &[Event], now: Now) -> Vec<Entry> {
        let mut entries = Vec::new();
        for event in events {
            let (act, target, (state, reason)) = match event {
                Event::Health { key, health } => {
                    let (state, _, reason) = health.state(now);
                    ("key_state", key.to_string(), (state, reason))
                }
                Event::Account { account, health } => {
                    let (provider, name) = named(account);
                    let state = health.state(now.steady).map_or((KeyState::Healthy, None), |(state, _, reason)| (state, Some(reason)));
                    ("account_state", format!("{provider}/{name}"), state)
                }
                _ => continue,
            };
            let whose = format!("{act} {target}");
            if self.known.insert(whose.clone(), state) != Some(state)
                && let Some(left_out) = self.noted.take(&whose, bounds::STATES, now.steady)
            {
                let result = state.name().to_owned();
                let detail = [reason, bounds::left_out(left_out)].into_iter().flatten().collect::<Vec<_>>().join("; ");
                entries.push(Entry {
                    at: now.wall,
                    uid: None,
                    pid: None,
                    unit: None,
                    act: act.to_owned(),
                    target: Some(target),
                    result,
                    detail: Some(detail).filter(|detail| !detail.is_empty()),
                });
            }
        }
        entries
    }
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
        Event::Granted(lease) => tracing::trace!(key = %lease.key, uid = %lease.caller, lease = lease.number, "leased"),
        Event::Settled(settled) => {
            tracing::debug!(key = %settled.lease.key, uid = %settled.lease.caller, lease = settled.lease.number, outcome = %settled.outcome, cost = %settled.usage.cost, "reported");
        }
        Event::AccountForgotten { key } => tracing::debug!(key = %key, "its account is to be learned again"),
        Event::Session { session, key, .. } => tracing::trace!(key = %key, uid = %session.caller, "session"),
        Event::Expired { number, .. } => tracing::debug!(lease = number, "a lease ran out and was charged its estimate"),
        Event::Recorded(recorded) => {
            tracing::debug!(key = %recorded.key, uid = %recorded.caller, outcome = %recorded.outcome, cost = %recorded.usage.cost, "recorded")
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
        Event::Audited(_) | Event::Clock(_) | Event::Ahead(_) | Event::Adopted(_) | Event::Renewed { .. } => {}
    }
}
