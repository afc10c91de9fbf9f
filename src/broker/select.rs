//! `select`: one key of a provider, or of the next in the fallback chain, and the lease on it.

use crate::access::Caller;
use crate::broker::settle::sensible;
use crate::broker::{Broker, KeyIx, Moment, ProviderEntry};
use crate::catalogue::prices::{self, Price};
use crate::event::{Ahead, Event, Granted};
use crate::health::{Against, Trial};
use crate::id::{KeyId, ModelName, ProviderName};
use crate::limits::{NEVER, Spent};
use crate::money::Usd;
use crate::policy::{ChoicePer, ProviderPolicy};
use crate::protocol::error::{ErrorCode, ErrorReply, KeyRefusal, Reason};
use crate::protocol::request::{Estimate, Select};
use crate::protocol::strategy::Strategy;
use crate::rotation::{self, Candidate};
use crate::time::{Now, Steady, Timestamp};

/// Leases that can be open at a time.
const OPEN_MAX: usize = 100_000;

/// A lease that was given, without the secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The lease; its token is the same, sealed.
    pub lease: Granted,
    /// Where to send the request.
    pub base_url: String,
    /// When the key was leased before this.
    pub last_used: Option<Timestamp>,
    /// When the lease ends.
    pub expires: Timestamp,
    /// The answer must wait until the store holds every event so far.
    pub must_wait: bool,
}

/// What a key is asked for.
#[derive(Debug, Clone, Copy)]
struct Ask<'a> {
    model: Option<&'a ModelName>,
    estimate: Usd,
    now: Now,
}

/// A key that was chosen.
struct Choice {
    key: KeyIx,
    in_turn: bool,
    /// With `per: interval`, it is kept.
    keep: bool,
    trial: bool,
}

/// The price of a model: the configured one, else the built-in list's.
pub(super) fn price_of(provider: &ProviderPolicy, model: Option<&ModelName>) -> Option<Price> {
    let model = model?;
    provider.model(model).and_then(|model| model.price).or_else(|| prices::lookup(provider.kind, model.as_str()))
}

fn estimated(estimate: Option<Estimate>, price: impl FnOnce() -> Option<Price>) -> Usd {
    let Some(estimate) = estimate else {
        return Usd::ZERO;
    };
    let tokens = || price().map_or(Usd::ZERO, |price| price.cost(estimate.input_tokens.unwrap_or(0), 0, estimate.output_tokens.unwrap_or(0)));
    estimate.cost_usd.unwrap_or_else(tokens)
}

impl Broker {
    /// Leases a key.
    ///
    /// # Errors
    /// The provider, key or model is not known, or no key is eligible: then every key is named with its reason.
    pub fn select(&mut self, caller: Caller, request: &Select, moment: &mut Moment<'_>) -> Result<Grant, ErrorReply> {
        self.durable = moment.durable;
        let only = self.check_request(request)?;
        if self.leases.open_count() >= OPEN_MAX {
            return Err(ErrorReply::new(ErrorCode::Overloaded, format!("{OPEN_MAX} leases are open: report them, or let them run out")));
        }
        let chain = self.chain(request, moment.now);
        let mut rng = moment.rng.fork();
        for name in &chain {
            let Some(provider) = self.providers.get(name) else { continue };
            let ask = Self::ask(provider, request, moment.now);
            let strategy = request.strategy.unwrap_or(provider.policy.strategy);
            let Some(choice) = self.choose(provider, ask, strategy, request.strategy.is_none(), only, &mut rng) else { continue };
            if moment.stalled && (choice.trial || self.needs_store(choice.key, ask.estimate)) {
                return Err(ErrorReply::new(ErrorCode::Internal, "the store can't be written, and it must hear of this lease first"));
            }
            let lease = self.lease_of(&choice, caller, request, moment.now, ask.estimate, strategy);
            let grant = self.grant(choice.key, lease);
            if choice.keep {
                self.keep_choice(choice.key, &grant.lease);
            }
            return Ok(grant);
        }
        Err(self.refusal(request, &chain, only, moment.now))
    }

    fn check_request(&self, request: &Select) -> Result<Option<KeyIx>, ErrorReply> {
        let Some(provider) = self.providers.get(&request.provider) else {
            return Err(ErrorReply::new(ErrorCode::UnknownProvider, format!("no provider `{}` is configured", request.provider)));
        };
        if let Some(model) = request.model.as_ref().filter(|model| provider.policy.model(model).is_some_and(|model| !model.enabled)) {
            return Err(ErrorReply::new(ErrorCode::UnknownModel, format!("the model `{model}` is disabled for `{}`", request.provider)));
        }
        if request
            .estimate
            .is_some_and(|estimate| estimate.cost_usd.is_some() && (estimate.input_tokens.is_some() || estimate.output_tokens.is_some()))
        {
            return Err(ErrorReply::new(ErrorCode::BadRequest, "an estimate is either tokens or cost_usd, not both"));
        }
        if let Some(estimate) = request.estimate {
            sensible([estimate.input_tokens, estimate.output_tokens, None], estimate.cost_usd)?;
        }
        let Some(name) = &request.key_name else {
            return Ok(None);
        };
        let id = KeyId { provider: request.provider.clone(), key: name.clone() };
        let known = self.keys.find(&id).filter(|key| self.keys[*key].policy.is_some());
        known.map(Some).ok_or_else(|| ErrorReply::new(ErrorCode::UnknownKey, format!("no key `{id}` is configured")))
    }

    /// The providers to look at, in order: the asked one, then those behind it in the fallback chain. One whose breaker
    /// is open comes last.
    fn chain(&self, request: &Select, now: Now) -> Vec<ProviderName> {
        let mut chain = vec![request.provider.clone()];
        let allowed = self.providers.get(&request.provider).is_some_and(|provider| provider.policy.fallback_enabled);
        if allowed && request.fallback != Some(false) && request.key_name.is_none() {
            let behind = self.policy.fallback_chain.iter().position(|name| *name == request.provider).map_or(0, |place| place + 1);
            chain.extend(self.policy.fallback_chain.iter().skip(behind).filter(|name| **name != request.provider).cloned());
        }
        chain.sort_by_key(|name| self.providers.get(name).is_some_and(|provider| !provider.breaker.is_closed(now.steady)));
        chain
    }

    /// The model belongs to the asked provider: another one is asked for no model in particular.
    fn ask<'a>(provider: &ProviderEntry, request: &'a Select, now: Now) -> Ask<'a> {
        let model = request.model.as_ref().filter(|_| provider.policy.name == request.provider);
        Ask { model, estimate: estimated(request.estimate, || price_of(&provider.policy, model)), now }
    }

    fn choose(
        &self,
        provider: &ProviderEntry,
        ask: Ask<'_>,
        strategy: Strategy,
        keep: bool,
        only: Option<KeyIx>,
        rng: &mut fastrand::Rng,
    ) -> Option<Choice> {
        if self.check_global(ask).is_err() {
            return None;
        }
        let sole = |key: KeyIx| self.check(key, ask).ok().map(|trial| Choice { key, in_turn: false, keep: false, trial: trial == Trial::On });
        if let Some(key) = only {
            return sole(key);
        }
        let keeps = keep && provider.policy.per == ChoicePer::Interval;
        if keeps && let Some(choice) = provider.kept.filter(|(_, until)| *until > ask.now.steady).and_then(|(key, _)| sole(key)) {
            return Some(choice);
        }
        let mut eligible = |place: usize| {
            let key = *provider.keys.get(place)?;
            self.check(key, ask).ok().map(|_| self.candidate(key, ask.now))
        };
        let place = rotation::choose(strategy, &provider.schedule, provider.keys.len(), rng, &mut eligible)?;
        let key = *provider.keys.get(place)?;
        let trial = self.check(key, ask).ok()? == Trial::On;
        // A choice that only this model makes anew leaves the kept one to the others.
        let whole = Ask { model: None, ..ask };
        let stands = provider.kept.is_some_and(|(kept, until)| until > ask.now.steady && self.check(kept, whole).is_ok());
        Some(Choice { key, in_turn: strategy == Strategy::RoundRobin, keep: keeps && !stands, trial })
    }

    fn candidate(&self, key: KeyIx, now: Now) -> Candidate {
        let entry = &self.keys[key];
        Candidate {
            weight: entry.policy.as_ref().map_or(1, |policy| policy.weight),
            last_hour: entry.meter.requests_last_hour(now),
            lifetime: entry.meter.requests_total(),
            cost_today: entry.meter.cost_today(now).saturating_add(entry.meter.reserved()),
        }
    }

    fn check_global(&self, ask: Ask<'_>) -> Result<(), Against> {
        self.global
            .check(self.global_limits(), ask.estimate, ask.now)
            .map_err(|spent| self.spent(spent, Reason::GlobalRateLimited, Reason::GlobalCostLimited))
    }

    fn spent(&self, spent: Spent, rate: Reason, cost: Reason) -> Against {
        match spent {
            Spent::Rate(until) => (rate, Some(until).filter(|until| *until != NEVER)),
            Spent::Cost(until) => (cost, Some(until).filter(|until| *until != NEVER)),
        }
    }

    /// Is the key eligible? The first thing against it, in the order in which an admin would mend it.
    fn check(&self, key: KeyIx, ask: Ask<'_>) -> Result<Trial, Against> {
        let entry = &self.keys[key];
        if !entry.policy.as_ref().is_some_and(|policy| policy.enabled) {
            return Err((Reason::Disabled, None));
        }
        if entry.sealed {
            return Err((Reason::Sealed, None));
        }
        let own = entry.health.check(ask.model, ask.now.steady)?;
        let account = &self.accounts[entry.account];
        let shared = account.health.check(ask.now.steady)?;
        let out = match (own, shared) {
            (Trial::On, _) if self.is_open(entry.trial_lease) => entry.trial_lease,
            (_, Trial::On) if self.is_open(account.trial_lease) => account.trial_lease,
            _ => None,
        };
        if let Some(number) = out {
            return Err((Reason::OnTrial, self.leases.expiry(number)));
        }
        entry.meter.check(entry.limits(), ask.estimate, ask.now).map_err(|spent| self.spent(spent, Reason::RateLimited, Reason::CostLimited))?;
        Ok(if own == Trial::On || shared == Trial::On { Trial::On } else { Trial::Off })
    }

    /// When the key may be leased again, where it can't be now and time alone mends it.
    pub(super) fn free_at(&self, key: KeyIx, now: Now) -> Option<Steady> {
        self.check(key, Ask { model: None, estimate: Usd::ZERO, now }).err().and_then(|(_, until)| until)
    }

    /// A trial's lease that is not open any more, for whatever reason, holds nobody up.
    fn is_open(&self, lease: Option<u64>) -> bool {
        lease.is_some_and(|number| self.leases.expiry(number).is_some())
    }

    fn lease_of(&self, choice: &Choice, caller: Caller, request: &Select, now: Now, estimate: Usd, strategy: Strategy) -> Granted {
        let id = self.keys[choice.key].id.clone();
        Granted {
            strategy,
            fallback_from: (id.provider != request.provider).then(|| request.provider.clone()),
            number: self.leases.next_number(),
            model: request.model.clone().filter(|_| id.provider == request.provider),
            key: id,
            caller: caller.uid,
            estimate,
            at: now,
            expires: now.steady.after(self.policy.lease_ttl),
            trial: choice.trial,
            in_turn: choice.in_turn,
        }
    }

    /// Must a horizon move before a lease with this estimate?
    fn needs_store(&self, key: KeyIx, estimate: Usd) -> bool {
        let (limits, global, durable) = (self.keys[key].limits(), self.global_limits(), self.durable);
        let key = &self.keys[key].meter;
        let moves = self.leases.numbers_needed().is_some() || key.moves(limits, estimate).is_some() || self.global.moves(global, estimate).is_some();
        moves || self.leases.must_wait(durable) || key.must_wait(limits, durable) || self.global.must_wait(global, durable)
    }

    /// Moves the horizons where they must move, then gives the lease.
    fn grant(&mut self, key: KeyIx, lease: Granted) -> Grant {
        let (limits, global) = (self.keys[key].limits(), self.global_limits());
        let last_used = self.keys[key].last_used;
        if let Some(until) = self.leases.numbers_needed() {
            self.emit(Event::Ahead(Ahead::Numbers { until }));
        }
        if let Some(moves) = self.keys[key].meter.moves(limits, lease.estimate) {
            self.emit(Event::Ahead(Ahead::Meter { key: Some(lease.key.clone()), places: moves.places, reserved: moves.reserved }));
        }
        if let Some(moves) = self.global.moves(global, lease.estimate) {
            self.emit(Event::Ahead(Ahead::Meter { key: None, places: moves.places, reserved: moves.reserved }));
        }
        self.emit(Event::Granted(lease.clone()));
        self.selects += 1;
        let durable = self.durable;
        // Of a trial there must be one lease only, whatever crashes.
        let must_wait = lease.trial
            || self.leases.must_wait(durable)
            || self.keys[key].meter.must_wait(limits, durable)
            || self.global.must_wait(global, durable);
        let base_url = self.providers.get(&lease.key.provider).map(|provider| provider.policy.base_url.clone()).unwrap_or_default();
        let expires = lease.at.wall_at(lease.expires);
        Grant { lease, base_url, last_used, expires, must_wait }
    }

    /// With `per: interval`, a choice made in turn is kept. It is not stored: after a restart a new choice is made.
    fn keep_choice(&mut self, key: KeyIx, lease: &Granted) {
        if let Some(provider) = self.providers.get_mut(&lease.key.provider) {
            provider.kept = Some((key, lease.at.steady.after(provider.policy.interval)));
        }
    }

    fn refusal(&self, request: &Select, chain: &[ProviderName], only: Option<KeyIx>, now: Now) -> ErrorReply {
        let mut keys = Vec::new();
        let mut first: Option<Steady> = None;
        for name in chain {
            let Some(provider) = self.providers.get(name) else { continue };
            let ask = Self::ask(provider, request, now);
            for key in provider.keys.iter().copied().filter(|key| only.is_none_or(|only| only == *key)) {
                let against = self.check(key, ask).and_then(|_| self.check_global(ask));
                let Err((reason, until)) = against else { continue };
                if let Some(until) = until {
                    first = Some(first.map_or(until, |first| first.min(until)));
                }
                let id = self.keys[key].id.clone();
                keys.push(KeyRefusal { provider: id.provider, key_name: id.key, reason, until: until.map(|until| now.wall_at(until)) });
            }
        }
        let retry_after_ms = first.map(|first| u64::try_from(first.since(now.steady).as_millis()).unwrap_or(u64::MAX).max(1));
        ErrorReply { code: ErrorCode::NoKeyAvailable, message: describe(request, &keys), retry_after_ms, keys }
    }
}

fn describe(request: &Select, keys: &[KeyRefusal]) -> String {
    if keys.is_empty() {
        return format!("`{}` has no keys; add one with `gollmctl key set {}/NAME`", request.provider, request.provider);
    }
    let shown: Vec<String> = keys.iter().take(8).map(|key| format!("{}/{}: {}", key.provider, key.key_name, key.reason.words())).collect();
    let more = keys.len().saturating_sub(shown.len());
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("no key of `{}` can be leased now: {}{rest}", request.provider, shown.join("; "))
}
