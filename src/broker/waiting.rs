//! Selects that wait for a key, served in the order in which they came.
//!
//! Those that ask for the same stand in one line: where its first can't be served nobody behind it can, so that a place
//! that frees costs a look at each line and not at each who waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use crate::access::Caller;
use crate::broker::choice::Query;
use crate::broker::select::Grant;
use crate::broker::{Broker, KeyIx, Moment};
use crate::id::{KeyName, ModelName, ProviderName, Uid};
use crate::limits::users::{PerUser, Shares, Taken};
use crate::protocol::error::{ErrorCode, ErrorReply, Reason};
use crate::protocol::request::{KeyRef, Select};
use crate::time::{Now, Steady};

/// Selects that wait at a time.
const WAITING: Shares = Shares { all: 2048, client: 512, admins: 64 };

/// A place in the queue; an earlier one is served before a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What came of a wait.
#[derive(Debug, PartialEq)]
pub struct Served {
    /// Whose.
    pub ticket: Ticket,
    /// The lease, or why there is none: its time is up, or what it asked for is gone.
    pub result: Result<Grant, ErrorReply>,
}

/// All that decides whether a select can be served, but for how much it reserves. Strategy and session decide only by
/// which key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    provider: ProviderName,
    caller: Uid,
    /// Which of its rules it came by.
    rule: String,
    model: Option<ModelName>,
    key_name: Option<KeyName>,
    fallback: Option<bool>,
    reserves: bool,
    exclude: Vec<KeyRef>,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    caller: Caller,
    request: Select,
    until: Steady,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    lines: BTreeMap<Kind, VecDeque<Waiter>>,
    kinds: BTreeMap<Ticket, Kind>,
    /// How many wait of each user.
    of_users: PerUser,
    ends: BTreeSet<(Steady, Ticket)>,
    /// Served and not taken yet.
    served: Vec<Served>,
    /// Something happened since the last look that may free a key.
    freed: bool,
    /// When time alone may free a key for somebody.
    free_at: Option<Steady>,
    held: Held,
    /// Why a key that is free could not be leased at the last look.
    stuck: Option<ErrorReply>,
}

/// Cost room that is kept for those who wait for it, from those who came later: what is reserved now is theirs when it is
/// given back.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: BTreeSet<KeyIx>,
    all: bool,
}

/// Nobody else in a line can be served now, or only who reserves less.
struct Blocked {
    free_at: Option<Steady>,
    only_too_much: bool,
}

impl Kind {
    fn of(caller: &Caller, request: &Select) -> Self {
        let Select { provider, model, key_name, estimate, fallback, exclude, .. } = request;
        let mut exclude = exclude.clone().unwrap_or_default();
        exclude.sort_unstable();
        Self {
            provider: provider.clone(),
            caller: caller.uid,
            rule: caller.grants.rule.clone(),
            model: model.clone(),
            key_name: key_name.clone(),
            fallback: *fallback,
            reserves: estimate.is_some(),
            exclude,
        }
    }
}

impl Held {
    /// May a select that reserves something take room of this key?
    pub(super) fn is_free(&self, key: KeyIx) -> bool {
        !self.keys.contains(&key)
    }

    /// May it take room of the limit over all keys?
    pub(super) const fn is_free_of_all(&self) -> bool {
        !self.all
    }
}

impl Waiting {
    fn join(&mut self, caller: &Caller, request: &Select, now: Steady) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let kind = Kind::of(caller, request);
        let until = now.after(request.wait());
        self.ends.insert((until, ticket));
        self.kinds.insert(ticket, kind.clone());
        self.of_users.add(kind.caller);
        self.lines.entry(kind).or_default().push_back(Waiter { ticket, caller: caller.clone(), request: request.clone(), until });
        ticket
    }

    fn leave(&mut self, ticket: Ticket) -> Option<Waiter> {
        let kind = self.kinds.remove(&ticket)?;
        self.of_users.take(kind.caller);
        let line = self.lines.get_mut(&kind)?;
        let place = line.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = line.remove(place)?;
        if line.is_empty() {
            self.lines.remove(&kind);
        }
        self.ends.remove(&(waiter.until, ticket));
        // What was kept for it is for others now.
        self.freed |= !self.held.keys.is_empty() || self.held.all;
        Some(waiter)
    }

    /// Something happened that may free a key.
    pub(super) const fn note_freed(&mut self) {
        self.freed = true;
    }

    /// Is there anything to look for?
    fn is_due(&self, now: Steady) -> bool {
        !self.kinds.is_empty() && (self.freed || self.free_at.is_some_and(|at| at <= now))
    }

    fn may_be_free_at(&mut self, at: Option<Steady>) {
        self.free_at = self.free_at.into_iter().chain(at).min();
    }

    /// When time alone may change something.
    pub(super) fn next_deadline(&self) -> Option<Steady> {
        let free = self.free_at.filter(|_| !self.kinds.is_empty());
        free.into_iter().chain(self.ends.first().map(|(until, _)| *until)).min()
    }

    /// How many wait for a key of that provider.
    pub(super) fn count(&self, provider: &ProviderName) -> u64 {
        let lines = self.lines.iter().filter(|(kind, _)| kind.provider == *provider);
        lines.map(|(_, line)| line.len() as u64).sum()
    }

    /// What is kept for those who wait.
    pub(super) const fn held(&self) -> &Held {
        &self.held
    }
}

impl Broker {
    pub(super) fn join(&mut self, caller: &Caller, request: &Select, now: Now) -> Result<Ticket, ErrorReply> {
        if let Err(taken) = WAITING.admit(caller.role, self.waiting.kinds.len(), self.waiting.of_users.of(caller.uid)) {
            let whose = match taken {
                Taken::ByAll(most) => format!("{most} selects"),
                Taken::ByClient(most) => format!("{most} selects of uid {}", caller.uid),
            };
            return Err(ErrorReply::new(ErrorCode::Overloaded, format!("{whose} wait already: ask again later, without `wait_ms`")));
        }
        if let Ok(query) = self.query(caller, request, now) {
            let (blocked, _) = self.blocked(&query);
            self.waiting.may_be_free_at(blocked.free_at);
        }
        Ok(self.waiting.join(caller, request, now.steady))
    }

    /// Leases what is free to those who wait, the earliest first, and sends away whose time is up. What came of it is taken
    /// with [`Broker::take_served`]. Costs nothing where nobody waits, and next to nothing where nothing was freed.
    pub fn serve(&mut self, moment: &mut Moment<'_>) {
        if self.waiting.is_due(moment.now.steady) {
            (self.waiting.freed, self.waiting.free_at, self.waiting.stuck) = (false, None, None);
            self.waiting.held = Held::default();
            self.durable = moment.durable;
            self.serve_lines(moment);
        }
        self.send_overdue_away(moment.now);
    }

    /// Sends away whose time is up.
    pub fn send_overdue_away(&mut self, now: Now) {
        while let Some((_, ticket)) = self.waiting.ends.first().copied().filter(|(until, _)| *until <= now.steady) {
            self.send_away(ticket, now);
        }
    }

    /// Goes over those who wait in the order in which they came, and leaves a line where nobody in it can be served.
    fn serve_lines(&mut self, moment: &mut Moment<'_>) {
        let first = |(kind, line): (&Kind, &VecDeque<Waiter>)| Some(Reverse((line.front()?.ticket, kind.clone(), 0)));
        let mut heads: BinaryHeap<Reverse<(Ticket, Kind, usize)>> = self.waiting.lines.iter().filter_map(first).collect();
        while let Some(Reverse((ticket, kind, place))) = heads.pop() {
            let Some(waiter) = self.waiting.lines.get(&kind).and_then(|line| line.get(place)) else { continue };
            let (caller, request) = (waiter.caller.clone(), waiter.request.clone());
            let next = match self.serve_one(&caller, &request, moment) {
                Ok(result) => {
                    self.waiting.leave(ticket);
                    self.waiting.served.push(Served { ticket, result });
                    place
                }
                Err(blocked) => {
                    self.waiting.may_be_free_at(blocked.free_at);
                    if !blocked.only_too_much {
                        continue;
                    }
                    place + 1
                }
            };
            let next = self.waiting.lines.get(&kind).and_then(|line| line.get(next)).map(|waiter| (waiter.ticket, next));
            heads.extend(next.map(|(ticket, place)| Reverse((ticket, kind, place))));
        }
        // What this freed itself, by leaving, was looked at on the way.
        self.waiting.freed = self.waiting.stuck.is_some();
    }

    /// Serves one who waits.
    ///
    /// # Errors
    /// It can't be served now.
    fn serve_one(&mut self, caller: &Caller, request: &Select, moment: &mut Moment<'_>) -> Result<Result<Grant, ErrorReply>, Blocked> {
        let (choice, session) = match self.query(caller, request, moment.now) {
            // What it asked for is gone.
            Err(refusal) => return Ok(Err(refusal)),
            Ok(query) => match self.choose(&query, &moment.rng.fork()) {
                Some(choice) => (choice, query.session),
                None => {
                    let (blocked, held) = self.blocked(&query);
                    self.waiting.held.keys.extend(held.keys);
                    self.waiting.held.all |= held.all;
                    return Err(blocked);
                }
            },
        };
        match self.lease(choice, session, caller, request, moment) {
            // The store can't be written, or there are too many leases: it may pass.
            Err(refusal) => {
                self.waiting.stuck = Some(refusal);
                Err(Blocked { free_at: None, only_too_much: false })
            }
            Ok(grant) => Ok(Ok(grant)),
        }
    }

    /// What is in the way of a query for which no key is eligible, and the cost room that is kept for it: that of keys which
    /// it can have once what is reserved on them is given back.
    fn blocked(&self, query: &Query<'_>) -> (Blocked, Held) {
        let mut blocked = Blocked { free_at: None, only_too_much: false };
        let mut held = Held::default();
        for (key, against) in self.considered(query) {
            let Err((reason, until)) = against else { continue };
            blocked.free_at = blocked.free_at.into_iter().chain(until.filter(|until| *until > query.now.steady)).min();
            let (meter, limit) = match reason {
                Reason::CostLimited => (&self.keys[key].meter, self.keys[key].limits().cost),
                Reason::GlobalCostLimited => (&self.global, self.global_limits().cost),
                Reason::CallerCostLimited => match self.callers.get(&query.caller.uid) {
                    Some(meter) => (meter, query.caller.grants.limits.cost),
                    None => continue,
                },
                _ => continue,
            };
            let estimate = self.estimate(key, query);
            if limit.is_none_or(|limit| meter.cost_today(query.now).saturating_add(estimate) > limit) {
                blocked.only_too_much = true;
            } else if reason == Reason::CostLimited {
                held.keys.insert(key);
            } else if reason == Reason::GlobalCostLimited {
                held.all = true;
            }
        }
        (blocked, held)
    }

    fn send_away(&mut self, ticket: Ticket, now: Now) {
        let Some(waiter) = self.waiting.leave(ticket) else { return };
        let refusal = match (self.query(&waiter.caller, &waiter.request, now), &self.waiting.stuck) {
            (Err(refusal), _) => refusal,
            (Ok(query), Some(stuck)) if self.considered(&query).any(|(_, against)| against.is_ok()) => stuck.clone(),
            (Ok(query), _) => self.refusal(&query),
        };
        self.waiting.served.push(Served { ticket, result: Err(refusal) });
    }

    /// Who waited gave up.
    pub fn leave(&mut self, ticket: Ticket) {
        drop(self.waiting.leave(ticket));
    }

    /// Sends everyone away who waits, with this word: what it may do may be another.
    pub fn dismiss_all(&mut self, why: &ErrorReply) {
        while let Some((_, ticket)) = self.waiting.ends.first().copied() {
            if self.waiting.leave(ticket).is_some() {
                self.waiting.served.push(Served { ticket, result: Err(why.clone()) });
            }
        }
    }

    /// Sends everyone away who waits: the daemon ends.
    pub fn send_all_away(&mut self, now: Now) {
        while let Some((_, ticket)) = self.waiting.ends.first().copied() {
            self.send_away(ticket, now);
        }
    }

    /// Does anybody wait?
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.waiting.kinds.is_empty()
    }

    /// What came of the waits that ended since this was last asked, in the order in which they were served.
    pub fn take_served(&mut self) -> Vec<Served> {
        std::mem::take(&mut self.waiting.served)
    }
}
