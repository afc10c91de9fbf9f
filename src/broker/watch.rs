//! What an admin is alerted of: looked for where it may have come about, and where it may have passed.

use std::time::Duration;

use crate::alert::post::{PostId, Subscriber};
use crate::alert::{Cause, Money, Notice, Purse, Sign};
use crate::broker::{Broker, KeyIx, ProviderEntry};
use crate::event::Event;
use crate::health::breaker::Standing;
use crate::id::{KeyId, Uid};
use crate::limits::Meter;
use crate::money::Usd;
use crate::protocol::reply::KeyState;
use crate::time::{Now, Steady};

/// Everything is looked through at most this often.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// A key that cools down for no longer than this counts as one that can be leased.
const SOON: Duration = Duration::from_secs(60);

/// What the broker does not see by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outside {
    /// Why the store can't be written, while it can't.
    pub store_failing: Option<String>,
    /// The master secret lies in a file beside the store.
    pub master_in_file: bool,
}

/// When alerts are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// When everything was looked through last.
    last: Now,
    /// Something happened that may be a cause, or the end of one.
    due: bool,
    /// When a cause may have passed by itself.
    look_at: Option<Steady>,
}

impl Default for Watch {
    fn default() -> Self {
        let never = Now { wall: crate::time::Timestamp::from_unix_millis(0), steady: Steady::from_millis(0) };
        // What is configured may be a cause.
        Self { last: never, due: true, look_at: None }
    }
}

/// May this be a cause, or the end of one?
pub(super) const fn is_telling(event: &Event) -> bool {
    matches!(event, Event::Health { .. } | Event::Account { .. } | Event::Expired { .. } | Event::SecretKept { .. } | Event::SecretErased { .. })
}

impl Broker {
    /// Something happened that may be a cause of an alert, or the end of one: it is looked for soon.
    pub(super) const fn watch_soon(&mut self) {
        self.watch.due = true;
    }

    /// When alerts are to be looked for.
    pub(super) fn next_watch(&self) -> Option<Steady> {
        let due = self.watch.due.then(|| self.watch.last.steady.after(WATCH_PAUSE));
        due.into_iter().chain(self.watch.look_at).min()
    }

    /// Takes note of what it does not see by itself.
    pub fn note_outside(&mut self, outside: Outside, now: Now) {
        if outside != self.outside {
            self.outside = outside;
            self.look_through(now);
        }
    }

    /// Looks for everything that is a cause, and for what has passed.
    pub(super) fn look_through(&mut self, now: Now) {
        self.watch = Watch { last: now, due: false, look_at: None };
        self.tell_of_providers(now);
        let signs = self.signs(now);
        let passed: Vec<Notice> = self
            .alerts
            .raised()
            .filter(|notice| !signs.iter().any(|sign| sign.cause == notice.cause) && !self.is_callers_still(notice, now))
            .filter_map(|notice| self.alerts.recover(&notice.cause, self.money_now(notice, now), now))
            .collect();
        for notice in passed {
            self.tell_alert(notice);
        }
        let causes: Vec<Cause> = signs.iter().map(|sign| sign.cause.clone()).collect();
        for sign in signs {
            self.raise(sign, now);
        }
        let held = causes.iter().filter_map(|cause| self.alerts.held_until(cause));
        self.watch.look_at = self.alerts.next_look(self.watch.last).into_iter().chain(held).min();
    }

    fn raise(&mut self, sign: Sign, now: Now) {
        if let Some(notice) = self.alerts.raise(sign, now) {
            self.tell_alert(notice);
            self.watch.look_at = self.alerts.next_look(self.watch.last).into_iter().chain(self.watch.look_at).min();
        }
    }

    fn tell_alert(&mut self, notice: Notice) {
        // Two notices that are made at one look are two.
        let id = self.alerts.next_id();
        self.emit(Event::Alert(Box::new(Notice { id, ..notice })));
    }

    /// After a cost was booked: looks at the limits that it counts against. `limit` is the caller's.
    pub(super) fn watch_costs(&mut self, key: KeyIx, caller: Uid, limit: Option<Usd>, now: Now) {
        let entry = &self.keys[key];
        let mut signs = self.cost_signs(|| Purse::Key(entry.id.clone()), &entry.meter, entry.limits().cost, now);
        signs.extend(self.cost_signs(|| Purse::All, &self.global, self.global_limits().cost, now));
        if let Some(meter) = self.callers.get(&caller) {
            signs.extend(self.cost_signs(|| Purse::Caller(caller), meter, limit, now));
        }
        for sign in signs {
            self.raise(sign, now);
        }
    }

    fn cost_signs(&self, purse: impl Fn() -> Purse, meter: &Meter, limit: Option<Usd>, now: Now) -> Vec<Sign> {
        let Some(limit) = limit.filter(|limit| *limit > Usd::ZERO) else { return Vec::new() };
        let cost = meter.cost_today(now);
        let share = self.policy.cost_alert_threshold;
        let money = Some(Money { cost, limit });
        let mut signs = Vec::new();
        if share < 1.0 && cost >= limit.share(share) {
            let purse = purse();
            signs.push(Sign { message: format!("{purse}: {cost} of {limit} is spent today"), cause: Cause::CostThreshold(purse), money });
        }
        if cost >= limit {
            let purse = purse();
            let message = format!("{purse}: {cost} is spent today, the limit of {limit} is reached; nothing is leased on it before 00:00 UTC");
            signs.push(Sign { message, cause: Cause::CostLimit(purse), money });
        }
        signs
    }

    /// Everything that is a cause now, but callers' limits, which are known when they report.
    fn signs(&self, now: Now) -> Vec<Sign> {
        let mut signs = self.cost_signs(|| Purse::All, &self.global, self.global_limits().cost, now);
        for provider in self.policy.providers.iter().filter_map(|provider| self.providers.get(&provider.name)) {
            self.signs_of_provider(provider, now, &mut signs);
        }
        for account in self.accounts.all() {
            let entry = &self.accounts[account];
            if let Some((KeyState::Exhausted, _, why)) = entry.health.state(now.steady)
                && self.keys.all().any(|key| self.keys[key].account == account && self.keys[key].policy.is_some())
            {
                signs.push(Sign { message: format!("the {}: {why}", entry.key), cause: Cause::AccountExhausted(entry.key.clone()), money: None });
            }
        }
        let cause = Cause::NetworkDown;
        match self.network_down(now.steady) {
            Some(missed) => {
                let message = format!("no provider is reached since {}: the network of this machine seems to be down ({})", missed.since, missed.why);
                signs.push(Sign { cause, message, money: None });
            }
            // After a restart nothing is known at first.
            None if self.alerts.is_raised(&cause) && !self.providers.values().any(|provider| provider.answered) => {
                signs.push(Sign { cause, message: String::new(), money: None });
            }
            None => {}
        }
        if let Some(why) = &self.outside.store_failing {
            signs.push(Sign { cause: Cause::StoreFailing, message: format!("the store can't be written, reports are refused: {why}"), money: None });
        }
        if self.outside.master_in_file {
            let message =
                "the master secret lies in `master.key` beside the store: whoever can copy the state directory can read every key".to_owned();
            signs.push(Sign { cause: Cause::MasterInFile, message, money: None });
        }
        signs
    }

    fn signs_of_provider(&self, provider: &ProviderEntry, now: Now, signs: &mut Vec<Sign>) {
        let name = &provider.policy.name;
        let (mut enabled, mut usable) = (0_usize, false);
        for key in &provider.keys {
            let entry = &self.keys[*key];
            signs.extend(self.cost_signs(|| Purse::Key(entry.id.clone()), &entry.meter, entry.limits().cost, now));
            let (state, until, reason) = self.state_of(*key, now);
            enabled += usize::from(state != KeyState::Disabled);
            usable |= match state {
                KeyState::Unknown | KeyState::Healthy => true,
                KeyState::CoolingDown => until.is_some_and(|until| until.since(now.steady) <= SOON),
                _ => false,
            };
            if state == KeyState::Invalid {
                signs.push(invalid(&entry.id, reason));
            }
        }
        if enabled > 0 && !usable {
            let message = format!("{name} has no key left that can be leased: `gollmctl explain {name}` says why");
            signs.push(Sign { cause: Cause::NoHealthyKey(name.clone()), message, money: None });
        }
        let cause = Cause::ProviderUnreachable(name.clone());
        let is_raised = self.alerts.is_raised(&cause);
        match self.unreached(provider, now) {
            // With the network down, one alert stands for all.
            Some(why) if is_raised || self.network_down(now.steady).is_none() => {
                signs.push(Sign { message: format!("{name} is not reached: {why}"), cause, money: None });
            }
            // After a restart nothing is known at first.
            None if is_raised && !provider.answered => signs.push(Sign { message: String::new(), cause, money: None }),
            _ => {}
        }
    }

    /// Why a provider is not reached; none: it is, or nothing is known.
    fn unreached(&self, provider: &ProviderEntry, now: Now) -> Option<String> {
        if provider.breaker.standing(now.steady) != Standing::Closed {
            return Some("its last requests failed".to_owned());
        }
        self.missed(&provider.policy.name, now.steady).map(|missed| missed.why.clone())
    }

    /// Tells of providers that are reached no more, or again.
    fn tell_of_providers(&mut self, now: Now) {
        let names: Vec<_> = self.policy.providers.iter().map(|provider| provider.name.clone()).collect();
        for name in names {
            let Some(entry) = self.providers.get(&name) else { continue };
            let reason = self.unreached(entry, now);
            if entry.told_reachable == reason.is_none() {
                continue;
            }
            let reachable = reason.is_none();
            if let Some(entry) = self.providers.get_mut(&name) {
                entry.told_reachable = reachable;
            }
            self.emit(Event::Provider { provider: name, reachable, reason, at: now });
        }
    }

    /// Is it about a caller's limit, and still so?
    fn is_callers_still(&self, notice: &Notice, now: Now) -> bool {
        let (Cause::CostThreshold(Purse::Caller(uid)) | Cause::CostLimit(Purse::Caller(uid))) = &notice.cause else { return false };
        let share = if matches!(notice.cause, Cause::CostLimit(_)) { 1.0 } else { self.policy.cost_alert_threshold };
        let spent = self.callers.get(uid).map_or(Usd::ZERO, |meter| meter.cost_today(now));
        notice.money.is_some_and(|money| spent >= money.limit.share(share))
    }

    /// The money of a notice, as it stands now.
    fn money_now(&self, notice: &Notice, now: Now) -> Option<Money> {
        let (Cause::CostThreshold(purse) | Cause::CostLimit(purse)) = &notice.cause else { return None };
        let meter = match purse {
            Purse::All => Some(&self.global),
            Purse::Key(key) => self.keys.find(key).map(|key| &self.keys[key].meter),
            Purse::Caller(uid) => self.callers.get(uid),
        };
        notice.money.map(|money| Money { cost: meter.map_or(Usd::ZERO, |meter| meter.cost_today(now)), ..money })
    }

    /// The alerts whose cause is there, by when they were raised.
    #[must_use]
    pub fn alerts(&self) -> Vec<&Notice> {
        let mut raised: Vec<&Notice> = self.alerts.raised().collect();
        raised.sort_by_key(|notice| notice.id);
        raised
    }

    /// Makes an alert that nothing brought about.
    pub fn alert_test(&mut self, now: Now) -> Notice {
        let notice = self.alerts.test(now);
        self.emit(Event::Alert(Box::new(notice.clone())));
        notice
    }

    /// These are the webhooks now.
    pub fn set_webhooks(&mut self, subscribers: Vec<Subscriber>) {
        self.alerts.post.subscribe(subscribers);
        self.dirty.alerts = true;
    }

    /// The notice that a webhook is to take next, and how many wait with it.
    #[must_use]
    pub fn next_post(&self, webhook: &PostId) -> Option<(std::sync::Arc<Notice>, usize)> {
        self.alerts.post.next(webhook)
    }

    /// Notices that wait for webhooks.
    #[must_use]
    pub fn posts_waiting(&self) -> usize {
        self.alerts.post.waiting()
    }

    /// Notices that a webhook was given up on for.
    #[must_use]
    pub fn posts_given_up(&self, webhook: &PostId) -> u64 {
        self.alerts.post.given_up(webhook)
    }

    /// A webhook has taken a notice, or is given up on for it.
    pub fn posted(&mut self, webhook: &PostId, notice: u64, given_up: bool) {
        self.emit(Event::Posted { webhook: webhook.clone(), notice, given_up });
    }
}

fn invalid(key: &KeyId, reason: Option<String>) -> Sign {
    let message = format!("{key} is invalid: {}", reason.unwrap_or_default());
    Sign { cause: Cause::KeyInvalid(key.clone()), message, money: None }
}
