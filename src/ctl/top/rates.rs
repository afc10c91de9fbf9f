//! How much happens: leases a second and cost a minute, over the last 60 seconds by the events' own times.

use std::collections::VecDeque;
use std::time::Duration;

use crate::money::Usd;
use crate::time::Timestamp;

/// Seconds that are looked back.
const SECONDS: i64 = 60;

/// At least so many seconds are averaged over, also where it was listened for fewer.
const SPAN_MIN: Duration = Duration::from_secs(5);

/// What happened in the last minute, second by second.
#[derive(Debug)]
pub(super) struct Rates {
    since: Timestamp,
    seconds: VecDeque<Second>,
}

#[derive(Debug, Clone, Copy)]
struct Second {
    second: i64,
    leases: u64,
    cost: Usd,
}

fn second(time: Timestamp) -> i64 {
    time.unix_millis().div_euclid(1000)
}

impl Rates {
    /// Nothing yet, of what is heard from `since` on.
    pub(super) const fn new(since: Timestamp) -> Self {
        Self { since, seconds: VecDeque::new() }
    }

    /// Counts a lease.
    pub(super) fn lease(&mut self, time: Timestamp) {
        self.add(time, 1, Usd::ZERO);
    }

    /// Counts a cost.
    pub(super) fn cost(&mut self, time: Timestamp, cost: Usd) {
        self.add(time, 0, cost);
    }

    fn add(&mut self, time: Timestamp, leases: u64, cost: Usd) {
        let second = second(time);
        // Events come nearly in order: what is looked for stands at the end.
        let after = self.seconds.iter().rposition(|entry| entry.second <= second);
        match after.and_then(|at| self.seconds.get_mut(at)) {
            Some(entry) if entry.second == second => {
                entry.leases += leases;
                entry.cost = entry.cost.saturating_add(cost);
            }
            _ => self.seconds.insert(after.map_or(0, |at| at + 1), Second { second, leases, cost }),
        }
        let newest = self.seconds.back().map_or(second, |entry| entry.second);
        while self.seconds.front().is_some_and(|oldest| oldest.second <= newest - SECONDS) {
            self.seconds.pop_front();
        }
    }

    fn last_minute(&self, now: Timestamp) -> impl Iterator<Item = &Second> {
        let floor = second(now) - SECONDS;
        self.seconds.iter().filter(move |entry| entry.second > floor)
    }

    /// Leases a second, on average; of a listener that came later than a minute ago, since it came.
    #[expect(clippy::cast_precision_loss, reason = "a rate that is shown with one digit")]
    pub(super) fn leases_a_second(&self, now: Timestamp) -> f64 {
        let span = now.since(self.since).clamp(SPAN_MIN, Duration::from_secs(60));
        let leases: u64 = self.last_minute(now).map(|entry| entry.leases).sum();
        leases as f64 / span.as_secs_f64()
    }

    /// What the last minute cost.
    pub(super) fn cost_a_minute(&self, now: Timestamp) -> Usd {
        self.last_minute(now).map(|entry| entry.cost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_millis(1_000_000_000_000 + second * 1000)
    }

    #[test]
    fn a_rate_looks_back_one_minute_by_the_events_own_times() {
        let mut rates = Rates::new(at(-100));
        (0..120).for_each(|second| rates.lease(at(second)));
        rates.lease(at(119));
        assert!((rates.leases_a_second(at(119)) - 61.0 / 60.0).abs() < 1e-9);
        assert!((rates.leases_a_second(at(149)) - 31.0 / 60.0).abs() < 1e-9);
        assert!(rates.leases_a_second(at(500)).abs() < 1e-9);
        assert!(rates.seconds.len() <= 60);
    }

    #[test]
    fn a_listener_that_just_came_averages_over_what_it_heard() {
        let mut rates = Rates::new(at(0));
        (0..20).for_each(|_| rates.lease(at(1)));
        assert!((rates.leases_a_second(at(1)) - 4.0).abs() < 1e-9);
        assert!((rates.leases_a_second(at(10)) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn costs_of_the_minute_are_summed_exactly_and_in_any_order() {
        let mut rates = Rates::new(at(0));
        let cent = Usd::from_nanos(10_000_001);
        for second in [5, 3, 4, 5] {
            rates.cost(at(second), cent);
        }
        assert_eq!(rates.cost_a_minute(at(10)), Usd::from_nanos(40_000_004));
        assert_eq!(rates.cost_a_minute(at(64)), Usd::from_nanos(20_000_002));
    }
}
