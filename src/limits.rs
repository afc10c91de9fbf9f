//! Limits: leases in the trailing hour, cost of the day, and the reserve for what is in flight.

pub mod horizon;
pub mod users;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::horizon::Horizon;
use crate::limits::window::Window;
use crate::money::Usd;
use crate::time::{Day, Now, Steady};

/// A limit that no time gives room in.
pub const NEVER: Steady = Steady::from_millis(u64::MAX);

/// Days whose cost is kept for limits; a clock set back finds the cost of its day again.
const KEPT_DAYS: usize = 8;

/// What may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Leases in any 60 minutes.
    pub rate: Option<u64>,
    /// Dollars in a UTC day.
    pub cost: Option<Usd>,
}

/// A limit that leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// The trailing hour is full until then.
    Rate(Steady),
    /// The day's cost, with what is reserved for open leases, is spent until then.
    Cost(Steady),
}

/// Estimates of leases that a crash made unknown: held until no such lease can be open any more, then charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Orphan {
    amount: Usd,
    until: Steady,
}

/// What was used of one key, or of all together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meter {
    window: Window,
    /// Leases in its lifetime, with the horizon that keeps the window's count.
    places: Horizon,
    days: BTreeMap<Day, Usd>,
    /// Estimates in its lifetime, in nano-dollars, with the horizon that keeps the reserve.
    estimates: Horizon,
    reserved: Usd,
    orphans: Vec<Orphan>,
    /// Belongs to the form in which meters are stored; nothing reads it.
    alerted: Option<Day>,
}

/// How far the horizons of a meter must move before a lease is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moves {
    /// Leases in its lifetime.
    pub places: u64,
    /// Nano-dollars of estimates in its lifetime.
    pub reserved: u64,
}

fn nanos(amount: Usd) -> u64 {
    u64::try_from(amount.nanos()).unwrap_or(0)
}

impl Meter {
    /// Does it hold nothing that a limit counts? Then a new one is as good.
    #[must_use]
    pub fn is_idle(&self, now: Now) -> bool {
        self.requests_last_hour(now) == 0 && self.cost_today(now) == Usd::ZERO && self.reserved() == Usd::ZERO
    }

    /// Leases that count in the trailing hour.
    #[must_use]
    pub fn requests_last_hour(&self, now: Now) -> u64 {
        self.window.count(now.steady)
    }

    /// Leases in its lifetime, those that a crash may have lost included.
    #[must_use]
    pub const fn requests_total(&self) -> u64 {
        self.places.total()
    }

    /// Cost settled on the day of `now`.
    #[must_use]
    pub fn cost_today(&self, now: Now) -> Usd {
        self.days.get(&now.wall.day()).copied().unwrap_or(Usd::ZERO)
    }

    /// Estimates of open leases, those that a crash made unknown included.
    #[must_use]
    pub fn reserved(&self) -> Usd {
        self.orphans.iter().map(|orphan| orphan.amount).sum::<Usd>().saturating_add(self.reserved)
    }

    /// Is there room for one more lease with this estimate?
    ///
    /// # Errors
    /// The limit that leaves none.
    pub fn check(&self, limits: Limits, estimate: Usd, now: Now) -> Result<(), Spent> {
        if let Some(limit) = limits.rate
            && self.window.count(now.steady) >= limit
        {
            return Err(Spent::Rate(if limit == 0 { NEVER } else { self.window.free_at(limit, now.steady) }));
        }
        let Some(limit) = limits.cost else {
            return Ok(());
        };
        if estimate > limit || limit == Usd::ZERO {
            return Err(Spent::Cost(NEVER));
        }
        let used = self.cost_today(now).saturating_add(self.reserved());
        if used >= limit || used.saturating_add(estimate) > limit { Err(Spent::Cost(now.midnight())) } else { Ok(()) }
    }

    /// The horizons to tell the store of before a lease with this estimate is given; none: they are far enough.
    ///
    /// A step is at most a hundredth of the limit, so that a crash costs no more than that, and at least one place.
    #[must_use]
    pub fn moves(&self, limits: Limits, estimate: Usd) -> Option<Moves> {
        let places = limits.rate.and_then(|limit| self.places.needed(1, (limit / 100).max(1)));
        let reserved = limits.cost.filter(|_| estimate > Usd::ZERO).and_then(|limit| self.estimates.needed(nanos(estimate), nanos(limit) / 100));
        if places.is_none() && reserved.is_none() {
            return None;
        }
        Some(Moves { places: places.unwrap_or(self.places.ahead()), reserved: reserved.unwrap_or(self.estimates.ahead()) })
    }

    /// Moves the horizons; event number `queued` tells the store.
    pub const fn move_ahead(&mut self, moves: Moves, queued: u64, durable: u64) {
        self.places.move_to(moves.places, queued, durable);
        self.estimates.move_to(moves.reserved, queued, durable);
    }

    /// Counts a lease.
    pub fn grant(&mut self, estimate: Usd, at: Steady) {
        self.window.add(at, 1);
        self.places.count(1);
        self.estimates.count(nanos(estimate));
        self.reserved = self.reserved.saturating_add(estimate);
    }

    /// Must the answer to the last lease wait for the store?
    #[must_use]
    pub fn must_wait(&self, limits: Limits, durable: u64) -> bool {
        (limits.rate.is_some() && self.places.must_wait(durable)) || (limits.cost.is_some() && self.estimates.must_wait(durable))
    }

    /// Ends the reserve of a lease.
    pub fn release(&mut self, estimate: Usd) {
        self.reserved = self.reserved.less(estimate);
    }

    /// Gives back the place of a lease that was not used.
    pub fn give_back(&mut self, given: Steady) {
        self.window.give_back(given);
    }

    /// Books a cost.
    pub fn charge(&mut self, cost: Usd, day: Day) {
        let today = self.days.entry(day).or_default();
        *today = today.saturating_add(cost);
        while self.days.len() > KEPT_DAYS {
            self.days.pop_first();
        }
    }

    /// Takes back part of a cost that was booked on that day.
    pub fn refund(&mut self, cost: Usd, day: Day) {
        if let Some(booked) = self.days.get_mut(&day) {
            *booked = booked.less(cost);
        }
    }

    /// A lease that a crash made unknown became known by its token: its estimate is reserved, and an orphan's no longer.
    pub fn adopt(&mut self, estimate: Usd) {
        self.reserved = self.reserved.saturating_add(estimate);
        let mut left = estimate;
        for orphan in &mut self.orphans {
            let part = if orphan.amount < left { orphan.amount } else { left };
            orphan.amount = orphan.amount.less(part);
            left = left.less(part);
        }
        self.orphans.retain(|orphan| orphan.amount > Usd::ZERO);
    }

    /// After a restart: counts what may have been given without the store hearing of it. `lease_ttl` bounds how long
    /// such leases can be open.
    pub fn recover(&mut self, now: Now, lease_ttl: Duration) {
        let lost = self.places.settle();
        if lost > 0 {
            self.window.add(now.steady, lost);
        }
        let amount = Usd::from_nanos(i64::try_from(self.estimates.settle()).unwrap_or(i64::MAX));
        if amount > Usd::ZERO {
            self.orphans.push(Orphan { amount, until: now.steady.after(lease_ttl) });
        }
    }

    /// Charges the orphans whose time has come. Returns whether there were any.
    pub fn charge_orphans(&mut self, now: Now) -> bool {
        let due: Usd = self.orphans.iter().filter(|orphan| orphan.until <= now.steady).map(|orphan| orphan.amount).sum();
        self.orphans.retain(|orphan| orphan.until > now.steady);
        if due > Usd::ZERO {
            self.charge(due, now.wall.day());
        }
        due > Usd::ZERO
    }

    /// Before a clean stop: the exact counts stand.
    pub const fn rest(&mut self) {
        self.places.rest();
        self.estimates.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Now {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        Now { wall: start, steady: Steady::from_millis(1_000_000_000) }.after(Duration::from_secs(seconds))
    }

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    const RATE: Limits = Limits { rate: Some(2), cost: None };

    #[test]
    fn a_place_frees_at_most_a_minute_late_and_never_early() {
        let mut meter = Meter::default();
        meter.grant(Usd::ZERO, at(0).steady);
        meter.grant(Usd::ZERO, at(30).steady);
        let Err(Spent::Rate(free)) = meter.check(RATE, Usd::ZERO, at(60)) else { panic!("the limit is spent") };
        assert!(free >= at(3600).steady && free <= at(3660).steady, "{free:?}");
        assert!(meter.check(RATE, Usd::ZERO, at(3599)).is_err());
        assert_eq!(meter.check(RATE, Usd::ZERO, at(3600 + 60)), Ok(()));
    }

    #[test]
    fn a_cancelled_lease_gives_its_place_back() {
        let mut meter = Meter::default();
        meter.grant(usd(1.0), at(0).steady);
        meter.grant(usd(1.0), at(0).steady);
        meter.give_back(at(0).steady);
        meter.release(usd(1.0));
        assert_eq!(meter.check(RATE, Usd::ZERO, at(1)), Ok(()));
        assert_eq!(meter.reserved(), usd(1.0));
    }

    #[test]
    fn what_is_in_flight_counts_against_the_cost_limit() {
        let limits = Limits { rate: None, cost: Some(usd(1.0)) };
        let mut meter = Meter::default();
        meter.grant(usd(0.6), at(0).steady);
        assert!(matches!(meter.check(limits, usd(0.5), at(1)), Err(Spent::Cost(_))));
        assert_eq!(meter.check(limits, usd(0.4), at(1)), Ok(()));
        meter.release(usd(0.6));
        meter.charge(usd(1.0), at(1).wall.day());
        assert_eq!(meter.check(limits, Usd::ZERO, at(2)), Err(Spent::Cost(at(2).midnight())));
        assert_eq!(meter.check(limits, Usd::ZERO, at(13 * 3600)), Ok(()));
    }

    #[test]
    fn a_clock_set_back_finds_the_cost_of_its_day_again() {
        let limits = Limits { rate: None, cost: Some(usd(1.0)) };
        let mut meter = Meter::default();
        meter.charge(usd(1.0), at(0).wall.day());
        meter.charge(usd(0.1), at(86_400).wall.day());
        assert!(meter.check(limits, Usd::ZERO, at(0)).is_err());
    }

    #[test]
    fn unknown_leases_are_held_and_then_charged() {
        let limits = Limits { rate: None, cost: Some(usd(100.0)) };
        let mut meter = Meter::default();
        let moves = meter.moves(limits, usd(0.5)).unwrap();
        meter.move_ahead(moves, 1, 0);
        meter.grant(usd(0.5), at(0).steady);
        meter.recover(at(10), Duration::from_secs(600));
        let held = meter.reserved();
        assert!(held > usd(0.5) && held <= usd(1.5), "{held:?}");
        meter.adopt(usd(0.25));
        assert_eq!(meter.reserved(), held);
        assert!(meter.charge_orphans(at(700)));
        assert_eq!(meter.reserved(), usd(0.75));
        assert_eq!(meter.cost_today(at(700)), held.less(usd(0.75)));
    }

    #[test]
    fn an_answer_waits_only_until_its_horizon_is_durable() {
        let limits = Limits { rate: Some(1000), cost: None };
        let mut meter = Meter::default();
        meter.move_ahead(meter.moves(limits, Usd::ZERO).unwrap(), 1, 0);
        meter.grant(Usd::ZERO, at(0).steady);
        assert!(meter.must_wait(limits, 0));
        assert!(!meter.must_wait(limits, 1));
        assert_eq!(meter.moves(limits, Usd::ZERO), None);
    }

    proptest! {
        #[test]
        fn no_schedule_of_grants_and_crashes_passes_the_limit(
            limit in 1_u64..40,
            steps in proptest::collection::vec((0_u64..400, 0_u8..8, any::<bool>()), 1..300),
        ) {
            let limits = Limits { rate: Some(limit), cost: None };
            let mut meter = Meter::default();
            let mut stored = meter.clone();
            let mut given: Vec<u64> = Vec::new();
            let mut second = 0;
            let mut events = 0;
            for (pause, crash, hears) in steps {
                second += pause;
                if crash == 0 {
                    meter = stored.clone();
                    meter.recover(at(second), Duration::from_secs(600));
                    events = 0;
                }
                let now = at(second);
                if meter.check(limits, Usd::ZERO, now).is_ok() {
                    if let Some(moves) = meter.moves(limits, Usd::ZERO) {
                        events += 1;
                        meter.move_ahead(moves, events, 0);
                        stored.move_ahead(moves, events, 0);
                    }
                    meter.grant(Usd::ZERO, now.steady);
                    if hears {
                        stored = meter.clone();
                    }
                    given.push(second);
                }
                let last_hour = given.iter().filter(|then| **then + 3600 > second).count() as u64;
                prop_assert!(last_hour <= limit, "{last_hour} of {limit}");
            }
        }
    }
}
