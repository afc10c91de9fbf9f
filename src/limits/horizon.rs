//! A count that a crash can't lose, though the store does not hear of each step of it.

use serde::{Deserialize, Serialize};

/// A count that the store is told of ahead of time, so that a crash can't lose any of it.
///
/// The store holds `ahead`, never below `total`. After a crash counting starts at `ahead`: a few places are lost, none
/// is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Horizon {
    total: u64,
    ahead: u64,
    /// What the store holds for certain; `ahead` is certain once the event `queued` is durable.
    #[serde(skip)]
    certain: u64,
    #[serde(skip)]
    queued: u64,
}

impl Horizon {
    /// What was counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Where it stands.
    #[must_use]
    pub const fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Where to move the horizon so that `amount` more can be counted; none: it is far enough.
    ///
    /// It is moved early, when half of a step is left, so that whoever comes next need not wait for it.
    #[must_use]
    pub const fn needed(&self, amount: u64, step: u64) -> Option<u64> {
        let total = self.total.saturating_add(amount);
        if total.saturating_add(step / 2) >= self.ahead { Some(total.saturating_add(step)) } else { None }
    }

    /// Moves the horizon; event number `queued` tells the store.
    pub const fn move_to(&mut self, ahead: u64, queued: u64, durable: u64) {
        if self.queued <= durable {
            self.certain = self.ahead;
        }
        if ahead > self.ahead {
            self.ahead = ahead;
        }
        self.queued = queued;
    }

    /// Counts `amount`.
    pub const fn count(&mut self, amount: u64) {
        self.total = self.total.saturating_add(amount);
    }

    /// Must an answer wait for the store before it relies on the count?
    #[must_use]
    pub const fn must_wait(&self, durable: u64) -> bool {
        self.total > self.certain && self.queued > durable
    }

    /// After a restart: what may have been counted without the store hearing of it. Counting goes on from there.
    pub const fn settle(&mut self) -> u64 {
        let lost = self.ahead.saturating_sub(self.total);
        self.total = self.total.saturating_add(lost);
        self.ahead = self.total;
        self.certain = self.total;
        self.queued = 0;
        lost
    }

    /// Before a clean stop: the exact count stands.
    pub const fn rest(&mut self) {
        self.ahead = self.total;
    }
}
