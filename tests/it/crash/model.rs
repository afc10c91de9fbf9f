//! What must be true, kept apart from the daemon: what was given and what was acknowledged.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::crash::WORKERS;
use crate::harness::lines::{nanos, text};

/// The largest estimate of a lease, in nano-dollars.
pub(super) const ESTIMATE_MAX: i64 = 200_000_000;

/// The limits of a key; costs in nano-dollars.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rate: Option<i64>,
    pub(super) cost: Option<i64>,
}

/// What was acknowledged of one key.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Books {
    requests: u64,
    tokens: u64,
    cost: i64,
    errors: BTreeMap<String, u64>,
}

/// What is counted against the limits of one key: never more than the daemon's own count, because what is given counts
/// when its answer is read, and what is given back when that is asked for.
#[derive(Debug, Default)]
struct Counts {
    leases: i64,
    used: i64,
}

#[derive(Debug, Default)]
struct State {
    books: BTreeMap<String, Books>,
    counts: BTreeMap<String, Counts>,
    /// Selects that were refused because a limit was spent.
    refused: u64,
    /// Answers that a crash kept from coming.
    unanswered: u64,
}

/// Shared by all workers.
pub(super) struct Model {
    limits: fn(&str) -> Limits,
    state: Mutex<State>,
}

impl Model {
    pub(super) fn new(limits: fn(&str) -> Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease was given.
    pub(super) fn given(&self, key: &str, estimate: i64) {
        let mut state = self.lock();
        for name in [key, "*"] {
            let counts = state.counts.entry(name.to_owned()).or_default();
            counts.leases += 1;
            counts.used += estimate;
            let limits = (self.limits)(name);
            assert!(limits.rate.is_none_or(|limit| counts.leases <= limit), "{name}: {counts:?} passes {limits:?}");
            assert!(limits.cost.is_none_or(|limit| counts.used <= limit), "{name}: {counts:?} passes {limits:?}");
        }
    }

    /// A report is about to be sent: of the estimate, `cost` stays; a lease that was not used gives its place back.
    pub(super) fn returned(&self, key: &str, estimate: i64, cost: i64, outcome: &str) {
        let mut state = self.lock();
        for name in [key, "*"] {
            let counts = state.counts.entry(name.to_owned()).or_default();
            counts.leases -= i64::from(outcome == "cancelled");
            counts.used -= estimate - cost;
        }
    }

    /// A report or record is acknowledged.
    pub(super) fn booked(&self, key: &str, outcome: &str, tokens: u64, cost: i64) {
        if outcome == "cancelled" {
            return;
        }
        let mut state = self.lock();
        let books = state.books.entry(key.to_owned()).or_default();
        books.requests += 1;
        books.tokens += tokens;
        books.cost += cost;
        if outcome != "ok" {
            *books.errors.entry(outcome.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn refused(&self) {
        self.lock().refused += 1;
    }

    pub(super) fn unanswered(&self) {
        self.lock().unanswered += 1;
    }

    /// The daemon's statistics by key say exactly what was acknowledged.
    pub(super) fn is_booked(&self, rows: &[Value]) {
        let row = |row: &Value| {
            let key = format!("{}/{}", text(&row["provider"]), text(&row["key_name"]));
            let number = |field: &str| row[field].as_u64().unwrap();
            let errors = row["errors"].as_object().unwrap().iter().map(|(outcome, count)| (outcome.clone(), count.as_u64().unwrap()));
            (key, Books { requests: number("requests"), tokens: number("input_tokens"), cost: nanos(&row["cost_usd"]), errors: errors.collect() })
        };
        let told: BTreeMap<String, Books> = rows.iter().map(row).collect();
        assert_eq!(told, self.lock().books);
    }

    /// The daemon counts all that was given, and beyond it only the few places that each crash may cost: a hundredth of
    /// the limit, at least one, and what was given and not heard of.
    pub(super) fn is_counted(&self, key: &str, leases: i64, used: i64, kills: u64) {
        let mut state = self.lock();
        let limits = (self.limits)(key);
        let (kills, workers) = (i64::try_from(kills).unwrap(), i64::try_from(WORKERS).unwrap());
        let counts = state.counts.entry(key.to_owned()).or_default();
        // Where there is no limit, the last few leases may go uncounted.
        assert!(limits.rate.is_none() || leases >= counts.leases, "{key}: {leases} leases are counted, {} were given", counts.leases);
        assert!(limits.cost.is_none() || used >= counts.used, "{key}: {used} is counted, {} is used", counts.used);
        assert!(limits.rate.is_none_or(|limit| leases <= limit + kills * (limit / 100).max(1)), "{key}: {leases} leases are counted");
        let places = limits.rate.map_or(0, |limit| (limit / 100).max(1)) + workers;
        assert!(leases <= counts.leases + kills * places, "{key}: {leases} leases are counted, {} were given", counts.leases);
        let reserve = limits.cost.map_or(0, |limit| limit / 100) + workers * ESTIMATE_MAX;
        assert!(used <= counts.used + kills * reserve, "{key}: {used} is counted, {} is used", counts.used);
    }

    /// The run met what it was to meet.
    pub(super) fn was_worth_it(&self) {
        let state = self.lock();
        let requests: u64 = state.books.values().map(|books| books.requests).sum();
        eprintln!("{requests} acknowledged, {} refused, {} answers lost", state.refused, state.unanswered);
        assert!(requests > 500 && state.refused > 0 && state.unanswered > 0, "{state:?}");
        assert_eq!(state.counts.len(), 16, "every key was given: {state:?}");
    }
}
