//! The one owner of state: joins access, limits, health, leases, usage and rotation.
//!
//! Every change is an [`Event`]: decided here, applied at once, and handed out in order for the journal. Applying the
//! same events to the same records gives the same state, which is how a restart rebuilds it.

mod admin;
mod apply;
mod arena;
mod choice;
mod cost;
mod explain;
mod records;
mod select;
mod settle;
mod told;
mod view;
mod waiting;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;

use crate::access::Caller;
use crate::alert::Alerts;
use crate::broker::arena::{Accounts, Keys};
use crate::broker::records::Dirty;
use crate::broker::waiting::Waiting;
use crate::broker::watch::Watch;
use crate::event::{Event, Granted};
use crate::health::account::{AccountHealth, AccountKey};
use crate::health::breaker::Breaker;
use crate::health::left::ProviderLimits;
use crate::health::reach::Reach;
use crate::health::{KeyHealth, Trial};
use crate::id::{AccountName, KeyId, ModelName, Origin, ProviderName, Uid};
use crate::lease::Leases;
use crate::limits::{Limits, Meter};
use crate::policy::{KeyPolicy, Policy, ProviderPolicy};
use crate::protocol::reply::Balance;
use crate::rotation::round_robin::Schedule;
use crate::session::Sessions;
use crate::time::{Now, Steady, Timestamp};
use crate::usage::Ledger;
use crate::usage::units::Numbered;

pub use crate::broker::records::{Change, DamagedRecord, Record, Shelf};
pub use crate::broker::select::{Grant, Selected};
pub use crate::broker::told::Told;
pub use crate::broker::waiting::{Served, Ticket};
pub use crate::broker::watch::Outside;

/// How often what is kept no longer is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What a decision may know of the moment it is made in.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Both clocks.
    pub now: Now,
    /// The number of the last event that the store holds for certain.
    pub durable: u64,
    /// The store can't be written: nothing is decided that it must hear of first.
    pub stalled: bool,
    /// Chance.
    pub rng: &'a mut Rng,
}

/// All state of the daemon but its secrets.
#[derive(Debug)]
pub struct Broker {
    policy: Policy,
    providers: HashMap<ProviderName, ProviderEntry>,
    keys: Keys,
    accounts: Accounts,
    /// What each caller took, whichever key it was.
    callers: HashMap<Uid, Meter>,
    leases: Leases,
    sessions: Sessions,
    ledger: Ledger,
    global: Meter,
    waiting: Waiting,
    alerts: Alerts,
    watch: Watch,
    outside: Outside,
    dirty: Dirty,
    outbox: Vec<Event>,
    /// The number of the last event.
    emitted: u64,
    durable: u64,
    selects: u64,
    reports: u64,
    next_sweep: Steady,
    /// When the reserves of leases that a crash made unknown are charged.
    orphans_until: Option<Steady>,
}

/// Place of a key among all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct KeyIx(usize);

/// Place of an account among all accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct AccountIx(usize);

/// A key, in the configuration or retired.
#[derive(Debug)]
struct KeyEntry {
    id: KeyId,
    /// None: retired, kept for its counters.
    policy: Option<KeyPolicy>,
    /// Its place among its provider's keys.
    place: usize,
    health: KeyHealth,
    meter: Meter,
    account: AccountIx,
    learned: Option<AccountName>,
    last_used: Option<Timestamp>,
    /// When a lease was last reported ok, since the daemon started.
    last_ok: Option<Steady>,
    /// The one lease of each trial that is on: for every model, or for one.
    trials: Vec<(Option<ModelName>, u64)>,
    /// What its provider said is left of its own limits.
    provider_limits: ProviderLimits,
    /// What its provider said at the last check is left of its money.
    balances: Vec<Balance>,
    /// It has no secret, or none that can be opened.
    sealed: bool,
}

/// An account, shared or a key's own.
#[derive(Debug)]
struct AccountEntry {
    key: AccountKey,
    health: AccountHealth,
    trial_lease: Option<u64>,
    /// The last rate limit that one of its keys met: which, when, and until when it cools down.
    recent: Option<(KeyIx, Steady, Steady)>,
}

/// A provider in the configuration.
#[derive(Debug)]
struct ProviderEntry {
    policy: ProviderPolicy,
    keys: Vec<KeyIx>,
    schedule: Schedule,
    /// The key that had its turn last.
    last: Option<KeyIx>,
    /// With `per: interval`: the choice that is kept, and until when.
    kept: Option<(KeyIx, Steady)>,
    breaker: Breaker,
    reach: Reach,
    /// Was it reached when that was told last?
    told_reachable: bool,
    /// Has it answered since the daemon started? Until then it is not known to be reached again.
    answered: bool,
}

/// May a key be eligible after this event that was not before it?
const fn frees(event: &Event) -> bool {
    match event {
        Event::Clock(_)
        | Event::Ahead(_)
        | Event::Granted(_)
        | Event::Adopted(_)
        | Event::Renewed { .. }
        | Event::Unit { .. }
        | Event::Alert(_)
        | Event::Posted { .. }
        | Event::Provider { .. }
        | Event::Alerted { .. }
        | Event::Session { .. } => false,
        Event::SecretKept { .. } | Event::SecretErased { .. } | Event::Recorded(_) | Event::Audited(_) => false,
        Event::Settled(_)
        | Event::Expired { .. }
        | Event::Health { .. }
        | Event::Account { .. }
        | Event::AccountLearned { .. }
        | Event::AccountForgotten { .. } => true,
    }
}

impl KeyEntry {
    fn limits(&self) -> Limits {
        self.policy.as_ref().map_or_else(Limits::default, |policy| Limits { rate: policy.rate_limit, cost: policy.cost_limit })
    }

    /// The leases of the trials that are on for `model`.
    fn trial_leases<'a>(&'a self, on: Trial, model: Option<&'a ModelName>) -> impl Iterator<Item = u64> + 'a {
        let concerned = move |scope: &Option<ModelName>| if scope.is_none() { on.whole } else { on.model && scope.as_ref() == model };
        self.trials.iter().filter(move |(scope, _)| concerned(scope)).map(|(_, number)| *number)
    }
}

impl Broker {
    /// A broker that never leased anything.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let mut broker = Self {
            policy: Policy { providers: Vec::new(), ..policy.clone() },
            providers: HashMap::new(),
            keys: Keys::default(),
            accounts: Accounts::default(),
            callers: HashMap::new(),
            leases: Leases::default(),
            sessions: Sessions::default(),
            ledger: Ledger::default(),
            global: Meter::default(),
            waiting: Waiting::default(),
            alerts: Alerts::default(),
            watch: Watch::default(),
            outside: Outside::default(),
            dirty: Dirty::default(),
            outbox: Vec::new(),
            emitted: 0,
            durable: 0,
            selects: 0,
            reports: 0,
            next_sweep: Steady::from_millis(0),
            orphans_until: None,
        };
        broker.reconfigure(policy);
        broker
    }

    /// Takes up another policy. A key is its provider and name: no state moves between keys, and a key that left and
    /// comes back finds its counters.
    pub fn reconfigure(&mut self, policy: Policy) {
        for key in self.keys.all() {
            self.keys[key].policy = None;
        }
        let mut before = std::mem::take(&mut self.providers);
        for provider in &policy.providers {
            let old = before.remove(&provider.name);
            let entry = self.provider_entry(provider, old);
            self.providers.insert(provider.name.clone(), entry);
        }
        self.policy = policy;
        self.waiting.note_freed();
        self.watch_soon();
    }

    fn provider_entry(&mut self, provider: &ProviderPolicy, old: Option<ProviderEntry>) -> ProviderEntry {
        let mut keys = Vec::with_capacity(provider.keys.len());
        for (place, key) in provider.keys.iter().enumerate() {
            let ix = self.key_ix(&KeyId { provider: provider.name.clone(), key: key.name.clone() });
            self.keys[ix].place = place;
            self.keys[ix].policy = Some(key.clone());
            self.link_account(ix);
            keys.push(ix);
        }
        let weights: Vec<u32> = provider.keys.iter().map(|key| key.weight).collect();
        let reach = old.as_ref().filter(|old| old.policy.base_url == provider.base_url).map(|old| old.reach.clone()).unwrap_or_default();
        let told_reachable = old.as_ref().is_none_or(|old| old.told_reachable);
        let answered = old.as_ref().is_some_and(|old| old.answered);
        let (last, kept, breaker) = old.map_or_else(|| (None, None, Breaker::default()), |old| (old.last, old.kept, old.breaker));
        let last_place = last.and_then(|last| keys.iter().position(|key| *key == last));
        ProviderEntry {
            policy: provider.clone(),
            schedule: Schedule::new(&weights, last_place),
            keys,
            last,
            kept,
            breaker,
            reach,
            told_reachable,
            answered,
        }
    }

    /// The key's place; a key that nobody knew is taken up as retired.
    fn key_ix(&mut self, id: &KeyId) -> KeyIx {
        if let Some(ix) = self.keys.find(id) {
            return ix;
        }
        let own = AccountKey::Own(id.provider.clone(), id.key.clone());
        let account = self.account_ix(own);
        self.keys.push(KeyEntry {
            id: id.clone(),
            policy: None,
            place: 0,
            health: KeyHealth::default(),
            meter: Meter::default(),
            account,
            learned: None,
            last_used: None,
            last_ok: None,
            trials: Vec::new(),
            provider_limits: ProviderLimits::default(),
            balances: Vec::new(),
            sealed: true,
        })
    }

    fn account_ix(&mut self, key: AccountKey) -> AccountIx {
        self.accounts
            .find(&key)
            .unwrap_or_else(|| self.accounts.push(AccountEntry { key, health: AccountHealth::default(), trial_lease: None, recent: None }))
    }

    /// Joins a key to the account that the configuration names, or that was learned; else it has its own.
    fn link_account(&mut self, ix: KeyIx) {
        let entry = &self.keys[ix];
        let name = entry.policy.as_ref().and_then(|policy| policy.account.clone()).or_else(|| entry.learned.clone());
        let KeyId { provider, key } = entry.id.clone();
        let account = self.account_ix(name.map_or_else(|| AccountKey::Own(provider.clone(), key), |name| AccountKey::Named(provider.clone(), name)));
        let before = std::mem::replace(&mut self.keys[ix].account, account);
        if before != account && matches!(self.accounts[before].key, AccountKey::Own(..)) {
            let own = std::mem::take(&mut self.accounts[before].health);
            self.accounts[account].health.join(&own);
            self.dirty.accounts.extend([before, account]);
        }
    }

    fn global_limits(&self) -> Limits {
        Limits { rate: self.policy.global_rate_limit, cost: self.policy.daily_cost_limit }
    }

    /// Decides an event: applies it and hands it out.
    fn emit(&mut self, event: Event) {
        self.emitted += 1;
        if watch::is_telling(&event) {
            self.watch_soon();
        }
        if frees(&event) {
            self.waiting.note_freed();
        }
        self.apply(&event);
        self.outbox.push(event);
    }

    /// The events since this was last asked, in order. The number of the last is [`Broker::emitted`].
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.outbox)
    }

    /// Events that nobody took yet.
    #[must_use]
    pub fn events_waiting(&self) -> usize {
        self.outbox.len()
    }

    /// The number of the last event.
    #[must_use]
    pub const fn emitted(&self) -> u64 {
        self.emitted
    }

    /// Hands out an event that another part decided, in its place in the order.
    pub fn pass_on(&mut self, event: Event) {
        self.emit(event);
    }

    /// The key's counters, and with them the global ones, are to be kept.
    fn touch(&mut self, key: KeyIx) {
        self.dirty.meters.insert(key);
    }

    /// Ends what is due: leases that ran out, reserves of leases that a crash made unknown, what is kept no longer.
    pub fn tick(&mut self, moment: &Moment<'_>) {
        let now = moment.now;
        self.durable = moment.durable;
        // A wall clock that was set may have brought another day.
        self.waiting.note_freed();
        let due: Vec<u64> = self.leases.due(now.steady).collect();
        for number in due {
            self.emit(Event::Expired { number, at: now });
        }
        let orphans_due = self.orphans_until.is_some_and(|until| until <= now.steady);
        if orphans_due || self.next_sweep <= now.steady {
            self.orphans_until = self.orphans_until.filter(|_| !orphans_due);
            self.next_sweep = now.steady.after(SWEEP_EVERY);
            self.sweep(now);
        }
        if self.next_watch().is_some_and(|at| at <= now.steady) {
            self.look_through(now);
        }
    }

    /// What need not be done at once, and costs time with what is kept.
    fn sweep(&mut self, now: Now) {
        let mut charged = self.global.charge_orphans(now);
        for (uid, meter) in &mut self.callers {
            if meter.charge_orphans(now) {
                charged = true;
                self.dirty.callers.insert(*uid);
            }
        }
        for key in self.keys.all() {
            if self.keys[key].meter.charge_orphans(now) {
                charged = true;
                self.touch(key);
            }
        }
        // A caller of long ago is forgotten: there can be any number of users.
        let dirty = &mut self.dirty.callers;
        self.callers.retain(|uid, meter| {
            let idle = meter.is_idle(now);
            if idle {
                dirty.insert(*uid);
            }
            !idle
        });
        if charged {
            self.dirty.global = true;
            self.watch_soon();
        }
        let forgotten = self.leases.forget(now, self.policy.lease_ttl);
        self.dirty.leases.extend(forgotten);
        self.dirty.sessions.extend(self.sessions.forget(now.steady));
        self.ledger.forget(now.wall.day());
    }

    /// When [`Broker::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Steady> {
        self.leases.first_deadline().into_iter().chain(self.orphans_until).chain(self.waiting.next_deadline()).chain(self.next_watch()).min()
    }

    /// Whose request it is, as it is kept; the caller's unit gets a number where it has none.
    fn origin(&mut self, caller: &Caller) -> Origin {
        let Some(name) = &caller.unit else { return caller.uid.into() };
        let unit = match self.ledger.units().number(name) {
            Numbered::Known(number) => number,
            Numbered::Next(number) => {
                self.emit(Event::Unit { number, name: name.clone() });
                number
            }
            Numbered::Full => 0,
        };
        Origin { uid: caller.uid, unit }
    }

    /// The caller's request was let in.
    fn may_settle(caller: &Caller, lease: &Granted) -> bool {
        caller.may_settle(lease.caller.uid)
    }

    /// How long a lease lasts.
    #[must_use]
    pub const fn lease_ttl(&self) -> Duration {
        self.policy.lease_ttl
    }

    /// The policy that is obeyed.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}
