//! `report`, `renew` and `record`: a lease is settled once, and what came of it moves the states.

use std::time::Duration;

use crate::access::Caller;
use crate::broker::select::Grant;
use crate::broker::told::Told;
use crate::broker::{AccountIx, Broker, KeyIx, Moment};
use crate::catalogue::answer::Left;
use crate::catalogue::classify::Scope;
use crate::catalogue::{self, Provider, usage};
use crate::event::{Event, Granted, Recorded, Settled, Usage};
use crate::health::Probing;
use crate::health::account::{ACCOUNT_SPAN, AccountKey};
use crate::health::checked::Contact;
use crate::id::{AccountName, KeyId, ModelName, ProviderName};
use crate::lease::Standing;
use crate::money::Usd;
use crate::protocol::error::{ErrorCode, ErrorReply, Reason};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{KeyState, Reported, Role};
use crate::protocol::request::Record;
use crate::time::{Now, Steady};

/// What a report says of a key's health.
struct Sign<'a> {
    outcome: Outcome,
    /// The model that the lease was for.
    model: Option<&'a ModelName>,
    /// When the lease was given.
    given: Steady,
    retry_after: Option<Duration>,
    scope: Scope,
}

fn unknown_lease() -> ErrorReply {
    ErrorReply::new(ErrorCode::UnknownLease, "this lease is not known: it ended more than a day ago, or another daemon gave it")
}

fn not_yours() -> ErrorReply {
    ErrorReply::new(ErrorCode::Denied, "this lease was given to another user")
}

/// Is one of the names the other, or the beginning of its parts?
fn same_account(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Broker {
    /// Settles the lease. The answer may be given once every event so far is durable, a duplicate's too.
    ///
    /// # Errors
    /// The lease is not known, or is not the caller's.
    pub fn report(&mut self, caller: &Caller, lease: &Granted, told: &Told, moment: &mut Moment<'_>) -> Result<Reported, ErrorReply> {
        self.durable = moment.durable;
        if !Self::may_settle(caller, lease) {
            return Err(not_yours());
        }
        // A version that the answer names is no other model than the one that was selected for.
        let named = told.model.clone().filter(|_| !told.versioned || lease.model.is_none());
        let model = named.or_else(|| lease.model.clone());
        let usage = self.usage(&lease.key, told, model.as_ref());
        let key = self.key_ix(&lease.key);
        match self.leases.standing(lease.number) {
            Standing::Settled => return Ok(self.reported(key, &usage, lease.model.as_ref(), true, moment.now)),
            Standing::Unknown => return Err(unknown_lease()),
            Standing::Lost => self.emit(Event::Adopted(lease.clone())),
            Standing::Open(open) if open.key != lease.key || open.at != lease.at => return Err(unknown_lease()),
            Standing::Open(_) | Standing::Expired(_) => {}
        }
        let settled = Settled { lease: lease.clone(), outcome: told.outcome, model, usage, at: moment.now };
        self.emit(Event::Settled(settled));
        self.reports += 1;
        // What was asked before the provider was missed says nothing of it now.
        if told.outcome.is_answer()
            && let Some(provider) = self.providers.get_mut(&lease.key.provider)
            && provider.reach.missed().is_none_or(|missed| missed.last < lease.at.steady)
        {
            provider.reach.note(&Contact::Reached, self.policy.health_check_interval, moment.now);
            self.watch_soon();
        }
        if self.keys[key].health.concerns(lease.at.steady) {
            // What a caller tells binds a key once: only the provider itself, asked by a probe, moves it to another account.
            if self.keys[key].learned.is_none() {
                self.hear_of_account(key, told.account.as_ref());
            }
            if let Some(Left { requests, tokens, nothing_for }) = told.left {
                self.keys[key].provider_limits.said(lease.model.as_ref(), requests, tokens, nothing_for, moment.now);
            }
        }
        // Of a model's quota the caller may tell after the select which model it asked.
        let meant = told.model.as_ref().filter(|_| !told.versioned && told.scope == Scope::Model);
        let sign = Sign {
            outcome: told.outcome,
            model: lease.model.as_ref().or(meant),
            given: lease.at.steady,
            retry_after: told.retry_after,
            scope: told.scope,
        };
        self.take_sign(key, &sign, moment);
        // An admin may report for another.
        let limit = caller.grants.limits.cost.filter(|_| caller.uid == lease.caller.uid);
        self.watch_costs(key, lease.caller.uid, limit, moment.now);
        Ok(self.reported(key, &usage, lease.model.as_ref(), false, moment.now))
    }

    /// Takes back an open lease that was never handed out.
    pub fn give_back(&mut self, lease: &Granted, moment: &Moment<'_>) {
        if matches!(self.leases.standing(lease.number), Standing::Open(_)) {
            let (outcome, model, usage) = (Outcome::Cancelled, lease.model.clone(), Usage::default());
            self.emit(Event::Settled(Settled { lease: lease.clone(), outcome, model, usage, at: moment.now }));
        }
    }

    /// Gives an open lease another `lease_ttl` from now.
    ///
    /// # Errors
    /// The lease is not open, or is not the caller's.
    pub fn renew(&mut self, caller: &Caller, lease: &Granted, moment: &Moment<'_>) -> Result<Grant, ErrorReply> {
        self.durable = moment.durable;
        if !Self::may_settle(caller, lease) {
            return Err(not_yours());
        }
        if !caller.may_use(&lease.key.provider) {
            return Err(ErrorReply::new(ErrorCode::Denied, format!("uid {} may not use the provider `{}` any more", caller.uid, lease.key.provider)));
        }
        match self.leases.standing(lease.number) {
            Standing::Open(open) if open.key != lease.key || open.at != lease.at => return Err(unknown_lease()),
            Standing::Open(_) => {}
            Standing::Lost => self.emit(Event::Adopted(lease.clone())),
            Standing::Settled => return Err(ErrorReply::new(ErrorCode::UnknownLease, "this lease was reported; select another")),
            Standing::Expired(_) => return Err(ErrorReply::new(ErrorCode::UnknownLease, "this lease ran out; report it, and select another")),
            Standing::Unknown => return Err(unknown_lease()),
        }
        let expires = moment.now.steady.after(self.policy.lease_ttl);
        self.emit(Event::Renewed { number: lease.number, expires });
        let provider = self.providers.get(&lease.key.provider);
        let entry = self.keys.find(&lease.key).map(|key| &self.keys[key]);
        Ok(Grant {
            lease: Granted { expires, ..lease.clone() },
            base_url: provider.map(|provider| provider.policy.base_url.clone()).unwrap_or_default(),
            last_used: entry.and_then(|entry| entry.last_used),
            expires: moment.now.wall_at(expires),
            must_wait: true,
        })
    }

    /// Books usage that had no lease.
    ///
    /// # Errors
    /// The provider or the key is not known.
    pub fn record(&mut self, caller: &Caller, record: &Record, moment: &mut Moment<'_>) -> Result<Reported, ErrorReply> {
        let reported = self.book(caller, record, moment)?;
        // A lease gives the right to speak of a key; besides, only admins' words move its state.
        if caller.role != Role::Admin {
            return Ok(reported);
        }
        let key = self.known_key(&KeyId { provider: record.provider.clone(), key: record.key_name.clone() })?;
        let outcome = record.outcome.unwrap_or(Outcome::Ok);
        let sign = Sign { outcome, model: record.model.as_ref(), given: moment.now.steady, retry_after: None, scope: Scope::Usual };
        self.take_sign(key, &sign, moment);
        Ok(Reported { state: self.state_for(key, record.model.as_ref(), moment.now), ..reported })
    }

    /// Books usage that had no lease, without what it says of the key.
    ///
    /// # Errors
    /// The provider or the key is not known.
    pub fn book(&mut self, caller: &Caller, record: &Record, moment: &mut Moment<'_>) -> Result<Reported, ErrorReply> {
        self.durable = moment.durable;
        if !caller.may_use(&record.provider) {
            return Err(ErrorReply::new(ErrorCode::Denied, format!("uid {} may not use the provider `{}`", caller.uid, record.provider)));
        }
        let id = KeyId { provider: record.provider.clone(), key: record.key_name.clone() };
        let key = self.known_key(&id)?;
        let told = Told::recorded(record)?;
        let usage = self.usage(&id, &told, told.model.as_ref());
        let outcome = told.outcome;
        let origin = self.origin(caller);
        self.emit(Event::Recorded(Recorded { key: id, caller: origin, outcome, model: record.model.clone(), usage, at: moment.now }));
        self.reports += 1;
        self.watch_costs(key, caller.uid, caller.grants.limits.cost, moment.now);
        Ok(self.reported(key, &usage, record.model.as_ref(), false, moment.now))
    }

    /// The key of that name, in the configuration.
    pub(super) fn known_key(&self, id: &KeyId) -> Result<KeyIx, ErrorReply> {
        if !self.providers.contains_key(&id.provider) {
            return Err(ErrorReply::new(ErrorCode::UnknownProvider, format!("no provider `{}` is configured", id.provider)));
        }
        let known = self.keys.find(id).filter(|key| self.keys[*key].policy.is_some());
        known.ok_or_else(|| ErrorReply::new(ErrorCode::UnknownKey, format!("no key `{id}` is configured")))
    }

    fn usage(&self, key: &KeyId, told: &Told, model: Option<&ModelName>) -> Usage {
        if told.outcome == Outcome::Cancelled {
            return Usage::default();
        }
        let (input, output) = (told.input_tokens.unwrap_or(0), told.output_tokens.unwrap_or(0));
        let cached = told.cached_tokens.unwrap_or(0).min(input);
        let provider = self.providers.get(&key.provider);
        let price = provider.zip(model).and_then(|(provider, model)| self.policy.price(&provider.policy, model));
        let counted = usage::Usage { input, cached, written: told.written_tokens.unwrap_or(0), output, cost: None, summed: told.summed };
        let cost = told.cost.or_else(|| price.map(|price| price.cost(&counted)));
        let used = told.outcome == Outcome::Ok || input > 0 || output > 0;
        // An answer that was to be read for its tokens and tells none may have cost anything.
        let cost = cost.filter(|_| !told.uncounted);
        Usage { input_tokens: input, output_tokens: output, cached_tokens: cached, cost: cost.unwrap_or(Usd::ZERO), unpriced: cost.is_none() && used }
    }

    /// The state of a key as it is for a model.
    fn state_for(&self, key: KeyIx, model: Option<&ModelName>, now: Now) -> KeyState {
        let (state, ..) = self.state_of(key, now);
        let aside = matches!(self.keys[key].health.check(model, now.steady), Err((Reason::CoolingDown, _)));
        if state.is_healthy() && aside { KeyState::CoolingDown } else { state }
    }

    fn reported(&self, key: KeyIx, usage: &Usage, model: Option<&ModelName>, duplicate: bool, now: Now) -> Reported {
        let id = self.keys[key].id.clone();
        let state = self.state_for(key, model, now);
        Reported { provider: id.provider, key_name: id.key, cost_usd: usage.cost, priced: !usage.unpriced, duplicate, state }
    }

    /// The provider names the account of a key.
    pub(super) fn hear_of_account(&mut self, key: KeyIx, account: Option<&AccountName>) {
        // Headers may be left out: the same account by fewer or more of them is not another.
        let news = account.filter(|account| self.keys[key].learned.as_ref().is_none_or(|learned| !same_account(learned.as_str(), account.as_str())));
        if let Some(account) = news {
            self.emit(Event::AccountLearned { key: self.keys[key].id.clone(), account: account.clone() });
        }
    }

    /// Whose API the provider speaks.
    #[must_use]
    pub fn api_of(&self, provider: &ProviderName) -> Option<&'static Provider> {
        catalogue::find(self.providers.get(provider)?.policy.kind)
    }

    /// Moves the states of the key and its account by what came of a request.
    fn take_sign(&mut self, key: KeyIx, sign: &Sign<'_>, moment: &mut Moment<'_>) {
        let now = moment.now;
        let id = self.keys[key].id.clone();
        let Some(provider) = self.providers.get(&id.provider) else { return };
        if !self.keys[key].health.concerns(sign.given) {
            return;
        }
        let interval = provider.policy.interval;
        let probing = if provider.policy.health_check { Probing::Every(self.policy.health_check_interval) } else { Probing::Off };
        let mut health = self.keys[key].health.clone();
        let account_ix = self.keys[key].account;
        let mut account = self.accounts[account_ix].health.clone();
        match sign.outcome {
            Outcome::Ok => {
                health.passed(sign.model, sign.given, now);
                account.passed(sign.given);
            }
            Outcome::RateLimited => {
                let model = sign.model.filter(|_| sign.scope != Scope::Account);
                let until = health.rate_limited(model, sign.retry_after, sign.given, now, moment.rng.f64());
                let before = self.accounts[account_ix].recent.replace((key, now.steady, until));
                let other = before.filter(|(other, at, _)| *other != key && now.steady.since(*at) <= ACCOUNT_SPAN);
                match other {
                    Some((_, _, longest)) => account.rate_limited(until.max(longest), sign.given),
                    None if sign.scope == Scope::Account => account.rate_limited(until, sign.given),
                    None => {}
                }
            }
            Outcome::QuotaExhausted => match (sign.scope, sign.model) {
                (Scope::Model, Some(model)) => return self.model_spent(account_ix, model, sign.given, interval, now),
                (Scope::Key, _) if self.is_shared(account_ix) => health.spent(sign.given, interval, now),
                _ => account.quota_exhausted(interval, now),
            },
            Outcome::AuthFailed => health.auth_failed(probing, sign.given, now),
            Outcome::PermissionDenied => {
                if let Some(model) = sign.model {
                    health.permission_denied(model, interval, now);
                }
            }
            Outcome::Overloaded | Outcome::ServerError | Outcome::Timeout | Outcome::BadRequest | Outcome::Cancelled => {}
        }
        self.put_health(key, health);
        if account != self.accounts[account_ix].health {
            self.emit(Event::Account { account: self.accounts[account_ix].key.clone(), health: account });
        }
    }

    /// May other keys be of this account too?
    pub(super) fn is_shared(&self, account: AccountIx) -> bool {
        matches!(self.accounts[account].key, AccountKey::Named(..))
    }

    /// The account's quota of one model is spent: its keys are set aside for that model.
    fn model_spent(&mut self, account: AccountIx, model: &ModelName, given: Steady, interval: Duration, now: Now) {
        let members: Vec<KeyIx> = self.keys.all().filter(|key| self.keys[*key].account == account && self.keys[*key].policy.is_some()).collect();
        for key in members {
            let mut health = self.keys[key].health.clone();
            health.model_spent(model, given, interval, now);
            self.put_health(key, health);
        }
    }

    /// Emits the health of a key where it changed.
    pub(super) fn put_health(&mut self, key: KeyIx, health: crate::health::KeyHealth) {
        if health != self.keys[key].health {
            self.emit(Event::Health { key: self.keys[key].id.clone(), health });
        }
    }
}
