//! What is shown: the daemon's answers as of one moment, and what has happened since.
//!
//! Nothing is asked in turns: `status`, `keys` and `alerts` are asked once, and events move the picture on. It is asked anew where
//! events can't do that: after some were missed, after an admin's act, when a set-aside ends or a day begins, and once a minute,
//! since the trailing hour forgets leases whose times nobody tells.
//!
//! What happened while the daemon was asked must count once. An event's own time says where it belongs: one from before the answers
//! came is in them, and is not counted again. Because that may be wrong for those from the milliseconds of asking, the daemon is
//! then asked once more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::ctl::top::rates::Rates;
use crate::id::{KeyId, KeyName, ProviderName};
use crate::money::Usd;
use crate::protocol::alert::{Alert, AlertState};
use crate::protocol::live::{Event, Granted, KeyStateChanged, Settled};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{KeyRow, Status};
use crate::time::Timestamp;

/// What calls for new answers is waited for so long.
const SOON: Duration = Duration::from_secs(1);

/// Answers are no older.
const OLD: Duration = Duration::from_secs(60);

/// Events that are kept of a key.
const OF_KEY: usize = 200;

/// Keys whose events are kept.
const KEYS_MAX: usize = 500;

/// Leases that ran out and are remembered.
const RAN_OUT: usize = 10_000;

/// Errors and warnings that are kept.
const TROUBLES: usize = 200;

/// The daemon's answers.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// When the first was asked for.
    pub(super) asked: Timestamp,
    /// When the last had come.
    pub(super) came: Timestamp,
    pub(super) status: Status,
    pub(super) keys: Vec<KeyRow>,
    pub(super) alerts: Vec<Alert>,
}

/// Everything that is shown.
pub(super) struct Model {
    pub(super) status: Status,
    pub(super) keys: Vec<KeyRow>,
    pub(super) alerts: Vec<Alert>,
    /// The newest last.
    pub(super) troubles: VecDeque<Arc<Event>>,
    pub(super) rates: Rates,
    /// Why the daemon is not heard, while it is not.
    pub(super) lost: Option<String>,
    histories: HashMap<KeyId, VecDeque<Arc<Event>>>,
    outcomes: HashMap<KeyId, Outcome>,
    asked: Timestamp,
    came: Timestamp,
    wants: bool,
    /// Leases that ran out, which may still be reported.
    ran_out: HashSet<u64>,
}

impl Model {
    pub(super) fn new(answers: Answers) -> Self {
        let Answers { asked, came, status, keys, alerts } = answers;
        Self {
            status,
            keys,
            alerts,
            troubles: VecDeque::new(),
            rates: Rates::new(asked),
            lost: None,
            histories: HashMap::new(),
            outcomes: HashMap::new(),
            asked,
            came,
            wants: false,
            ran_out: HashSet::new(),
        }
    }

    /// Should the daemon be asked anew?
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let waited = now.since(self.asked);
        let ended = |row: &KeyRow| row.until.is_some_and(|until| self.asked < until && until <= now);
        let wants = self.wants || self.asked.day() != now.day() || self.keys.iter().any(ended);
        self.lost.is_none() && (waited >= OLD || (wants && waited >= SOON))
    }

    /// It has answered.
    pub(super) fn answer(&mut self, answers: Answers) {
        let Answers { asked, came, status, keys, alerts } = answers;
        (self.asked, self.came, self.status, self.keys, self.alerts) = (asked, came, status, keys, alerts);
        (self.wants, self.lost) = (false, None);
        if self.ran_out.len() > RAN_OUT {
            self.ran_out.clear();
        }
    }

    /// It is heard no longer; what was shown stays.
    pub(super) fn lose(&mut self, why: String) {
        self.lost = Some(why);
    }

    /// What happened.
    pub(super) fn hear(&mut self, event: &Arc<Event>) {
        // Is it in the answers?
        let is_new = event.time().is_none_or(|time| time > self.came);
        self.wants |= event.time().is_some_and(|time| time >= self.asked && time <= self.came);
        match &**event {
            Event::Granted(lease) => self.granted(lease, is_new),
            Event::Expired(settled) => {
                self.ran_out.extend(settled.lease);
                self.settled(settled, is_new);
            }
            Event::Settled(settled) | Event::Recorded(settled) => {
                // A late report replaces an estimate that was counted: the daemon has the sum.
                self.wants |= settled.lease.is_some_and(|lease| self.ran_out.contains(&lease));
                self.settled(settled, is_new);
            }
            Event::KeyState(changed) => self.changed(changed, is_new),
            Event::Alert(alert) => self.alerted(alert),
            Event::Audit(entry) => self.wants |= entry.result == "done" && entry.act != "select",
            Event::Lagged { .. } | Event::AccountState(_) | Event::ProviderState(_) => self.wants = true,
            Event::Refused(_) => {}
        }
        if let Some(key) = key_of(event) {
            self.remember(key, event);
        }
        if is_trouble(event) {
            self.troubles.push_back(Arc::clone(event));
            if self.troubles.len() > TROUBLES {
                self.troubles.pop_front();
            }
        }
    }

    fn remember(&mut self, key: KeyId, event: &Arc<Event>) {
        if self.histories.len() >= KEYS_MAX && !self.histories.contains_key(&key) {
            return;
        }
        let history = self.histories.entry(key).or_default();
        history.push_back(Arc::clone(event));
        if history.len() > OF_KEY {
            history.pop_front();
        }
    }

    fn row(&mut self, provider: &ProviderName, key: &KeyName) -> Option<&mut KeyRow> {
        self.keys.iter_mut().find(|row| row.provider == *provider && row.key_name == *key)
    }

    fn granted(&mut self, lease: &Granted, is_new: bool) {
        self.rates.lease(lease.time);
        if !is_new {
            return;
        }
        if let Some(row) = self.row(&lease.provider, &lease.key_name) {
            row.requests_last_hour += 1;
            row.requests_total += 1;
            row.last_used = Some(lease.time);
        }
        if let Some(row) = self.status.providers.iter_mut().find(|row| row.provider == lease.provider) {
            row.requests_last_hour += 1;
        }
        self.status.global.requests_last_hour += 1;
        self.status.counts.leases_open += 1;
    }

    fn settled(&mut self, settled: &Settled, is_new: bool) {
        self.rates.cost(settled.time, settled.cost_usd);
        let key = KeyId { provider: settled.provider.clone(), key: settled.key_name.clone() };
        self.outcomes.insert(key, settled.outcome);
        if !is_new {
            return;
        }
        if settled.lease.is_some() {
            self.status.counts.leases_open = self.status.counts.leases_open.saturating_sub(1);
        }
        let add = |sum: &mut Usd| *sum = sum.saturating_add(settled.cost_usd);
        if let Some(row) = self.row(&settled.provider, &settled.key_name) {
            add(&mut row.cost_today_usd);
        }
        if let Some(row) = self.status.providers.iter_mut().find(|row| row.provider == settled.provider) {
            add(&mut row.cost_today_usd);
        }
        add(&mut self.status.global.cost_today_usd);
        // A lease that was cancelled gives its place back, and one of yesterday or with an estimate counts elsewhere.
        self.wants |= settled.outcome == Outcome::Cancelled;
    }

    fn changed(&mut self, changed: &KeyStateChanged, is_new: bool) {
        if let Some(row) = self.row(&changed.provider, &changed.key_name).filter(|_| is_new) {
            row.state = changed.state;
            row.until = changed.until;
            row.reason.clone_from(&changed.reason);
        }
        self.wants = true;
    }

    fn alerted(&mut self, alert: &Alert) {
        self.alerts.retain(|other| {
            (other.kind, &other.provider, &other.key_name, &other.account, other.caller)
                != (alert.kind, &alert.provider, &alert.key_name, &alert.account, alert.caller)
        });
        if alert.state == AlertState::Raised {
            self.alerts.push(alert.clone());
        }
        self.wants = true;
    }

    /// What is known of a key from its events, the newest last.
    pub(super) fn history(&self, key: &KeyId) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.histories.get(key).into_iter().flatten()
    }

    /// What came of its last request.
    pub(super) fn last_outcome(&self, key: &KeyId) -> Option<Outcome> {
        self.outcomes.get(key).copied()
    }
}

fn key_of(event: &Event) -> Option<KeyId> {
    let (provider, key) = match event {
        Event::Granted(lease) => (&lease.provider, &lease.key_name),
        Event::Settled(settled) | Event::Expired(settled) | Event::Recorded(settled) => (&settled.provider, &settled.key_name),
        Event::KeyState(changed) => (&changed.provider, &changed.key_name),
        Event::Alert(Alert { provider: Some(provider), key_name: Some(key), .. }) => (provider, key),
        _ => return None,
    };
    Some(KeyId { provider: provider.clone(), key: key.clone() })
}

fn is_trouble(event: &Event) -> bool {
    match event {
        Event::Settled(settled) | Event::Recorded(settled) => !matches!(settled.outcome, Outcome::Ok | Outcome::Cancelled),
        Event::KeyState(changed) => !changed.state.is_healthy(),
        Event::AccountState(changed) => !changed.state.is_healthy(),
        Event::Audit(entry) => entry.result == "denied",
        Event::Granted(_) => false,
        Event::Expired(_) | Event::Refused(_) | Event::ProviderState(_) | Event::Alert(_) | Event::Lagged { .. } => true,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::id::Uid;
    use crate::protocol::reply::{Counts, GlobalStatus, KeyState, ProviderStatus};
    use crate::protocol::strategy::Strategy;

    pub(in crate::ctl::top) fn at(seconds: u64) -> Timestamp {
        "2026-01-31T12:00:00Z".parse::<Timestamp>().unwrap().after(Duration::from_secs(seconds))
    }

    pub(in crate::ctl::top) fn key(provider: &str, name: &str, state: KeyState, cost: f64) -> KeyRow {
        KeyRow {
            provider: provider.parse().unwrap(),
            key_name: name.parse().unwrap(),
            enabled: true,
            state,
            until: (state == KeyState::CoolingDown).then(|| at(41)),
            reason: (state == KeyState::Invalid).then(|| "its provider refuses it".to_owned()),
            last_four: None,
            fingerprint: None,
            rate_limit: Some(1000),
            requests_last_hour: 120,
            cost_limit: Some(Usd::from_dollars(50.0).unwrap()),
            cost_today_usd: Usd::from_dollars(cost).unwrap(),
            reserved_usd: Usd::ZERO,
            requests_total: 4711,
            last_used: Some(at(0)),
            account: None,
            weight: 1,
            provider_left: None,
        }
    }

    pub(in crate::ctl::top) fn answers() -> Answers {
        let keys = vec![
            key("openai", "primary", KeyState::Healthy, 12.5),
            key("openai", "backup", KeyState::CoolingDown, 0.25),
            key("anthropic", "main", KeyState::Invalid, 50.0),
        ];
        let provider = |name: &str, cost: f64, healthy| ProviderStatus {
            provider: name.parse().unwrap(),
            strategy: Strategy::RoundRobin,
            keys_total: 2,
            keys_healthy: healthy,
            requests_last_hour: 240,
            rate_limit: Some(2000),
            cost_today_usd: Usd::from_dollars(cost).unwrap(),
            cost_limit: None,
            reachable: true,
            next_free: None,
            waiting: 0,
        };
        let providers = vec![provider("openai", 12.75, 1), provider("anthropic", 50.0, 0)];
        let global = GlobalStatus {
            cost_today_usd: Usd::from_dollars(62.75).unwrap(),
            cost_limit: Some(Usd::from_dollars(100.0).unwrap()),
            ..GlobalStatus::of(&providers)
        };
        let status = Status {
            version: "0.1.0".to_owned(),
            pid: 1,
            uptime_s: 7500,
            started: at(0).before(Duration::from_secs(7500)),
            locked: false,
            master_source: "credential".to_owned(),
            socket: "/run/gollm/gollmd.sock".to_owned(),
            config: None,
            counts: Counts { leases_open: 3, connections: 5, selects: 1, reports: 1 },
            providers,
            global,
            warnings: Vec::new(),
        };
        Answers { asked: at(0), came: at(0), status, keys, alerts: Vec::new() }
    }

    pub(in crate::ctl::top) fn settled(time: Timestamp, outcome: Outcome, cents: i64) -> Arc<Event> {
        Arc::new(Event::Settled(Settled {
            time,
            provider: "openai".parse().unwrap(),
            key_name: "primary".parse().unwrap(),
            caller: Uid(1000),
            unit: None,
            lease: Some(7),
            outcome,
            model: None,
            input_tokens: 10,
            output_tokens: 5,
            cached_tokens: 0,
            cost_usd: Usd::from_nanos(cents * 10_000_000),
            priced: true,
        }))
    }

    #[test]
    fn what_happened_before_the_answers_came_is_in_them() {
        let mut model = Model::new(Answers { asked: at(10), came: at(11), ..answers() });
        model.hear(&settled(at(9), Outcome::Ok, 1));
        assert!(!model.is_due(at(13)));
        model.hear(&settled(at(11), Outcome::Ok, 1));
        assert!(model.is_due(at(13)), "of the moment of asking nobody knows");
        model.hear(&settled(at(12), Outcome::Ok, 25));
        assert_eq!(model.keys[0].cost_today_usd, Usd::from_dollars(12.75).unwrap());
        assert_eq!(model.status.global.cost_today_usd, Usd::from_dollars(63.0).unwrap());
        assert_eq!(model.status.providers[0].cost_today_usd, Usd::from_dollars(13.0).unwrap());
    }

    #[test]
    fn it_is_asked_anew_where_events_do_not_tell_and_once_a_minute() {
        let mut model = Model::new(answers());
        assert!(!model.is_due(at(40)) && model.is_due(at(60)));
        assert!(model.is_due(at(41)), "a set-aside ended");
        model.answer(Answers { asked: at(41), came: at(41), ..answers() });
        model.hear(&Arc::new(Event::Lagged { missed: 3 }));
        assert!(!model.is_due(at(41)) && model.is_due(at(42)));
        model.lose("gone".to_owned());
        assert!(!model.is_due(at(500)));
    }

    #[test]
    fn what_failed_is_kept_within_bounds() {
        let mut model = Model::new(answers());
        for second in 0..1000 {
            model.hear(&settled(at(second), if second % 2 == 0 { Outcome::Timeout } else { Outcome::Ok }, 0));
        }
        assert_eq!((model.troubles.len(), model.history(&"openai/primary".parse().unwrap()).count()), (TROUBLES, OF_KEY));
        assert_eq!(model.last_outcome(&"openai/primary".parse().unwrap()), Some(Outcome::Ok));
    }
}
