//! Which key is taken, and what is against each other one. Decides and changes nothing: `select`, `explain` and waiting all
//! go by it.

use crate::access::Caller;
use crate::broker::cost::{estimated, sensible};
use crate::broker::{Broker, KeyIx, ProviderEntry};
use crate::event::SessionId;
use crate::health::account::OnTrial;
use crate::health::breaker::Standing;
use crate::health::{Against, Trial};
use crate::id::{KeyId, ModelName, ProviderName};
use crate::limits::Meter;
use crate::limits::{NEVER, Spent};
use crate::money::Usd;
use crate::policy::{ChoicePer, ProviderPolicy};
use crate::protocol::error::{ErrorCode, ErrorReply, Reason};
use crate::protocol::explanation::Why;
use crate::protocol::request::{EXCLUDED_MAX, KeyRef, Select, WAIT_MAX_MS};
use crate::protocol::strategy::Strategy;
use crate::rotation::{self, Candidate, Field};
use crate::time::{Now, Steady};

/// A select that can be answered, and what follows from it before any key is looked at.
pub(super) struct Query<'a> {
    pub(super) request: &'a Select,
    pub(super) caller: &'a Caller,
    pub(super) now: Now,
    /// The providers to look at, in order.
    pub(super) chain: Vec<ProviderName>,
    /// The one key that the request names.
    pub(super) only: Option<KeyIx>,
    pub(super) session: Option<SessionId>,
    /// The key that the session has.
    held: Option<KeyIx>,
}

/// What a provider's keys are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) model: Option<&'a ModelName>,
    /// The provider has no model for it that may be asked for.
    model_disabled: bool,
    pub(super) estimate: Usd,
    exclude: &'a [KeyRef],
    /// Whose limits count besides; none: nobody's.
    caller: Option<&'a Caller>,
    now: Now,
}

/// A key that was chosen.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) key: KeyIx,
    pub(super) why: Why,
    pub(super) strategy: Strategy,
    /// What its provider is to be asked for.
    pub(super) model: Option<ModelName>,
    pub(super) estimate: Usd,
    /// The turn goes on to the next key.
    pub(super) in_turn: bool,
    /// With `per: interval`, it is kept.
    pub(super) keep: bool,
    pub(super) trial: bool,
}

impl Query<'_> {
    /// How this provider's keys are chosen.
    pub(super) fn strategy(&self, provider: &ProviderEntry) -> Strategy {
        self.request.strategy.unwrap_or(provider.policy.strategy)
    }
}

fn refused(message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest, message)
}

impl Broker {
    /// Can the request be answered at all?
    ///
    /// # Errors
    /// The provider, key or model is not known, or the request asks for what can't be.
    pub(super) fn query<'a>(&self, caller: &'a Caller, request: &'a Select, now: Now) -> Result<Query<'a>, ErrorReply> {
        // Said of every provider alike, whether there is one of that name or not.
        if !caller.may_use(&request.provider) {
            return Err(ErrorReply::new(ErrorCode::Denied, format!("uid {} may not use the provider `{}`", caller.uid, request.provider)));
        }
        let Some(provider) = self.providers.get(&request.provider) else {
            return Err(ErrorReply::new(ErrorCode::UnknownProvider, format!("no provider `{}` is configured", request.provider)));
        };
        if let Some(model) = request.model.as_ref().filter(|model| !provider.policy.allows(model)) {
            return Err(ErrorReply::new(ErrorCode::UnknownModel, disabled(&provider.policy, model)));
        }
        if let Some(estimate) = request.estimate {
            if estimate.cost_usd.is_some() && (estimate.input_tokens.is_some() || estimate.output_tokens.is_some()) {
                return Err(refused("an estimate is either tokens or cost_usd, not both"));
            }
            sensible(&[estimate.input_tokens, estimate.output_tokens], estimate.cost_usd)?;
        }
        if request.wait_ms.is_some_and(|wait| wait > WAIT_MAX_MS) {
            return Err(refused(format!("`wait_ms` is at most {WAIT_MAX_MS}, which is a day")));
        }
        if request.exclude.as_ref().is_some_and(|keys| keys.len() > EXCLUDED_MAX) {
            return Err(refused(format!("`exclude` has at most {EXCLUDED_MAX} keys")));
        }
        let only =
            request.key_name.as_ref().map(|name| self.known_key(&KeyId { provider: request.provider.clone(), key: name.clone() })).transpose()?;
        let session = request.session.as_ref().map(|name| SessionId { provider: request.provider.clone(), caller: caller.uid, name: name.clone() });
        let held = session.as_ref().filter(|_| only.is_none()).and_then(|session| self.sessions.key(session, now.steady));
        let held = held.and_then(|key| self.keys.find(key));
        let mut chain = self.chain(request, now);
        chain.retain(|provider| caller.may_use(provider));
        Ok(Query { request, caller, now, chain, only, session, held })
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
        chain.sort_by_key(|name| self.providers.get(name).is_some_and(|provider| !self.is_reachable(provider, now.steady)));
        chain
    }

    /// Is the provider taken to be reachable? After it failed, by one lease at a time until one is answered.
    pub(super) fn is_reachable(&self, provider: &ProviderEntry, now: Steady) -> bool {
        match provider.breaker.standing(now) {
            Standing::Closed => true,
            Standing::Open => false,
            Standing::HalfOpen(trial) => self.leases.is_none_open(trial),
        }
    }

    /// What a provider of the chain is asked for: the model itself, or after a fallback an equivalent one. Where none is
    /// known the caller must choose, and the key is asked for no model in particular.
    pub(super) fn ask<'a>(&'a self, provider: &'a ProviderEntry, query: &'a Query<'_>) -> Ask<'a> {
        let policy = &provider.policy;
        let asked = &query.request.provider;
        let (model, model_disabled) = match query.request.model.as_ref() {
            Some(model) if policy.name != *asked => {
                let mut equivalents = self.policy.equivalents(asked, model, &policy.name).peekable();
                let any = equivalents.peek().is_some();
                let allowed = equivalents.find(|model| policy.allows(model));
                (allowed, any && allowed.is_none())
            }
            model => (model, false),
        };
        let estimate = estimated(query.request.estimate, || model.and_then(|model| self.policy.price(policy, model)));
        Ask {
            model,
            model_disabled,
            estimate,
            exclude: query.request.exclude.as_deref().unwrap_or_default(),
            caller: Some(query.caller),
            now: query.now,
        }
    }

    /// The key that is taken; none: none is eligible. The same `rng` gives the same key.
    pub(super) fn choose(&self, query: &Query<'_>, rng: &fastrand::Rng) -> Option<Choice> {
        let chain = || query.chain.iter().filter_map(|name| self.providers.get(name));
        // A session moves only when its key can't be used, or when its provider fails and another one does not.
        let reachable = |provider: &&ProviderEntry| self.is_reachable(provider, query.now.steady);
        let held = query.held.and_then(|_| chain().filter(reachable).find_map(|provider| self.choose_held(provider, query)));
        held.or_else(|| chain().find_map(|provider| self.choose_of(provider, query, rng)))
    }

    fn choose_held(&self, provider: &ProviderEntry, query: &Query<'_>) -> Option<Choice> {
        let key = query.held.filter(|key| provider.keys.contains(key))?;
        let ask = self.ask(provider, query);
        self.check_global(ask).ok()?;
        self.take(key, Why::Session, query.strategy(provider), ask)
    }

    fn choose_of(&self, provider: &ProviderEntry, query: &Query<'_>, rng: &fastrand::Rng) -> Option<Choice> {
        let ask = self.ask(provider, query);
        self.check_global(ask).ok()?;
        let strategy = query.strategy(provider);
        if let Some(key) = query.only {
            return self.take(key, Why::Named, strategy, ask);
        }
        if let Some(choice) = self.choose_held(provider, query) {
            return Some(choice);
        }
        let keeps = query.request.strategy.is_none() && provider.policy.per == ChoicePer::Interval;
        let kept = provider.kept.filter(|(_, until)| keeps && *until > query.now.steady).map(|(key, _)| key);
        if let Some(choice) = kept.and_then(|key| self.take(key, Why::Kept, strategy, ask)) {
            return Some(choice);
        }
        let eligible = |place: usize| provider.keys.get(place).is_some_and(|key| self.check(*key, ask).is_ok());
        let place = self.field(provider, query.now, |field| rotation::choose(strategy, field, &mut rng.clone(), &eligible))?;
        let choice = self.take(*provider.keys.get(place)?, Why::Strategy, strategy, ask)?;
        // A choice that only this request makes anew, for its model or what it excludes, leaves the kept one to the others.
        let others = Ask { model: None, model_disabled: false, exclude: &[], ..ask };
        let stands = kept.is_some_and(|kept| self.check(kept, others).is_ok());
        Some(Choice { in_turn: strategy == Strategy::RoundRobin, keep: keeps && !stands, ..choice })
    }

    /// This key, if there is nothing against it by itself.
    fn take(&self, key: KeyIx, why: Why, strategy: Strategy, ask: Ask<'_>) -> Option<Choice> {
        let trial = self.check(key, ask).ok()?;
        Some(Choice { key, why, strategy, model: ask.model.cloned(), estimate: ask.estimate, in_turn: false, keep: false, trial })
    }

    /// A provider's keys as a strategy sees them.
    pub(super) fn field<T>(&self, provider: &ProviderEntry, now: Now, see: impl FnOnce(&Field<'_>) -> T) -> T {
        let none = Candidate { weight: 1, last_hour: 0, lifetime: 0, cost_today: Usd::ZERO };
        let candidate = |place: usize| provider.keys.get(place).map_or(none, |key| self.candidate(*key, now));
        see(&Field { count: provider.keys.len(), schedule: &provider.schedule, candidate: &candidate })
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

    /// What a query reserves of a key.
    pub(super) fn estimate(&self, key: KeyIx, query: &Query<'_>) -> Usd {
        self.providers.get(&self.keys[key].id.provider).map_or(Usd::ZERO, |provider| self.ask(provider, query).estimate)
    }

    fn check_global(&self, ask: Ask<'_>) -> Result<(), Against> {
        if ask.estimate > Usd::ZERO && !self.waiting.held().is_free_of_all() {
            return Err((Reason::GlobalCostLimited, Some(ask.now.midnight())));
        }
        self.global
            .check(self.global_limits(), ask.estimate, ask.now)
            .map_err(|spent| against(spent, Reason::GlobalRateLimited, Reason::GlobalCostLimited))?;
        let limited = ask.caller.and_then(|caller| Some((self.callers.get(&caller.uid)?, caller.grants.limits)));
        match limited {
            Some((meter, limits)) => meter.check(limits, ask.estimate, ask.now),
            // Of whom nothing was counted yet, an estimate alone may be too much.
            None => ask.caller.map_or(Ok(()), |caller| Meter::default().check(caller.grants.limits, ask.estimate, ask.now)),
        }
        .map_err(|spent| against(spent, Reason::CallerRateLimited, Reason::CallerCostLimited))
    }

    /// Everything that can be against a key: what is against it by itself, then the limits over all keys.
    ///
    /// # Errors
    /// The first thing against it.
    pub(super) fn consider(&self, key: KeyIx, ask: Ask<'_>) -> Result<bool, Against> {
        self.check(key, ask).and_then(|trial| self.check_global(ask).map(|()| trial))
    }

    /// Is the key eligible, and then on trial? The first thing against it, in the order in which an admin would mend it.
    fn check(&self, key: KeyIx, ask: Ask<'_>) -> Result<bool, Against> {
        let entry = &self.keys[key];
        if !entry.policy.as_ref().is_some_and(|policy| policy.enabled) {
            return Err((Reason::Disabled, None));
        }
        if entry.sealed {
            return Err((Reason::Sealed, None));
        }
        if ask.model_disabled {
            return Err((Reason::ModelDisabled, None));
        }
        if ask.exclude.iter().any(|key| key.provider == entry.id.provider && key.key_name == entry.id.key) {
            return Err((Reason::Excluded, None));
        }
        let own = entry.health.check(ask.model, ask.now.steady)?;
        let account = &self.accounts[entry.account];
        let OnTrial(shared) = account.health.check(ask.now.steady)?;
        let mut out = entry.trial_leases(own, ask.model).chain(account.trial_lease.filter(|_| shared));
        // A trial's lease that is not open any more, for whatever reason, holds nobody up.
        if let Some(expires) = out.find_map(|number| self.leases.expiry(number)) {
            return Err((Reason::OnTrial, Some(expires)));
        }
        if let Some(until) = entry.provider_limits.spent_until(ask.model, ask.now.steady) {
            return Err((Reason::ProviderLimited, Some(until)));
        }
        let room = entry.meter.check(entry.limits(), ask.estimate, ask.now);
        room.map_err(|spent| against(spent, Reason::RateLimited, Reason::CostLimited))?;
        if ask.estimate > Usd::ZERO && !self.waiting.held().is_free(key) {
            return Err((Reason::CostLimited, Some(ask.now.midnight())));
        }
        Ok(own != Trial::default() || shared)
    }

    /// When the key may be leased again, where it can't be now and time alone mends it.
    pub(super) fn free_at(&self, key: KeyIx, now: Now) -> Option<Steady> {
        let ask = Ask { model: None, model_disabled: false, estimate: Usd::ZERO, exclude: &[], caller: None, now };
        self.check(key, ask).err().and_then(|(_, until)| until)
    }

    /// Every key that a query looks at, in the order of its chain and of the configuration.
    pub(super) fn considered<'a>(&'a self, query: &'a Query<'_>) -> impl Iterator<Item = (KeyIx, Result<bool, Against>)> + 'a {
        let providers = query.chain.iter().filter_map(|name| self.providers.get(name));
        providers.flat_map(move |provider| {
            let ask = self.ask(provider, query);
            let keys = provider.keys.iter().copied().filter(move |key| query.only.is_none_or(|only| only == *key));
            keys.map(move |key| (key, self.consider(key, ask)))
        })
    }

    /// When the first key of a query may be free, where none is now; none: only a person can mend it.
    pub(super) fn first_free(&self, query: &Query<'_>) -> Option<Steady> {
        self.considered(query).filter_map(|(_, against)| against.err()?.1).min()
    }
}

fn against(spent: Spent, rate: Reason, cost: Reason) -> Against {
    match spent {
        Spent::Rate(until) => (rate, Some(until).filter(|until| *until != NEVER)),
        Spent::Cost(until) => (cost, Some(until).filter(|until| *until != NEVER)),
    }
}

fn disabled(provider: &ProviderPolicy, model: &ModelName) -> String {
    if provider.model(model).is_some() {
        return format!("the model `{model}` is disabled for `{}`", provider.name);
    }
    format!("the model `{model}` does not stand in the models of `{}`, which has `strict_models: true`", provider.name)
}
