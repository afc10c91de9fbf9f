//! A broker with a store that a crash cuts back to what was durable, and a clock that is moved.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::access::{Caller, Grants};
use crate::alert::Notice;
use crate::broker::{Broker, Grant, Moment, Record, Selected, Served, Shelf, Told};
use crate::catalogue::find;
use crate::event::{self, Event};
use crate::health::checked::{Checked, Contact};
use crate::id::{KeyId, ProviderName, Uid};
use crate::limits::Limits;
use crate::money::Usd;
use crate::policy::{ChoicePer, KeyPolicy, Policy, ProviderPolicy};
use crate::protocol::alert::{AlertKind, AlertState};
use crate::protocol::error::ErrorReply;
use crate::protocol::explanation::Explanation;
use crate::protocol::outcome::Outcome;
use crate::protocol::provider::ProviderResponse;
use crate::protocol::reply::{KeyRow, KeyVerdict, Reported, Role};
use crate::protocol::request::{self, Report, Select};
use crate::protocol::strategy::Strategy;
use crate::time::{Now, Steady, Timestamp};

pub(super) fn admin() -> Caller {
    Caller { role: Role::Admin, ..client(0) }
}

pub(super) fn client(uid: u32) -> Caller {
    limited(uid, Limits::default(), None)
}

/// A caller with limits of its own, and keys of these providers alone.
pub(super) fn limited(uid: u32, limits: Limits, providers: Option<Vec<ProviderName>>) -> Caller {
    Caller { uid: Uid(uid), unit: None, role: Role::Client, grants: Arc::new(Grants { rule: "test".to_owned(), providers, limits, reveal: true }) }
}

pub(super) fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

pub(super) fn key(name: &str) -> KeyPolicy {
    KeyPolicy::unlimited(name.parse().unwrap())
}

pub(super) fn openai(keys: &[KeyPolicy]) -> ProviderPolicy {
    ProviderPolicy {
        name: "openai".parse().unwrap(),
        kind: "openai",
        base_url: "https://api.openai.com/v1".to_owned(),
        keys: keys.to_vec(),
        models: Vec::new(),
        strict_models: false,
        strategy: Strategy::RoundRobin,
        interval: Duration::from_secs(3600),
        per: ChoicePer::Request,
        health_check: true,
        fallback_enabled: true,
    }
}

pub(super) fn policy(providers: Vec<ProviderPolicy>) -> Policy {
    Policy {
        providers,
        fallback_chain: Vec::new(),
        equivalent_models: Vec::new(),
        prices: crate::catalogue::prices::PriceList::default(),
        global_rate_limit: None,
        daily_cost_limit: None,
        cost_alert_threshold: 0.8,
        lease_ttl: Duration::from_secs(600),
        health_check_interval: Duration::from_secs(300),
    }
}

pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) now: Now,
    policy: Policy,
    rng: Rng,
    records: HashMap<(Shelf, Vec<u8>), Vec<u8>>,
    journal: Vec<Vec<u8>>,
    durable: u64,
    alerts: Vec<Notice>,
    pub(super) stalled: bool,
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        let start: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        let mut world = Self {
            broker: Broker::new(policy.clone()),
            now: Now { wall: start, steady: Steady::from_millis(1_767_261_600_000) },
            policy,
            rng: Rng::with_seed(11),
            records: HashMap::new(),
            journal: Vec::new(),
            durable: 0,
            alerts: Vec::new(),
            stalled: false,
        };
        world.unseal();
        world
    }

    fn unseal(&mut self) {
        for id in self.policy.keys().collect::<Vec<_>>() {
            self.broker.set_sealed(&id, false);
        }
    }

    pub(super) fn decide<T>(&mut self, decision: impl FnOnce(&mut Broker, &mut Moment<'_>) -> T) -> T {
        let mut moment = Moment { now: self.now, durable: self.durable, stalled: self.stalled, rng: &mut self.rng };
        decision(&mut self.broker, &mut moment)
    }

    /// Makes every event so far durable.
    pub(super) fn flush(&mut self) {
        self.durable = self.broker.emitted();
        let events = self.broker.take_events();
        self.alerts.extend(events.iter().filter_map(|event| if let Event::Alert(notice) = event { Some(Notice::clone(notice)) } else { None }));
        if !events.is_empty() {
            self.journal.push(event::encode(&events).unwrap());
        }
    }

    /// Callers that the store has a meter of.
    pub(super) fn callers_kept(&self) -> usize {
        self.records.keys().filter(|(shelf, key)| *shelf == Shelf::Counters && key.starts_with(b"u")).count()
    }

    /// Does the store hold any session?
    pub(super) fn keeps_sessions(&self) -> bool {
        self.records.keys().any(|(shelf, key)| *shelf == Shelf::States && key.starts_with(b"c:"))
    }

    /// The alerts that were told since this was last asked, by kind and state.
    pub(super) fn alerts(&mut self) -> Vec<(AlertKind, AlertState)> {
        self.flush();
        self.alerts.drain(..).map(|notice| (notice.cause.kind(), notice.state)).collect()
    }

    /// Brings the records up to date; the journal begins anew.
    pub(super) fn checkpoint(&mut self) {
        self.flush();
        for change in self.broker.export() {
            match change.value {
                Some(value) => self.records.insert((change.shelf, change.key), value),
                None => self.records.remove(&(change.shelf, change.key)),
            };
        }
        self.journal.clear();
    }

    /// A clean stop and a start.
    pub(super) fn restart(&mut self) {
        self.broker.rest();
        self.checkpoint();
        self.crash();
    }

    /// What is not durable is lost; the broker is rebuilt.
    pub(super) fn crash(&mut self) {
        let events: Vec<Event> = self.journal.iter().flat_map(|batch| event::decode(batch).unwrap()).collect();
        let records = self.records.iter().map(|((shelf, key), value)| Record { shelf: *shelf, key, value });
        self.broker = Broker::restore(self.policy.clone(), records, &events, self.now).unwrap();
        self.durable = 0;
        self.unseal();
        self.checkpoint();
    }

    pub(super) fn reconfigure(&mut self, policy: Policy) {
        self.policy = policy.clone();
        self.broker.reconfigure(policy);
        self.unseal();
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.decide(|broker, moment| broker.tick(moment));
        self.flush();
    }

    /// The wall clock is set; the steady clock does not hear of it.
    pub(super) fn set_wall(&mut self, wall: Timestamp) {
        self.now.wall = wall;
    }

    pub(super) fn select(&mut self, request: &Select) -> Result<Grant, ErrorReply> {
        self.select_as(client(1000), request)
    }

    pub(super) fn select_as(&mut self, caller: Caller, request: &Select) -> Result<Grant, ErrorReply> {
        let grant = self.decide(|broker, moment| broker.select(&caller, request, moment))?;
        if grant.must_wait {
            self.flush();
        }
        Ok(grant)
    }

    pub(super) fn explain(&mut self, request: &Select) -> Result<Explanation, ErrorReply> {
        self.decide(|broker, moment| broker.explain(&client(1000), request, moment))
    }

    pub(super) fn select_or_wait(&mut self, request: &Select) -> Result<Selected, ErrorReply> {
        let selected = self.decide(|broker, moment| broker.select_or_wait(&client(1000), request, moment));
        self.flush();
        selected
    }

    /// What the daemon does after each decision: those who wait are served.
    pub(super) fn served(&mut self) -> Vec<Served> {
        self.decide(Broker::serve);
        self.flush();
        self.broker.take_served()
    }

    pub(super) fn report_as(&mut self, caller: Caller, grant: &Grant, outcome: Outcome) -> Result<Reported, ErrorReply> {
        let told = Told::of(&Report::of("gl_x".parse().unwrap(), outcome), find("openai").unwrap()).unwrap();
        let reported = self.decide(|broker, moment| broker.report(&caller, &grant.lease, &told, moment));
        self.flush();
        reported
    }

    pub(super) fn report(&mut self, grant: &Grant, outcome: Outcome) -> Reported {
        self.report_as(client(1000), grant, outcome).unwrap()
    }

    /// Reports what a provider of this kind answered.
    pub(super) fn answered(&mut self, grant: &Grant, kind: &str, status: u16, body: &str) -> Reported {
        self.responded(grant, kind, ProviderResponse { status, headers: Default::default(), body: Some(body.to_owned()) })
    }

    pub(super) fn responded(&mut self, grant: &Grant, kind: &str, response: ProviderResponse) -> Reported {
        let told = Told::of(&Report::answered("gl_x".parse().unwrap(), response), find(kind).unwrap()).unwrap();
        let reported = self.decide(|broker, moment| broker.report(&client(1000), &grant.lease, &told, moment)).unwrap();
        self.flush();
        reported
    }

    pub(super) fn report_cost(&mut self, grant: &Grant, cost: Usd) -> Reported {
        let report = Report { cost_usd: Some(cost), ..Report::of("gl_x".parse().unwrap(), Outcome::Ok) };
        let told = Told::of(&report, find("openai").unwrap()).unwrap();
        let reported = self.decide(|broker, moment| broker.report(&client(1000), &grant.lease, &told, moment)).unwrap();
        self.flush();
        reported
    }

    /// A key is set aside for `wait`, as a rate limit sets it aside.
    pub(super) fn set_aside(&mut self, name: &str, wait: Duration) {
        let key = self.broker.key_ix(&Self::id(name));
        let mut health = self.broker.keys[key].health.clone();
        health.rate_limited(None, Some(wait), self.now.steady, self.now, 0.0);
        self.broker.put_health(key, health);
        self.flush();
    }

    pub(super) fn record(&mut self, record: &request::Record) -> Result<Reported, ErrorReply> {
        let reported = self.decide(|broker, moment| broker.record(&client(1000), record, moment));
        self.flush();
        reported
    }

    fn id(name: &str) -> KeyId {
        format!("openai/{name}").parse().unwrap()
    }

    pub(super) fn disable(&mut self, name: &str, span: Option<Duration>) {
        self.disable_id(&Self::id(name), span);
    }

    pub(super) fn disable_id(&mut self, id: &KeyId, span: Option<Duration>) {
        self.decide(|broker, moment| broker.key_disable(id, span, moment)).unwrap();
        self.flush();
    }

    pub(super) fn enable(&mut self, name: &str) {
        self.enable_id(&Self::id(name));
    }

    pub(super) fn enable_id(&mut self, id: &KeyId) {
        self.decide(|broker, moment| broker.key_enable(id, moment)).unwrap();
        self.flush();
    }

    pub(super) fn replace_secret(&mut self, id: &KeyId) {
        self.broker.secret_replaced(id, self.now);
        self.flush();
    }

    pub(super) fn probe(&mut self, name: &str, verdict: KeyVerdict) {
        self.probe_id(&Self::id(name), verdict);
    }

    pub(super) fn probe_id(&mut self, id: &KeyId, verdict: KeyVerdict) {
        self.probe_found(id, &Checked { verdict, ..Checked::unproven(None, Contact::Untried, "") });
    }

    pub(super) fn probe_found(&mut self, id: &KeyId, checked: &Checked) {
        self.decide(|broker, moment| broker.probed(id, checked, moment));
        self.flush();
    }

    /// A probe names the account of a key.
    pub(super) fn learn_account(&mut self, name: &str, account: &str) {
        let account = Some(account.parse().unwrap());
        self.probe_found(&Self::id(name), &Checked { verdict: KeyVerdict::Valid, account, ..Checked::unproven(None, Contact::Reached, "") });
    }

    pub(super) fn row(&self, name: &str) -> KeyRow {
        let rows = self.broker.key_rows(None, self.now).unwrap();
        rows.into_iter().find(|row| row.key_name.as_str() == name).unwrap()
    }
}
