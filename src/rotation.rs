//! Strategies: in what order a provider's keys are considered.
//!
//! A strategy ranks keys by their place in configured order; the first in its order that is eligible is taken. Choosing and
//! explaining a choice go by the same ranks.

pub mod cost_optimized;
pub mod least_used;
pub mod random;
pub mod round_robin;

use fastrand::Rng;

use crate::money::Usd;
use crate::protocol::strategy::Strategy;
use crate::rotation::round_robin::Schedule;

/// What a strategy may know of a key.
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

/// The keys of one provider, as a strategy sees them.
pub struct Field<'a> {
    /// How many there are, numbered in configured order.
    pub count: usize,
    /// Whose turn it is.
    pub schedule: &'a Schedule,
    /// What may be known of a key.
    pub candidate: &'a dyn Fn(usize) -> Candidate,
}

/// The first key in the strategy's order that is eligible; none: no key is.
pub fn choose(strategy: Strategy, field: &Field<'_>, rng: &mut Rng, eligible: &dyn Fn(usize) -> bool) -> Option<usize> {
    let best = |key: usize| eligible(key).then(|| (field.candidate)(key));
    match strategy {
        Strategy::RoundRobin => first_in_turn(field, eligible),
        Strategy::LeastUsed => first(field.count, best, least_used::rank),
        Strategy::CostOptimized => first(field.count, best, cost_optimized::rank),
        // Every key draws, eligible or not, so that the order of all keys is the same draw.
        Strategy::Random => {
            let drawn = (0..field.count).map(|key| (random::rank((field.candidate)(key).weight, rng), key));
            drawn.filter(|(_, key)| eligible(*key)).min().map(|(_, key)| key)
        }
        Strategy::Single => (0..field.count).find(|key| eligible(*key)),
    }
}

/// Every key in the order in which the strategy considers them.
#[must_use]
pub fn order(strategy: Strategy, field: &Field<'_>, rng: &mut Rng) -> Vec<usize> {
    let mut keys: Vec<usize> = (0..field.count).collect();
    let candidate = |key: &usize| (field.candidate)(*key);
    match strategy {
        Strategy::RoundRobin => {
            let mut seen = Seen::among(field.count);
            keys = field.schedule.turns().filter(|key| seen.is_new(*key)).collect();
        }
        Strategy::LeastUsed => keys.sort_by_key(|key| least_used::rank(&candidate(key))),
        Strategy::CostOptimized => keys.sort_by_key(|key| cost_optimized::rank(&candidate(key))),
        Strategy::Random => {
            let mut drawn: Vec<(random::Rank, usize)> = keys.iter().map(|key| (random::rank(candidate(key).weight, rng), *key)).collect();
            drawn.sort_unstable();
            keys = drawn.into_iter().map(|(_, key)| key).collect();
        }
        Strategy::Single => {}
    }
    keys
}

/// A key that has many turns is looked at once.
fn first_in_turn(field: &Field<'_>, eligible: &dyn Fn(usize) -> bool) -> Option<usize> {
    if field.schedule.is_even() {
        return field.schedule.turns().find(|key| eligible(*key));
    }
    let mut seen = Seen::among(field.count);
    field.schedule.turns().filter(|key| seen.is_new(*key)).find(|key| eligible(*key))
}

/// Which keys had a turn.
struct Seen(Vec<bool>);

impl Seen {
    fn among(count: usize) -> Self {
        Self(vec![false; count])
    }

    fn is_new(&mut self, key: usize) -> bool {
        self.0.get_mut(key).is_some_and(|seen| !std::mem::replace(seen, true))
    }
}

/// The eligible key of the lowest rank, the first of equals.
fn first<R: Ord>(count: usize, eligible: impl Fn(usize) -> Option<Candidate>, rank: impl Fn(&Candidate) -> R) -> Option<usize> {
    let ranked = (0..count).filter_map(|key| eligible(key).map(|candidate| (key, rank(&candidate))));
    ranked.min_by(|(_, one), (_, other)| one.cmp(other)).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::any, prop_assert_eq, proptest};

    fn candidates(numbers: &[(u32, u64, u64)]) -> Vec<Candidate> {
        let of = |(weight, last_hour, cost): &(u32, u64, u64)| Candidate {
            weight: *weight,
            last_hour: *last_hour,
            lifetime: last_hour * 2,
            cost_today: Usd::from_nanos(i64::try_from(*cost).unwrap()),
        };
        numbers.iter().map(of).collect()
    }

    #[test]
    fn the_cheapest_today_is_taken_and_ties_go_by_use() {
        let keys = candidates(&[(1, 0, 5), (1, 9, 1), (1, 3, 1)]);
        let field = Field { count: 3, schedule: &Schedule::new(&[1, 1, 1], None), candidate: &|key| keys[key] };
        assert_eq!(order(Strategy::CostOptimized, &field, &mut Rng::with_seed(1)), [2, 1, 0]);
    }

    #[test]
    fn the_least_used_is_taken_and_ties_go_by_lifetime_and_then_by_order() {
        let of = |last_hour, lifetime| Candidate { weight: 1, last_hour, lifetime, cost_today: Usd::ZERO };
        let keys = [of(5, 5), of(2, 9), of(2, 7), of(2, 7)];
        let field = Field { count: 4, schedule: &Schedule::new(&[1; 4], None), candidate: &|key| keys[key] };
        assert_eq!(order(Strategy::LeastUsed, &field, &mut Rng::with_seed(1)), [2, 3, 1, 0]);
    }

    #[test]
    fn single_takes_the_first_that_is_eligible() {
        let keys = candidates(&[(1, 9, 9), (1, 0, 0), (1, 0, 0)]);
        let field = Field { count: 3, schedule: &Schedule::new(&[1; 3], None), candidate: &|key| keys[key] };
        assert_eq!(choose(Strategy::Single, &field, &mut Rng::with_seed(1), &|key| key > 0), Some(1));
        assert_eq!(choose(Strategy::Single, &field, &mut Rng::with_seed(1), &|_| false), None);
    }

    proptest! {
        #[test]
        fn the_choice_is_the_first_eligible_key_of_the_order(
            numbers in vec((1_u32..5, 0_u64..4, 0_u64..4), 1..9),
            last in any::<Option<u8>>(),
            bits in any::<u16>(),
            seed in any::<u64>(),
        ) {
            let keys = candidates(&numbers);
            let weights: Vec<u32> = keys.iter().map(|key| key.weight).collect();
            let schedule = Schedule::new(&weights, last.map(|last| usize::from(last) % keys.len()));
            let field = Field { count: keys.len(), schedule: &schedule, candidate: &|key| keys[key] };
            let eligible = |key: usize| bits & (1 << key) != 0;
            for (_, strategy) in Strategy::ALL {
                let order = order(strategy, &field, &mut Rng::with_seed(seed));
                prop_assert_eq!(order.len(), keys.len());
                let first = order.into_iter().find(|key| eligible(*key));
                prop_assert_eq!(choose(strategy, &field, &mut Rng::with_seed(seed), &eligible), first, "{}", strategy);
            }
        }
    }
}
