//! Strategies: which of the eligible keys is taken.
//!
//! A strategy asks for candidates by their place in configured order and sees only those that are eligible.

pub mod cost_optimized;
pub mod least_used;
pub mod random;
pub mod round_robin;
pub mod single;

use fastrand::Rng;

use crate::money::Usd;
use crate::protocol::strategy::Strategy;
use crate::rotation::round_robin::Schedule;

/// What a strategy may know of an eligible key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Share in `random` and `round_robin`.
    pub weight: u32,
    /// Leases in the trailing hour.
    pub last_hour: u64,
    /// Leases in its lifetime.
    pub lifetime: u64,
    /// Cost today, settled and reserved.
    pub cost_today: Usd,
}

/// Takes one of `count` keys, numbered in configured order; `eligible` tells of a key, or gives none where it can't be
/// leased. None: no key is eligible.
pub fn choose(
    strategy: Strategy,
    schedule: &Schedule,
    count: usize,
    rng: &mut Rng,
    eligible: &mut dyn FnMut(usize) -> Option<Candidate>,
) -> Option<usize> {
    match strategy {
        Strategy::RoundRobin => round_robin::choose(schedule, eligible),
        Strategy::LeastUsed => least_used::choose(count, eligible),
        Strategy::CostOptimized => cost_optimized::choose(count, eligible),
        Strategy::Random => random::choose(count, rng, eligible),
        Strategy::Single => single::choose(count, eligible),
    }
}
