//! The trailing hour: leases by the minute in which they were given.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::Steady;

/// A lease given in minute `m` stops counting when minute `m + KEPT_MINUTES` begins: never early, at most a minute late.
const KEPT_MINUTES: u64 = 61;

/// Leases by the minute in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Window {
    minutes: VecDeque<(u64, u64)>,
}

impl Window {
    /// Leases that still count.
    #[must_use]
    pub(super) fn count(&self, now: Steady) -> u64 {
        self.live(now).map(|(_, count)| count).sum()
    }

    fn live(&self, now: Steady) -> impl Iterator<Item = (u64, u64)> + '_ {
        let minute = now.minute();
        self.minutes.iter().copied().filter(move |(given, _)| given + KEPT_MINUTES > minute)
    }

    /// Counts `leases` in the minute of `at`.
    pub(super) fn add(&mut self, at: Steady, leases: u64) {
        let minute = at.minute();
        while self.minutes.front().is_some_and(|(given, _)| given + KEPT_MINUTES <= minute) {
            self.minutes.pop_front();
        }
        match self.minutes.iter_mut().rev().find(|(given, _)| *given <= minute) {
            Some((given, count)) if *given == minute => *count += leases,
            _ => {
                let place = self.minutes.iter().take_while(|(given, _)| *given < minute).count();
                self.minutes.insert(place, (minute, leases));
            }
        }
    }

    /// Takes back one lease that was given at `given`.
    pub(super) fn give_back(&mut self, given: Steady) {
        let minute = given.minute();
        if let Some((_, count)) = self.minutes.iter_mut().find(|(at, _)| *at == minute) {
            *count = count.saturating_sub(1);
        }
    }

    /// When fewer than `limit` leases count.
    pub(super) fn free_at(&self, limit: u64, now: Steady) -> Steady {
        let mut over = self.count(now).saturating_add(1).saturating_sub(limit);
        for (minute, count) in self.live(now) {
            over = over.saturating_sub(count);
            if over == 0 {
                return Steady::of_minute(minute + KEPT_MINUTES);
            }
        }
        Steady::of_minute(now.minute() + KEPT_MINUTES)
    }
}
