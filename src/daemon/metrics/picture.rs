//! The state as a scrape tells it: taken in one look under the lock, written when the lock is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Labels, number};
use crate::daemon::state::Shared;
use crate::id::{KeyId, KeyName, ModelName, ProviderName};
use crate::protocol::alert::{Alert, AlertKind};
use crate::protocol::reply::{GlobalStatus, KeyRow, KeyState, ProviderStatus};
use crate::time::Timestamp;
use crate::time::clock::Clock;
use crate::usage::day::Totals;
use crate::usage::sums::Sums;

const STATES: [KeyState; 7] =
    [KeyState::Unknown, KeyState::Healthy, KeyState::CoolingDown, KeyState::Exhausted, KeyState::Invalid, KeyState::Sealed, KeyState::Disabled];

/// All that is looked at.
pub(super) struct Picture {
    pub(super) sums: Arc<Sums>,
    keys: Vec<KeyRow>,
    providers: Vec<ProviderStatus>,
    global: GlobalStatus,
    alerts: Vec<Alert>,
    leases_open: u64,
    connections: u64,
    subscriptions: usize,
    unfinished: usize,
    backlog: usize,
    posts: usize,
    failing: bool,
    locked: bool,
    started: Timestamp,
}

#[cfg(test)]
impl Default for Picture {
    fn default() -> Self {
        Self {
            sums: Arc::default(),
            keys: Vec::new(),
            providers: Vec::new(),
            global: GlobalStatus::of(&[]),
            alerts: Vec::new(),
            leases_open: 0,
            connections: 0,
            subscriptions: 0,
            unfinished: 0,
            backlog: 0,
            posts: 0,
            failing: false,
            locked: false,
            started: Timestamp::from_unix_millis(0),
        }
    }
}

#[cfg(test)]
impl Picture {
    /// Of usage and nothing else.
    pub(super) fn of_sums(sums: &Arc<Sums>) -> Self {
        Self { sums: Arc::clone(sums), ..Self::default() }
    }
}

/// Rows of a gauge or a counter.
type Rows = Vec<(Labels, f64)>;

impl Picture {
    /// Looks.
    pub(super) fn of(shared: &Shared) -> Self {
        let now = shared.clock.now();
        let desk = &shared.desk;
        let core = shared.lock();
        Self {
            sums: Arc::clone(core.broker.sums()),
            keys: core.broker.key_rows(None, now).unwrap_or_default(),
            providers: core.broker.provider_rows(now),
            global: core.broker.global_row(now),
            alerts: core.broker.alerts().into_iter().map(crate::alert::Notice::told).collect(),
            leases_open: core.broker.leases_open(),
            connections: desk.connections.load(Ordering::Relaxed),
            subscriptions: desk.news.count(),
            unfinished: desk.unfinished.load(Ordering::Relaxed),
            backlog: core.backlog + core.broker.events_waiting(),
            posts: core.broker.posts_waiting(),
            failing: core.failing.is_some(),
            locked: shared.locked.is_some(),
            started: desk.started.wall,
        }
    }

    /// Puts everything into a registry; `usage` is what of its sums may be told.
    pub(super) fn register(&self, registry: &mut Registry, usage: Vec<(KeyId, Option<ModelName>, Totals)>) {
        usage_of(registry, &usage);
        self.keys(registry);
        self.providers(registry);
        self.all(registry);
        let version = vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)];
        gauge(registry, "build_info", "The version of gollmd", version);
        self.daemon(registry);
    }

    fn keys(&self, registry: &mut Registry) {
        let of = |value: &dyn Fn(&KeyRow) -> Option<f64>| -> Rows {
            self.keys.iter().filter_map(|key| Some((labels(&key.provider, &key.key_name), value(key)?))).collect()
        };
        let states = self.keys.iter().flat_map(|key| {
            STATES.map(|state| {
                let mut labels = labels(&key.provider, &key.key_name);
                labels.push(("state", state.name().to_owned()));
                (labels, f64::from(u8::from(key.state == state)))
            })
        });
        gauge(registry, "key_state", "1 for the state that a key is in, 0 for the others", states.collect());
        gauge(registry, "key_requests_last_hour", "Leases of a key in the last 60 minutes", of(&|key| Some(number(key.requests_last_hour))));
        gauge(registry, "key_rate_limit", "Leases that a key may have in 60 minutes", of(&|key| key.rate_limit.map(number)));
        let left = |key: &KeyRow| key.rate_limit.map(|limit| number(limit.saturating_sub(key.requests_last_hour)));
        gauge(registry, "key_requests_left", "Leases that a key may have still", of(&left));
        gauge(registry, "key_cost_today_usd", "Cost of a key settled today (UTC)", of(&|key| Some(key.cost_today_usd.dollars())));
        gauge(registry, "key_cost_reserved_usd", "Estimates of a key's open leases", of(&|key| Some(key.reserved_usd.dollars())));
        gauge(registry, "key_cost_limit_usd", "Cost that a key may have a day", of(&|key| key.cost_limit.map(|limit| limit.dollars())));
        let left = |key: &KeyRow| key.cost_limit.map(|limit| limit.less(key.cost_today_usd).less(key.reserved_usd).dollars());
        gauge(registry, "key_cost_left_usd", "Cost that a key may have today still", of(&left));
    }

    fn providers(&self, registry: &mut Registry) {
        let of = |value: &dyn Fn(&ProviderStatus) -> f64| -> Rows {
            self.providers.iter().map(|row| (vec![("provider", row.provider.to_string())], value(row))).collect()
        };
        gauge(registry, "provider_keys", "Keys of a provider", of(&|row| number(row.keys_total)));
        gauge(registry, "provider_keys_healthy", "Keys whose state lets them be leased", of(&|row| number(row.keys_healthy)));
        gauge(
            registry,
            "provider_reachable",
            "0 where a provider failed so often that others are preferred",
            of(&|row| f64::from(u8::from(row.reachable))),
        );
        gauge(registry, "provider_waiting", "Selects that wait for a key of a provider", of(&|row| number(row.waiting)));
    }

    fn all(&self, registry: &mut Registry) {
        let GlobalStatus { requests_last_hour, rate_limit, cost_today_usd, reserved_usd, cost_limit, unpriced_today, .. } = &self.global;
        let mut one =
            |name: &str, help: &str, value: Option<f64>| gauge(registry, name, help, value.map(|value| (Vec::new(), value)).into_iter().collect());
        one("requests_last_hour", "Leases in the last 60 minutes", Some(number(*requests_last_hour)));
        one("rate_limit", "global_rate_limit", rate_limit.map(number));
        one("requests_left", "Leases that may be given still", rate_limit.map(|limit| number(limit.saturating_sub(*requests_last_hour))));
        one("cost_today_usd", "Cost settled today (UTC)", Some(cost_today_usd.dollars()));
        one("cost_reserved_usd", "Estimates of open leases", Some(reserved_usd.dollars()));
        one("cost_limit_usd", "daily_cost_limit", cost_limit.map(|limit| limit.dollars()));
        one("cost_left_usd", "Cost that is left today", cost_limit.map(|limit| limit.less(*cost_today_usd).less(*reserved_usd).dollars()));
        one("unpriced_today", "Requests today whose model has no known price", Some(number(*unpriced_today)));
    }

    fn daemon(&self, registry: &mut Registry) {
        let mut one = |name: &str, help: &str, value: f64| gauge(registry, name, help, vec![(Vec::new(), value)]);
        one("start_time_seconds", "When gollmd started, since 1970", millis(self.started) / 1000.0);
        one("leases_open", "Leases that are neither settled nor run out", number(self.leases_open));
        one("connections", "Connections to the socket", number(self.connections));
        one("subscriptions", "Subscriptions to events", number(self.subscriptions as u64));
        one("unfinished_bytes", "Bytes of messages that have not come in as a whole", number(self.unfinished as u64));
        one("journal_waiting_events", "Events that wait for the disk", number(self.backlog as u64));
        one("webhook_waiting_alerts", "Alerts that wait for webhooks", number(self.posts as u64));
        one("store_failing", "1 while the store can't be written", f64::from(u8::from(self.failing)));
        one("locked", "1 while no key can be opened", f64::from(u8::from(self.locked)));
        let raised = AlertKind::ALL.into_iter().filter(|(_, kind)| *kind != AlertKind::Test).map(|(name, kind)| {
            let count = self.alerts.iter().filter(|alert| alert.kind == kind).count();
            (vec![("kind", name.to_owned())], number(count as u64))
        });
        gauge(registry, "alerts", "Alerts whose cause is there", raised.collect());
    }
}

fn usage_of(registry: &mut Registry, usage: &[(KeyId, Option<ModelName>, Totals)]) {
    let named = |key: &KeyId, model: &Option<ModelName>| {
        let mut labels = labels(&key.provider, &key.key);
        labels.push(("model", model.as_ref().map_or_else(String::new, ToString::to_string)));
        labels
    };
    let of = |value: &dyn Fn(&Totals) -> f64| -> Rows { usage.iter().map(|(key, model, totals)| (named(key, model), value(totals))).collect() };
    counter(registry, "cost_usd", "Cost since the store began", of(&|totals| totals.cost.dollars()));
    counter(registry, "requests", "Requests that were reported, recorded, or ran out unreported", of(&|totals| number(totals.requests)));
    counter(registry, "unpriced_requests", "Those of a model that has no known price", of(&|totals| number(totals.unpriced)));
    let tokens = usage.iter().flat_map(|(key, model, totals)| {
        [("input", totals.input_tokens), ("output", totals.output_tokens), ("cached", totals.cached_tokens)].map(|(kind, count)| {
            let mut labels = named(key, model);
            labels.push(("kind", kind.to_owned()));
            (labels, number(count))
        })
    });
    counter(registry, "tokens", "Tokens sent, answered, and read from a provider's cache, which are among those sent", tokens.collect());
    let mut errors: std::collections::BTreeMap<(&KeyId, &str), u64> = std::collections::BTreeMap::new();
    for (key, _, totals) in usage {
        for (outcome, count) in &totals.errors {
            *errors.entry((key, outcome.name())).or_default() += count;
        }
    }
    let errors = errors.into_iter().map(|((key, outcome), count)| {
        let mut labels = labels(&key.provider, &key.key);
        labels.push(("outcome", outcome.to_owned()));
        (labels, number(count))
    });
    counter(registry, "errors", "Requests by outcome, other than ok", errors.collect());
}

fn labels(provider: &ProviderName, key: &KeyName) -> Labels {
    vec![("provider", provider.to_string()), ("key", key.to_string())]
}

fn gauge(registry: &mut Registry, name: &str, help: &str, rows: Rows) {
    let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    for (labels, value) in rows {
        family.get_or_create(&labels).set(value);
    }
    registry.register(name, help, family);
}

fn counter(registry: &mut Registry, name: &str, help: &str, rows: Rows) {
    let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
    for (labels, value) in rows {
        family.get_or_create(&labels).inc_by(value);
    }
    registry.register(name, help, family);
}

#[expect(clippy::cast_precision_loss, reason = "a time has fewer digits than a float")]
fn millis(at: Timestamp) -> f64 {
    at.unix_millis() as f64
}
