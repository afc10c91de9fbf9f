//! `select`: one key of a provider, or of the next in the fallback chain, and the lease on it.

use crate::access::Caller;
use crate::broker::choice::{Choice, Query};
use crate::broker::waiting::Ticket;
use crate::broker::{Broker, KeyIx, Moment};
use crate::event::{Ahead, Event, Granted, SessionId};
use crate::health::breaker::Standing;
use crate::id::Origin;
use crate::limits::users::{Shares, Taken};
use crate::limits::{Limits, Meter};
use crate::money::Usd;
use crate::protocol::error::{ErrorCode, ErrorReply, KeyRefusal};
use crate::protocol::request::Select;
use crate::time::{Now, Timestamp};

/// Leases that can be open at a time.
const OPEN: Shares = Shares { all: 100_000, client: 25_000, admins: 1000 };

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

/// What came of a select that may wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Selected {
    /// A lease.
    Granted(Grant),
    /// A place in the queue.
    Queued(Ticket),
}

impl Broker {
    /// Leases a key. Whoever waits for one comes first.
    ///
    /// # Errors
    /// The provider, key or model is not known, or no key is eligible: then every key is named with its reason.
    pub fn select(&mut self, caller: &Caller, request: &Select, moment: &mut Moment<'_>) -> Result<Grant, ErrorReply> {
        self.serve(moment);
        self.durable = moment.durable;
        let query = self.query(caller, request, moment.now)?;
        let choice = self.choose(&query, &moment.rng.fork());
        let Some(choice) = choice else {
            return Err(self.refusal(&query));
        };
        self.lease(choice, query.session, caller, request, moment)
    }

    /// As [`Broker::select`], and where no key is eligible joins the queue, if the request says that it waits.
    ///
    /// # Errors
    /// As [`Broker::select`], or the queue is full.
    pub fn select_or_wait(&mut self, caller: &Caller, request: &Select, moment: &mut Moment<'_>) -> Result<Selected, ErrorReply> {
        let refusal = match self.select(caller, request, moment) {
            Ok(grant) => return Ok(Selected::Granted(grant)),
            Err(refusal) => refusal,
        };
        if refusal.code != ErrorCode::NoKeyAvailable || request.wait().is_zero() {
            return Err(refusal);
        }
        self.join(caller, request, moment.now).map(Selected::Queued)
    }

    /// Gives the lease that was chosen.
    ///
    /// # Errors
    /// There are too many leases, or the store must hear of this one first and can't be written.
    pub(super) fn lease(
        &mut self,
        choice: Choice,
        session: Option<SessionId>,
        caller: &Caller,
        request: &Select,
        moment: &Moment<'_>,
    ) -> Result<Grant, ErrorReply> {
        if let Err(taken) = OPEN.admit(caller.role, self.leases.open_count(), self.leases.open_of(caller.uid)) {
            let whose = match taken {
                Taken::ByAll(most) => format!("{most} leases are open"),
                Taken::ByClient(most) => format!("uid {} has {most} leases open", caller.uid),
            };
            return Err(ErrorReply::new(ErrorCode::Overloaded, format!("{whose}: report them, or let them run out")));
        }
        if moment.stalled && (choice.trial || self.needs_store(choice.key, caller, choice.estimate)) {
            return Err(ErrorReply::new(ErrorCode::Internal, "the store can't be written, and it must hear of this lease first"));
        }
        let origin = self.origin(caller);
        let lease = self.lease_of(&choice, origin, request, moment.now);
        let grant = self.grant(choice.key, caller, lease);
        if let Some(provider) = self.providers.get_mut(&grant.lease.key.provider)
            && matches!(provider.breaker.standing(moment.now.steady), Standing::HalfOpen(trial) if self.leases.is_none_open(trial))
        {
            provider.breaker.try_with(grant.lease.number, moment.now.steady);
        }
        if choice.keep {
            self.keep_choice(choice.key, &grant.lease);
        }
        if let Some(session) = session {
            self.use_session(session, &grant.lease);
        }
        Ok(grant)
    }

    fn lease_of(&self, choice: &Choice, caller: Origin, request: &Select, now: Now) -> Granted {
        let id = self.keys[choice.key].id.clone();
        Granted {
            strategy: choice.strategy,
            fallback_from: (id.provider != request.provider).then(|| request.provider.clone()),
            number: self.leases.next_number(),
            model: choice.model.clone(),
            key: id,
            caller,
            estimate: choice.estimate,
            at: now,
            expires: now.steady.after(self.policy.lease_ttl),
            trial: choice.trial,
            in_turn: choice.in_turn,
        }
    }

    /// Must a horizon move before a lease with this estimate?
    fn needs_store(&self, key: KeyIx, caller: &Caller, estimate: Usd) -> bool {
        let none = Meter::default();
        let meters = [
            (&self.keys[key].meter, self.keys[key].limits()),
            (&self.global, self.global_limits()),
            (self.callers.get(&caller.uid).unwrap_or(&none), caller.grants.limits),
        ];
        let waits = |(meter, limits): (&Meter, Limits)| meter.moves(limits, estimate).is_some() || meter.must_wait(limits, self.durable);
        self.leases.numbers_needed().is_some() || self.leases.must_wait(self.durable) || meters.into_iter().any(waits)
    }

    /// Moves the horizons where they must move, then gives the lease.
    fn grant(&mut self, key: KeyIx, caller: &Caller, lease: Granted) -> Grant {
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
        if let Some(moves) = self.callers.entry(caller.uid).or_default().moves(caller.grants.limits, lease.estimate) {
            self.emit(Event::Ahead(Ahead::Caller { uid: caller.uid, places: moves.places, reserved: moves.reserved }));
        }
        self.emit(Event::Granted(lease.clone()));
        self.selects += 1;
        let durable = self.durable;
        // Of a trial there must be one lease only, whatever crashes.
        let must_wait = lease.trial
            || self.leases.must_wait(durable)
            || self.keys[key].meter.must_wait(limits, durable)
            || self.global.must_wait(global, durable)
            || self.callers.get(&caller.uid).is_some_and(|meter| meter.must_wait(caller.grants.limits, durable));
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

    /// The session has this key. The store hears of it now and then, so that a restart moves no conversation.
    fn use_session(&mut self, session: SessionId, lease: &Granted) {
        let at = lease.at.steady;
        if self.sessions.is_news(&session, &lease.key, at) {
            self.emit(Event::Session { session, key: lease.key.clone(), at });
        } else {
            self.sessions.touch(&session, at);
        }
    }

    /// Why no key is eligible: the reason of each, and when the first may be free.
    pub(super) fn refusal(&self, query: &Query<'_>) -> ErrorReply {
        let now = query.now;
        let keys: Vec<KeyRefusal> = self
            .considered(query)
            .filter_map(|(key, against)| {
                let (reason, until) = against.err()?;
                let id = self.keys[key].id.clone();
                Some(KeyRefusal { provider: id.provider, key_name: id.key, reason, until: until.map(|until| now.wall_at(until)) })
            })
            .collect();
        let retry_after_ms = self.first_free(query).map(|first| u64::try_from(first.since(now.steady).as_millis()).unwrap_or(u64::MAX).max(1));
        ErrorReply { code: ErrorCode::NoKeyAvailable, message: describe(query.request, &keys), retry_after_ms, keys }
    }
}

fn describe(request: &Select, keys: &[KeyRefusal]) -> String {
    if keys.is_empty() {
        // What has keys and none to refuse is not asked here: then one is eligible.
        return format!("`{}` has no keys; add one with `gollmctl key set {}/NAME`", request.provider, request.provider);
    }
    let shown: Vec<String> = keys.iter().take(8).map(|key| format!("{}/{}: {}", key.provider, key.key_name, key.reason.words())).collect();
    let more = keys.len().saturating_sub(shown.len());
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("no key of `{}` can be leased now: {}{rest}", request.provider, shown.join("; "))
}
