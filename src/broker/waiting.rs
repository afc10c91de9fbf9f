//! Selects that wait for a key, served in the order in which they came.
//!
//! Those that ask for the same stand in one line: where its first can't be served nobody behind it can, so that a place
//! that frees costs a look at each line and not at each who waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use crate::access::Caller;
use crate::broker::select::Grant;
use crate::broker::{Broker, Moment};
use crate::id::{KeyName, ModelName, ProviderName, Uid};
use crate::money::Usd;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{KeyRef, Select};
use crate::time::{Now, Steady};

/// Selects that wait at a time.
const WAITING_MAX: usize = 2048;

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

/// All that decides whether a select can be served. Strategy and session decide only by which key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    provider: ProviderName,
    caller: Uid,
    model: Option<ModelName>,
    key_name: Option<KeyName>,
    fallback: Option<bool>,
    estimate: Option<(Option<u64>, Option<u64>, Option<Usd>)>,
    exclude: Vec<KeyRef>,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    caller: Caller,
    request: Select,
    until: Steady,
}

#[derive(Debug, Default)]
struct Line {
    waiters: VecDeque<Waiter>,
    /// When a key may be free for it, as far as time alone frees one.
    free_at: Option<Steady>,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    lines: BTreeMap<Kind, Line>,
    kinds: BTreeMap<Ticket, Kind>,
    ends: BTreeSet<(Steady, Ticket)>,
    /// Served and not taken yet.
    served: Vec<Served>,
}

impl Kind {
    fn of(caller: Caller, request: &Select) -> Self {
        let Select { provider, model, key_name, estimate, fallback, exclude, .. } = request;
        let mut exclude = exclude.clone().unwrap_or_default();
        exclude.sort_unstable();
        Self {
            provider: provider.clone(),
            caller: caller.uid,
            model: model.clone(),
            key_name: key_name.clone(),
            fallback: *fallback,
            estimate: estimate.map(|estimate| (estimate.input_tokens, estimate.output_tokens, estimate.cost_usd)),
            exclude,
        }
    }
}

impl Waiting {
    fn join(&mut self, caller: Caller, request: &Select, now: Steady) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let kind = Kind::of(caller, request);
        let until = now.after(request.wait());
        self.ends.insert((until, ticket));
        self.kinds.insert(ticket, kind.clone());
        self.lines.entry(kind).or_default().waiters.push_back(Waiter { ticket, caller, request: request.clone(), until });
        ticket
    }

    fn leave(&mut self, ticket: Ticket) -> Option<Waiter> {
        let kind = self.kinds.remove(&ticket)?;
        let line = self.lines.get_mut(&kind)?;
        let place = line.waiters.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = line.waiters.remove(place)?;
        if line.waiters.is_empty() {
            self.lines.remove(&kind);
        }
        self.ends.remove(&(waiter.until, ticket));
        Some(waiter)
    }

    /// The first of each line, the earliest on top.
    fn heads(&self) -> BinaryHeap<Reverse<Ticket>> {
        self.lines.values().filter_map(|line| line.waiters.front()).map(|waiter| Reverse(waiter.ticket)).collect()
    }

    fn line(&self, ticket: Ticket) -> Option<&Line> {
        self.lines.get(self.kinds.get(&ticket)?)
    }

    fn set_free_at(&mut self, ticket: Ticket, free_at: Option<Steady>) {
        if let Some(line) = self.kinds.get(&ticket).and_then(|kind| self.lines.get_mut(kind)) {
            line.free_at = free_at;
        }
    }

    /// When time alone may change something.
    pub(super) fn next_deadline(&self) -> Option<Steady> {
        let free = self.lines.values().filter_map(|line| line.free_at).min();
        let end = self.ends.first().map(|(until, _)| *until);
        free.into_iter().chain(end).min()
    }

    /// How many wait for a key of that provider.
    pub(super) fn count(&self, provider: &ProviderName) -> u64 {
        let lines = self.lines.iter().filter(|(kind, _)| kind.provider == *provider);
        lines.map(|(_, line)| line.waiters.len() as u64).sum()
    }
}

impl Broker {
    pub(super) fn join(&mut self, caller: Caller, request: &Select, now: Now) -> Result<Ticket, ErrorReply> {
        if self.waiting.kinds.len() >= WAITING_MAX {
            return Err(ErrorReply::new(ErrorCode::Overloaded, format!("{WAITING_MAX} selects wait already: ask again later, without `wait_ms`")));
        }
        let ticket = self.waiting.join(caller, request, now.steady);
        let free_at = self.query(caller, request, now).ok().and_then(|query| self.first_free(&query));
        self.waiting.set_free_at(ticket, free_at);
        Ok(ticket)
    }

    /// Leases what is free to those who wait, the earliest first, and sends away whose time is up. What came of it is taken
    /// with [`Broker::take_served`]. Costs nothing where nobody waits.
    pub fn serve(&mut self, moment: &mut Moment<'_>) {
        let mut heads = self.waiting.heads();
        while let Some(Reverse(ticket)) = heads.pop() {
            let Some(first) = self.waiting.line(ticket).and_then(|line| line.waiters.front()) else { continue };
            let (caller, request) = (first.caller, first.request.clone());
            match self.serve_one(caller, &request, moment) {
                Ok(result) => {
                    let next = self.waiting.line(ticket).and_then(|line| line.waiters.get(1)).map(|waiter| Reverse(waiter.ticket));
                    heads.extend(next);
                    self.waiting.leave(ticket);
                    self.waiting.served.push(Served { ticket, result });
                }
                Err(free_at) => self.waiting.set_free_at(ticket, free_at),
            }
        }
        while let Some((_, ticket)) = self.waiting.ends.first().copied().filter(|(until, _)| *until <= moment.now.steady) {
            self.send_away(ticket, moment.now);
        }
    }

    /// Serves the first of a line.
    ///
    /// # Errors
    /// Nobody in that line can be served now; the time at which one may be.
    fn serve_one(&mut self, caller: Caller, request: &Select, moment: &mut Moment<'_>) -> Result<Result<Grant, ErrorReply>, Option<Steady>> {
        match self.query(caller, request, moment.now) {
            // What it asked for is gone.
            Err(refusal) => return Ok(Err(refusal)),
            Ok(query) => {
                if self.choose(&query, &moment.rng.clone()).is_none() {
                    return Err(self.first_free(&query));
                }
            }
        }
        match self.try_select(caller, request, moment) {
            // The store can't be written, or there are too many leases: it may pass.
            Err(refusal) if matches!(refusal.code, ErrorCode::Internal | ErrorCode::Overloaded | ErrorCode::NoKeyAvailable) => Err(None),
            result => Ok(result),
        }
    }

    fn send_away(&mut self, ticket: Ticket, now: Now) {
        let Some(waiter) = self.waiting.leave(ticket) else { return };
        let refusal = self.query(waiter.caller, &waiter.request, now).map_or_else(|refusal| refusal, |query| self.refusal(&query));
        self.waiting.served.push(Served { ticket, result: Err(refusal) });
    }

    /// Who waited gave up.
    pub fn leave(&mut self, ticket: Ticket) {
        drop(self.waiting.leave(ticket));
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
