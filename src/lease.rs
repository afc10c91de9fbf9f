//! Open leases: granted, settled once, ended in order of deadline; and those that ran out, until no report can come.

pub mod settled;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Granted;
use crate::id::Uid;
use crate::lease::settled::Numbers;
use crate::limits::horizon::Horizon;
use crate::limits::users::PerUser;
use crate::time::{Now, Steady, Timestamp};

/// A report after a lease has run out still counts for this long.
pub const LATE: Duration = Duration::from_secs(86_400);

/// Leases that ran out unreported and are remembered for a late report; past it the oldest is forgotten.
const EXPIRED_MAX: usize = 65_536;

/// How far ahead the store is told of the numbers of leases.
const NUMBERS_STEP: u64 = 65_536;

/// A lease that ran out and was charged its estimate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expired {
    /// The lease.
    pub lease: Granted,
    /// When its estimate was booked as usage.
    pub charged: Timestamp,
}

/// What is known of a lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It may be reported.
    Open(Granted),
    /// It ran out; a report replaces its estimate.
    Expired(Expired),
    /// It was reported.
    Settled,
    /// It was given right before a crash and is known from its token alone.
    Lost,
    /// No report can come for it any more.
    Unknown,
}

/// Numbers that may have been given before a crash without the store hearing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Lost {
    from: u64,
    until: u64,
    at: Steady,
}

/// All leases.
#[derive(Debug, Default)]
pub struct Leases {
    open: HashMap<u64, Granted>,
    /// How many of them each user has.
    of_users: PerUser,
    deadlines: BTreeSet<(Steady, u64)>,
    expired: BTreeMap<u64, Expired>,
    settled: Numbers,
    numbers: Horizon,
    lost: Vec<Lost>,
}

/// What of the leases is kept beside the leases themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Book {
    numbers: Horizon,
    lost: Vec<Lost>,
}

impl Leases {
    /// The number of the next lease.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.numbers.total()
    }

    /// Where to move the horizon of the numbers before the next lease; none: it is far enough.
    #[must_use]
    pub const fn numbers_needed(&self) -> Option<u64> {
        self.numbers.needed(1, NUMBERS_STEP)
    }

    /// Moves the horizon of the numbers; event number `queued` tells the store.
    pub const fn move_numbers(&mut self, until: u64, queued: u64, durable: u64) {
        self.numbers.move_to(until, queued, durable);
    }

    /// Must the answer to the last grant wait for the store?
    #[must_use]
    pub const fn must_wait(&self, durable: u64) -> bool {
        self.numbers.must_wait(durable)
    }

    /// Opens a lease.
    pub fn grant(&mut self, lease: Granted) {
        let total = self.numbers.total();
        if lease.number >= total {
            self.numbers.count(lease.number - total + 1);
        }
        if lease.number > total {
            // An earlier start set these apart, and crashed before the store heard of it.
            self.lost.push(Lost { from: total, until: lease.number, at: lease.at.steady });
        }
        self.load_open(lease);
    }

    /// Open leases of a user.
    #[must_use]
    pub fn open_of(&self, uid: Uid) -> usize {
        self.of_users.of(uid)
    }

    /// What is known of lease `number`.
    #[must_use]
    pub fn standing(&self, number: u64) -> Standing {
        if let Some(lease) = self.open.get(&number) {
            return Standing::Open(lease.clone());
        }
        if let Some(expired) = self.expired.get(&number) {
            return Standing::Expired(expired.clone());
        }
        if self.settled.contains(number) {
            return Standing::Settled;
        }
        if self.lost.iter().any(|lost| (lost.from..lost.until).contains(&number)) { Standing::Lost } else { Standing::Unknown }
    }

    /// Is there no lease, or is it not open any more?
    #[must_use]
    pub fn is_none_open(&self, lease: Option<u64>) -> bool {
        lease.is_none_or(|number| !self.open.contains_key(&number))
    }

    /// When an open lease ends.
    #[must_use]
    pub fn expiry(&self, number: u64) -> Option<Steady> {
        self.open.get(&number).map(|lease| lease.expires)
    }

    /// Gives an open lease more time.
    pub fn renew(&mut self, number: u64, expires: Steady) {
        if let Some(lease) = self.open.get_mut(&number) {
            self.deadlines.remove(&(lease.expires, number));
            lease.expires = expires;
            self.deadlines.insert((expires, number));
        }
    }

    /// Settles a lease, open or not. Returns it if it was open.
    pub fn settle(&mut self, number: u64, at: Steady) -> Option<Granted> {
        self.settled.insert(number, at);
        self.expired.remove(&number);
        self.close(number)
    }

    /// Ends an open lease that ran out. Returns it if it was open, and the number of one that is forgotten for it.
    pub fn expire(&mut self, number: u64, charged: Timestamp) -> Option<(Granted, Option<u64>)> {
        let lease = self.close(number)?;
        self.expired.insert(number, Expired { lease: lease.clone(), charged });
        let forgotten = if self.expired.len() > EXPIRED_MAX { self.expired.pop_first() } else { None };
        Some((lease, forgotten.map(|(number, _)| number)))
    }

    fn close(&mut self, number: u64) -> Option<Granted> {
        let lease = self.open.remove(&number)?;
        self.deadlines.remove(&(lease.expires, number));
        self.of_users.take(lease.caller.uid);
        Some(lease)
    }

    /// The numbers of leases whose time is up, in order of deadline.
    pub fn due(&self, now: Steady) -> impl Iterator<Item = u64> + '_ {
        self.deadlines.iter().take_while(move |(expires, _)| *expires <= now).map(|(_, number)| *number)
    }

    /// When the first open lease ends.
    #[must_use]
    pub fn first_deadline(&self) -> Option<Steady> {
        self.deadlines.first().map(|(expires, _)| *expires)
    }

    /// Open leases.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Every open lease.
    pub fn open(&self) -> impl Iterator<Item = &Granted> {
        self.open.values()
    }

    /// Forgets what no report can come for any more; `lease_ttl` bounds how long a lease lasts. Returns the numbers
    /// of forgotten leases.
    pub fn forget(&mut self, now: Now, lease_ttl: Duration) -> Vec<u64> {
        let old: Vec<u64> =
            self.expired.iter().filter(|(_, expired)| expired.lease.expires.after(LATE) <= now.steady).map(|(number, _)| *number).collect();
        for number in &old {
            self.expired.remove(number);
        }
        self.lost.retain(|lost| lost.at.after(LATE).after(lease_ttl) > now.steady);
        self.settled.forget(now.steady, LATE + lease_ttl);
        old
    }

    /// After a restart: numbers that may have been given without the store hearing of it are set apart.
    pub fn recover(&mut self, at: Steady) {
        let from = self.numbers.total();
        if self.numbers.settle() > 0 {
            self.lost.push(Lost { from, until: self.numbers.total(), at });
        }
    }

    /// Before a clean stop: the exact numbers stand.
    pub const fn rest(&mut self) {
        self.numbers.rest();
    }

    /// What is kept beside the leases.
    #[must_use]
    pub fn book(&self) -> Book {
        Book { numbers: self.numbers, lost: self.lost.clone() }
    }

    /// Takes up what was kept beside the leases.
    pub fn load_book(&mut self, book: Book) {
        self.numbers = book.numbers;
        self.lost = book.lost;
    }

    /// Takes up an open lease that was kept.
    pub fn load_open(&mut self, lease: Granted) {
        self.close(lease.number);
        self.deadlines.insert((lease.expires, lease.number));
        self.of_users.add(lease.caller.uid);
        self.open.insert(lease.number, lease);
    }

    /// Takes up a lease that ran out.
    pub fn load_expired(&mut self, expired: Expired) {
        self.expired.insert(expired.lease.number, expired);
    }

    /// A lease that is open, or that ran out.
    #[must_use]
    pub fn kept(&self, number: u64) -> Option<Kept<'_>> {
        self.open.get(&number).map(Kept::Open).or_else(|| self.expired.get(&number).map(Kept::Expired))
    }

    /// The numbers of leases that are open, or ran out.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.open.keys().chain(self.expired.keys()).copied()
    }

    /// The numbers of settled leases.
    pub const fn settled(&mut self) -> &mut Numbers {
        &mut self.settled
    }
}

/// A lease as it is kept.
#[derive(Debug, Serialize)]
pub enum Kept<'a> {
    /// Open.
    Open(&'a Granted),
    /// Ran out.
    Expired(&'a Expired),
}

/// A lease as it was kept.
#[derive(Debug, Deserialize)]
pub enum KeptOwned {
    /// Open.
    Open(Granted),
    /// Ran out.
    Expired(Expired),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Uid;
    use crate::money::Usd;

    fn now(seconds: u64) -> Now {
        Now { wall: Timestamp::from_unix_millis(1_767_268_800_000), steady: Steady::from_millis(1_000_000) }.after(Duration::from_secs(seconds))
    }

    fn lease(number: u64, expires: u64) -> Granted {
        Granted {
            number,
            key: "openai/a".parse().unwrap(),
            caller: Uid(1).into(),
            model: None,
            estimate: Usd::ZERO,
            at: now(0),
            expires: now(expires).steady,
            trial: false,
            in_turn: true,
            strategy: crate::protocol::strategy::Strategy::RoundRobin,
            fallback_from: None,
        }
    }

    #[test]
    fn leases_end_in_order_of_deadline_and_renewal_moves_it() {
        let mut leases = Leases::default();
        leases.grant(lease(0, 30));
        leases.grant(lease(1, 10));
        leases.grant(lease(2, 20));
        leases.renew(1, now(40).steady);
        assert_eq!(leases.due(now(30).steady).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(leases.first_deadline(), Some(now(20).steady));
    }

    #[test]
    fn the_open_leases_of_a_user_are_counted() {
        let mut leases = Leases::default();
        leases.grant(lease(0, 30));
        leases.grant(lease(1, 10));
        // As an event that a record holds already.
        leases.grant(lease(1, 10));
        assert_eq!((leases.open_of(Uid(1)), leases.open_of(Uid(2))), (2, 0));
        leases.settle(0, now(1).steady);
        leases.expire(1, now(10).wall);
        assert_eq!((leases.open_of(Uid(1)), leases.open_count()), (0, 0));
    }

    #[test]
    fn a_lease_is_settled_once() {
        let mut leases = Leases::default();
        leases.grant(lease(0, 30));
        assert!(leases.settle(0, now(1).steady).is_some());
        assert_eq!(leases.standing(0), Standing::Settled);
        assert!(leases.settle(0, now(2).steady).is_none());
        assert_eq!(leases.standing(7), Standing::Unknown);
    }

    #[test]
    fn numbers_lost_in_a_crash_are_never_given_again() {
        let mut leases = Leases::default();
        leases.move_numbers(leases.numbers_needed().unwrap(), 1, 0);
        leases.grant(lease(leases.next_number(), 30));
        leases.recover(now(5).steady);
        let next = leases.next_number();
        assert!(next > 1);
        assert_eq!(leases.standing(next - 1), Standing::Lost);
        assert_eq!(leases.standing(next), Standing::Unknown);
        leases.forget(now(2 * 86_400), Duration::from_secs(600));
        assert_eq!(leases.standing(next - 1), Standing::Unknown);
    }

    #[test]
    fn a_late_report_is_possible_for_a_day() {
        let mut leases = Leases::default();
        leases.grant(lease(0, 30));
        assert!(leases.expire(0, now(30).wall).is_some());
        assert!(matches!(leases.standing(0), Standing::Expired(_)));
        assert_eq!(leases.forget(now(86_400 + 31), Duration::from_secs(600)), [0]);
        assert_eq!(leases.standing(0), Standing::Unknown);
    }
}
