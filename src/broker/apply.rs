//! What each event does to the state: the same live and when the journal is replayed, without a clock and without chance.

use crate::broker::{Broker, KeyIx};
use crate::event::{Ahead, Event, Granted, Settled, Usage};
use crate::health::account::OnTrial;
use crate::id::{AccountName, KeyId, Uid};
use crate::lease::Standing;
use crate::limits::{Meter, Moves};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::session::Held;
use crate::time::{Day, Now};
use crate::usage::Entry;

impl Broker {
    /// Applies an event, live or from the journal.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Clock(_) | Event::SecretKept { .. } | Event::SecretErased { .. } => {}
            Event::Ahead(ahead) => self.apply_ahead(ahead),
            Event::Granted(lease) => self.apply_granted(lease),
            Event::Adopted(lease) => self.apply_adopted(lease),
            Event::Renewed { number, expires } => {
                self.leases.renew(*number, *expires);
                self.dirty.leases.push(*number);
            }
            Event::Settled(settled) => self.apply_settled(settled),
            Event::Expired { number, at } => self.apply_expired(*number, *at),
            Event::Recorded(recorded) => {
                let key = self.key_ix(&recorded.key);
                self.charge(key, recorded.caller.uid, recorded.usage.cost, recorded.at.wall.day());
                let entry = Entry {
                    key: &recorded.key,
                    model: recorded.model.as_ref(),
                    caller: recorded.caller,
                    outcome: recorded.outcome,
                    usage: recorded.usage,
                    at: recorded.at.wall,
                };
                self.ledger.book(&entry);
            }
            Event::Health { key, health } => {
                let key = self.key_ix(key);
                self.keys[key].health = health.clone();
                self.dirty.health.insert(key);
            }
            Event::Account { account, health } => {
                let account = self.account_ix(account.clone());
                self.accounts[account].health = health.clone();
                self.dirty.accounts.insert(account);
            }
            Event::AccountLearned { key, account } => self.learn_account(key, Some(account.clone())),
            Event::AccountForgotten { key } => self.learn_account(key, None),
            Event::Audited(_) | Event::Alerted { .. } | Event::Provider { .. } => {}
            Event::Unit { number, name } => {
                self.ledger.put_unit(*number, name.clone());
                self.dirty.units.insert(*number);
            }
            Event::Alert(notice) => {
                self.alerts.apply(notice);
                self.dirty.alerts = true;
            }
            Event::Posted { webhook, notice, given_up } => {
                self.alerts.post.done(webhook, *notice, *given_up);
                self.dirty.alerts = true;
            }
            Event::Session { session, key, at } => {
                let held = Held { key: key.clone(), noted: *at };
                self.dirty.sessions.extend(self.sessions.put(session.clone(), held));
                self.dirty.sessions.insert(session.clone());
            }
        }
    }

    /// The meter of a caller, which changes now.
    fn caller(&mut self, uid: Uid) -> &mut Meter {
        self.dirty.callers.insert(uid);
        self.callers.entry(uid).or_default()
    }

    fn learn_account(&mut self, key: &KeyId, account: Option<AccountName>) {
        let key = self.key_ix(key);
        self.keys[key].learned = account;
        self.link_account(key);
        self.touch(key);
    }

    fn apply_ahead(&mut self, ahead: &Ahead) {
        let (emitted, durable) = (self.emitted, self.durable);
        match ahead {
            Ahead::Numbers { until } => self.leases.move_numbers(*until, emitted, durable),
            Ahead::Meter { key, places, reserved } => {
                let moves = Moves { places: *places, reserved: *reserved };
                match key.as_ref().map(|key| self.key_ix(key)) {
                    Some(key) => {
                        self.keys[key].meter.move_ahead(moves, emitted, durable);
                        self.touch(key);
                    }
                    None => self.global.move_ahead(moves, emitted, durable),
                }
            }
            Ahead::Caller { uid, places, reserved } => {
                let moves = Moves { places: *places, reserved: *reserved };
                self.caller(*uid).move_ahead(moves, emitted, durable);
            }
        }
    }

    fn apply_adopted(&mut self, lease: &Granted) {
        let key = self.key_ix(&lease.key);
        self.keys[key].meter.adopt(lease.estimate);
        self.global.adopt(lease.estimate);
        self.caller(lease.caller.uid).adopt(lease.estimate);
        self.leases.load_open(lease.clone());
        self.touch(key);
        self.dirty.leases.push(lease.number);
    }

    fn apply_granted(&mut self, lease: &Granted) {
        let key = self.key_ix(&lease.key);
        let entry = &mut self.keys[key];
        entry.meter.grant(lease.estimate, lease.at.steady);
        entry.last_used = Some(lease.at.wall);
        let place = entry.place;
        if lease.trial {
            self.begin_trial(key, lease);
        }
        self.global.grant(lease.estimate, lease.at.steady);
        self.caller(lease.caller.uid).grant(lease.estimate, lease.at.steady);
        self.leases.grant(lease.clone());
        if lease.in_turn
            && let Some(provider) = self.providers.get_mut(&lease.key.provider)
        {
            provider.schedule.took(place);
            provider.last = Some(key);
            self.dirty.providers.insert(lease.key.provider.clone());
        }
        self.touch(key);
        self.dirty.leases.push(lease.number);
    }

    fn apply_settled(&mut self, settled: &Settled) {
        let lease = &settled.lease;
        let key = self.key_ix(&lease.key);
        if let Standing::Expired(expired) = self.leases.standing(lease.number) {
            let day = lease.at.wall.day();
            self.keys[key].meter.refund(lease.estimate, day);
            self.global.refund(lease.estimate, day);
            self.caller(lease.caller.uid).refund(lease.estimate, day);
            self.ledger.take_back(&lease.key, lease.model.as_ref(), lease.caller, lease.estimate, expired.charged);
        }
        if self.leases.settle(lease.number, settled.at.steady).is_some() {
            self.keys[key].meter.release(lease.estimate);
            self.global.release(lease.estimate);
            self.caller(lease.caller.uid).release(lease.estimate);
        }
        self.end_trial(key, lease.number);
        self.dirty.leases.push(lease.number);
        self.touch(key);
        if settled.outcome == Outcome::Cancelled {
            self.keys[key].meter.give_back(lease.at.steady);
            self.global.give_back(lease.at.steady);
            self.caller(lease.caller.uid).give_back(lease.at.steady);
            return;
        }
        if settled.outcome == Outcome::Ok {
            self.keys[key].last_ok = Some(settled.at.steady);
        }
        if let Some(provider) = self.providers.get_mut(&lease.key.provider) {
            provider.answered |= settled.outcome.is_answer();
            let before = provider.breaker.standing(settled.at.steady);
            provider.breaker.note(settled.outcome, settled.at.steady);
            if provider.breaker.standing(settled.at.steady) != before {
                self.watch_soon();
            }
        }
        self.charge(key, lease.caller.uid, settled.usage.cost, lease.at.wall.day());
        let entry = Entry {
            key: &lease.key,
            model: settled.model.as_ref(),
            caller: lease.caller,
            outcome: settled.outcome,
            usage: settled.usage,
            at: settled.at.wall,
        };
        self.ledger.book(&entry);
    }

    fn apply_expired(&mut self, number: u64, at: Now) {
        let Some((lease, forgotten)) = self.leases.expire(number, at.wall) else {
            return;
        };
        self.dirty.leases.extend(forgotten);
        let key = self.key_ix(&lease.key);
        self.keys[key].meter.release(lease.estimate);
        self.global.release(lease.estimate);
        self.caller(lease.caller.uid).release(lease.estimate);
        self.end_trial(key, number);
        let usage = Usage { cost: lease.estimate, ..Usage::default() };
        self.charge(key, lease.caller.uid, usage.cost, lease.at.wall.day());
        self.ledger.book(&Entry { key: &lease.key, model: lease.model.as_ref(), caller: lease.caller, outcome: Outcome::Ok, usage, at: at.wall });
        self.dirty.leases.push(number);
    }

    /// Books a cost against the limits of a day. A lease counts for the UTC day on which it was given: its estimate was
    /// checked against that day's limit, so no change of the clock in between can make it pass another day's.
    fn charge(&mut self, key: KeyIx, caller: Uid, cost: Usd, day: Day) {
        self.keys[key].meter.charge(cost, day);
        self.global.charge(cost, day);
        self.caller(caller).charge(cost, day);
        self.touch(key);
    }

    /// The lease is the one lease of each trial that is on: the key's own, its account's.
    pub(super) fn begin_trial(&mut self, key: KeyIx, lease: &Granted) {
        let entry = &mut self.keys[key];
        let account = &mut self.accounts[entry.account];
        if let Ok(trial) = entry.health.check(lease.model.as_ref(), lease.at.steady) {
            let scopes = [trial.whole.then_some(None), trial.model.then(|| lease.model.clone())];
            for scope in scopes.into_iter().flatten() {
                entry.trials.retain(|(other, _)| *other != scope);
                entry.trials.push((scope, lease.number));
            }
        }
        if account.health.check(lease.at.steady) == Ok(OnTrial(true)) {
            account.trial_lease = Some(lease.number);
        }
    }

    fn end_trial(&mut self, key: KeyIx, number: u64) {
        self.keys[key].trials.retain(|(_, other)| *other != number);
        let account = &mut self.accounts[self.keys[key].account];
        account.trial_lease = account.trial_lease.filter(|other| *other != number);
    }
}
