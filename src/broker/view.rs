//! What people and programs are shown of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::Caller;
use crate::broker::{Broker, KeyIx, ProviderEntry};
use crate::event::Granted;
use crate::health::left::LastSaid;
use crate::id::{KeyId, KeyName, ProviderName};
use crate::lease::Standing;
use crate::limits::Meter;
use crate::money::Usd;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{GlobalStatus, KeyHealth, KeyRow, KeyState, ProviderLeft, ProviderStatus};
use crate::time::{Now, Steady};
use crate::usage::Ledger;
use crate::usage::sums::Sums;
use crate::usage::units::Units;

impl Broker {
    /// The key's state, until when at most, and why.
    pub(super) fn state_of(&self, key: KeyIx, now: Now) -> (KeyState, Option<Steady>, Option<String>) {
        let entry = &self.keys[key];
        if !entry.policy.as_ref().is_some_and(|policy| policy.enabled) {
            return (KeyState::Disabled, None, Some("disabled by its setting `enabled: false`".to_owned()));
        }
        let own = entry.health.state(now);
        if own.0 == KeyState::Disabled {
            return own;
        }
        if entry.sealed {
            return (KeyState::Sealed, None, Some("it has no secret, or its secret can't be opened; set it with `gollmctl key set`".to_owned()));
        }
        if own.0 == KeyState::Invalid {
            return own;
        }
        match self.accounts[entry.account].health.state(now.steady) {
            Some((state, until, why)) => (state, until, Some(why)),
            None => own,
        }
    }

    fn keys_of<'a>(&'a self, only: Option<&'a ProviderName>) -> impl Iterator<Item = (&'a ProviderEntry, KeyIx)> + 'a {
        let providers = self.policy.providers.iter().filter(move |provider| only.is_none_or(|only| *only == provider.name));
        providers.filter_map(|provider| self.providers.get(&provider.name)).flat_map(|provider| provider.keys.iter().map(move |key| (provider, *key)))
    }

    /// A row a key, in configured order. Of the secrets it tells nothing: whoever keeps them adds that.
    ///
    /// # Errors
    /// No such provider.
    pub fn key_rows(&self, only: Option<&ProviderName>, now: Now) -> Result<Vec<KeyRow>, ErrorReply> {
        self.known_provider(only)?;
        Ok(self.keys_of(only).map(|(_, key)| self.key_row(key, now)).collect())
    }

    fn known_provider(&self, only: Option<&ProviderName>) -> Result<(), ErrorReply> {
        match only.filter(|name| !self.providers.contains_key(*name)) {
            Some(name) => Err(ErrorReply::new(ErrorCode::UnknownProvider, format!("no provider `{name}` is configured"))),
            None => Ok(()),
        }
    }

    pub(super) fn key_row(&self, key: KeyIx, now: Now) -> KeyRow {
        let entry = &self.keys[key];
        let (state, until, reason) = self.state_of(key, now);
        let limits = entry.limits();
        let account = entry.policy.as_ref().and_then(|policy| policy.account.clone()).or_else(|| entry.learned.clone());
        KeyRow {
            provider: entry.id.provider.clone(),
            key_name: entry.id.key.clone(),
            enabled: state != KeyState::Disabled,
            state,
            until: until.map(|until| now.wall_at(until)),
            reason,
            last_four: None,
            fingerprint: None,
            rate_limit: limits.rate,
            requests_last_hour: entry.meter.requests_last_hour(now),
            cost_limit: limits.cost,
            cost_today_usd: entry.meter.cost_today(now),
            reserved_usd: entry.meter.reserved(),
            requests_total: entry.meter.requests_total(),
            last_used: entry.last_used,
            account,
            weight: entry.policy.as_ref().map_or(1, |policy| policy.weight),
            provider_left: entry.provider_limits.last().map(|LastSaid { requests, tokens, at }| ProviderLeft { requests, tokens, at }),
        }
    }

    /// The health of every key.
    #[must_use]
    pub fn health(&self, now: Now) -> BTreeMap<ProviderName, BTreeMap<KeyName, KeyHealth>> {
        let mut all: BTreeMap<ProviderName, BTreeMap<KeyName, KeyHealth>> = BTreeMap::new();
        for provider in &self.policy.providers {
            all.entry(provider.name.clone()).or_default();
        }
        for (_, key) in self.keys_of(None) {
            let entry = &self.keys[key];
            let (state, until, reason) = self.state_of(key, now);
            let mut message =
                reason.unwrap_or_else(|| if state == KeyState::Unknown { "not used or checked yet".to_owned() } else { "good".to_owned() });
            if let Some(missed) = self.missed(&entry.id.provider, now.steady) {
                message.push_str(&format!("; its provider was not reached by the last check: {}", missed.why));
            }
            let health = KeyHealth {
                state,
                healthy: state.is_healthy(),
                since: entry.health.since,
                until: until.map(|until| now.wall_at(until)),
                last_checked: entry.health.checked,
                message,
                balance: entry.balances.clone(),
            };
            all.entry(entry.id.provider.clone()).or_default().insert(entry.id.key.clone(), health);
        }
        all
    }

    /// A row a provider, in configured order.
    #[must_use]
    pub fn provider_rows(&self, now: Now) -> Vec<ProviderStatus> {
        self.policy
            .providers
            .iter()
            .filter_map(|provider| self.providers.get(&provider.name))
            .map(|provider| self.provider_row(provider, now))
            .collect()
    }

    /// A row for each provider whose keys the caller may use.
    #[must_use]
    pub fn rows_for(&self, caller: &Caller, now: Now) -> Vec<ProviderStatus> {
        let mut rows = self.provider_rows(now);
        rows.retain(|row| caller.may_use(&row.provider));
        rows
    }

    fn provider_row(&self, provider: &ProviderEntry, now: Now) -> ProviderStatus {
        let rows: Vec<KeyRow> = provider.keys.iter().map(|key| self.key_row(*key, now)).collect();
        let usable = |row: &KeyRow| {
            let rate = row.rate_limit.is_none_or(|limit| row.requests_last_hour < limit);
            let cost = row.cost_limit.is_none_or(|limit| row.cost_today_usd.saturating_add(row.reserved_usd) < limit);
            row.state.is_healthy() && rate && cost
        };
        let next_free = if rows.iter().any(usable) { None } else { self.next_free(provider, now) };
        ProviderStatus {
            provider: provider.policy.name.clone(),
            strategy: provider.policy.strategy,
            keys_total: rows.len() as u64,
            keys_healthy: rows.iter().filter(|row| row.state.is_healthy()).count() as u64,
            requests_last_hour: rows.iter().map(|row| row.requests_last_hour).sum(),
            rate_limit: rows.iter().map(|row| row.rate_limit).try_fold(0, |sum: u64, limit| limit.map(|limit| sum.saturating_add(limit))),
            cost_today_usd: rows.iter().map(|row| row.cost_today_usd).sum(),
            cost_limit: rows.iter().map(|row| row.cost_limit).try_fold(Usd::ZERO, |sum, limit| limit.map(|limit| sum.saturating_add(limit))),
            reachable: self.is_reachable(provider, now.steady),
            next_free,
            waiting: self.waiting.count(&provider.policy.name),
        }
    }

    fn next_free(&self, provider: &ProviderEntry, now: Now) -> Option<crate::time::Timestamp> {
        let first = provider.keys.iter().filter_map(|key| self.free_at(*key, now)).min()?;
        Some(now.wall_at(first))
    }

    /// Over all providers.
    #[must_use]
    pub fn global_row(&self, now: Now) -> GlobalStatus {
        let limits = self.global_limits();
        let states: Vec<KeyState> = self.keys_of(None).map(|(_, key)| self.state_of(key, now).0).collect();
        GlobalStatus {
            keys_total: states.len() as u64,
            keys_healthy: states.iter().filter(|state| state.is_healthy()).count() as u64,
            requests_last_hour: self.global.requests_last_hour(now),
            rate_limit: limits.rate,
            cost_today_usd: self.global.cost_today(now),
            reserved_usd: self.global.reserved(),
            cost_limit: limits.cost,
            unpriced_today: self.ledger.unpriced_on(now.wall.day()),
        }
    }

    /// What an admin should know of keys and limits.
    #[must_use]
    pub fn warnings(&self, now: Now) -> Vec<String> {
        let mut warnings = Vec::new();
        let day = now.wall.day();
        let reached = |meter: &Meter, limit: Option<Usd>| {
            limit.filter(|limit| *limit > Usd::ZERO && meter.cost_today(now) >= limit.share(self.policy.cost_alert_threshold))
        };
        for (_, key) in self.keys_of(None) {
            let entry = &self.keys[key];
            match self.state_of(key, now) {
                (state @ (KeyState::Sealed | KeyState::Invalid | KeyState::Exhausted), _, reason) => {
                    warnings.push(format!("{} is {state}: {}", entry.id, reason.unwrap_or_default()));
                }
                _ => {
                    if let Some(limit) = reached(&entry.meter, entry.limits().cost) {
                        warnings.push(format!("{} has spent {} of its cost_limit of {limit} today", entry.id, entry.meter.cost_today(now)));
                    }
                }
            }
        }
        if let Some(limit) = reached(&self.global, self.global_limits().cost) {
            warnings.push(format!("{} of the daily_cost_limit of {limit} is spent today", self.global.cost_today(now)));
        }
        for provider in self.policy.providers.iter().filter_map(|provider| self.providers.get(&provider.name)) {
            if !self.is_reachable(provider, now.steady) {
                warnings.push(format!("{} is unreachable: its last requests failed", provider.policy.name));
            }
        }
        if let Some(missed) = self.network_down(now.steady) {
            warnings.push(format!("no provider is reached since {}: the network of this machine seems to be down ({})", missed.since, missed.why));
        } else {
            let missed = self.policy.providers.iter().filter_map(|provider| Some((&provider.name, self.missed(&provider.name, now.steady)?)));
            warnings.extend(missed.map(|(name, missed)| format!("{name} is not reached since {}: {}", missed.since, missed.why)));
        }
        let unpriced = self.ledger.unpriced_on(day);
        if unpriced > 0 {
            let (requests, count) = if unpriced == 1 { ("request", "counts") } else { ("requests", "count") };
            warnings.push(format!("{unpriced} {requests} today had no known price and {count} as $0; give their models a price in `models`"));
        }
        warnings
    }

    /// All usage, to be asked without holding up anything: a copy that shares its pages.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.view()
    }

    /// What every key and model used since the store began.
    #[must_use]
    pub const fn sums(&self) -> &Arc<Sums> {
        self.ledger.sums()
    }

    /// The units that callers were in.
    #[must_use]
    pub fn units(&self) -> Arc<Units> {
        Arc::clone(self.ledger.units())
    }

    /// The lease of that number, if it ran out and may still be reported.
    #[must_use]
    pub fn ran_out(&self, number: u64) -> Option<Granted> {
        if let Standing::Expired(expired) = self.leases.standing(number) { Some(expired.lease) } else { None }
    }

    /// The number of the next lease.
    #[must_use]
    pub const fn next_lease(&self) -> u64 {
        self.leases.next_number()
    }

    /// Leases that are open.
    #[must_use]
    pub fn leases_open(&self) -> u64 {
        self.leases.open_count() as u64
    }

    /// Leases given and reports taken since the daemon started.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.selects, self.reports)
    }

    /// Keys that the configuration has, with what kind of API each speaks.
    #[must_use]
    pub fn has_key(&self, id: &KeyId) -> bool {
        self.known_key(id).is_ok()
    }
}
