//! `round_robin`: the next eligible key in configured order, by weight.

/// Longest cycle of turns; larger weights are scaled down to it.
const CYCLE_MAX: u64 = 4096;

/// A cycle of turns, in which each key comes as often as its weight says, spread evenly; and where the cycle stands.
///
/// A key that is not eligible is passed over. With equal weights each key has one turn in a cycle, so that the counts
/// of keys that stay eligible never differ by more than one.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    turns: Vec<usize>,
    next: usize,
    /// Each key has one turn.
    even: bool,
}

impl Schedule {
    /// The cycle of keys with these weights, in configured order. `last`: the key that had its turn last.
    #[must_use]
    pub fn new(weights: &[u32], last: Option<usize>) -> Self {
        let turns = spread(&scaled(weights));
        let even = turns.len() == weights.len();
        let next = last.and_then(|last| turns.iter().position(|key| *key == last)).map_or(0, |place| place + 1);
        Self { turns, next, even }
    }

    /// The keys in the order of their turns, from the next on; by their weights some come more than once.
    pub(super) fn turns(&self) -> impl Iterator<Item = usize> + '_ {
        let start = self.next % self.turns.len().max(1);
        let (before, after) = self.turns.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).copied()
    }

    /// Has each key one turn?
    pub(super) const fn is_even(&self) -> bool {
        self.even
    }

    /// A key had its turn: the one after it is next.
    pub fn took(&mut self, key: usize) {
        let length = self.turns.len();
        let ahead = (0..length).map(|step| (self.next + step) % length).find(|place| self.turns.get(*place) == Some(&key));
        if let Some(place) = ahead {
            self.next = place + 1;
        }
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The weights without their common factor, scaled down where the cycle would be too long; each at least 1.
fn scaled(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |divisor, weight| greatest_common_divisor(divisor, u64::from((*weight).max(1)))).max(1);
    let plain: Vec<u64> = weights.iter().map(|weight| u64::from((*weight).max(1)) / divisor).collect();
    let total: u64 = plain.iter().sum();
    if total <= CYCLE_MAX || weights.len() as u64 >= CYCLE_MAX {
        return if total <= CYCLE_MAX { plain } else { vec![1; weights.len()] };
    }
    plain.iter().map(|weight| (weight * CYCLE_MAX / total).max(1)).collect()
}

/// Smooth weighted round robin: at each turn every key gains its weight, the richest has the turn and pays the total.
fn spread(weights: &[u64]) -> Vec<usize> {
    if weights.iter().all(|weight| *weight == 1) {
        return (0..weights.len()).collect();
    }
    let total: u64 = weights.iter().sum();
    let mut credit = vec![0_i128; weights.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(weights) {
            *credit += i128::from(*weight);
        }
        let richest = credit.iter().enumerate().rev().max_by_key(|(_, credit)| **credit).map(|(key, _)| key);
        let Some(key) = richest else { break };
        if let Some(credit) = credit.get_mut(key) {
            *credit -= i128::from(total);
        }
        turns.push(key);
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(schedule: &mut Schedule, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let key = schedule.turns().find(|key| eligible(*key))?;
        schedule.took(key);
        Some(key)
    }

    #[test]
    fn keys_take_turns_in_configured_order() {
        let mut schedule = Schedule::new(&[5, 5, 5], None);
        let taken: Vec<_> = (0..6).map(|_| take(&mut schedule, |_| true).unwrap()).collect();
        assert_eq!(taken, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn weights_give_shares_that_are_spread_out() {
        let mut schedule = Schedule::new(&[3, 1], None);
        let taken: Vec<_> = (0..8).map(|_| take(&mut schedule, |_| true).unwrap()).collect();
        assert_eq!(taken.iter().filter(|key| **key == 0).count(), 6);
        assert!(!taken.windows(2).any(|pair| pair == [1, 1]));
    }

    #[test]
    fn no_eligible_key_is_no_key() {
        assert_eq!(take(&mut Schedule::new(&[1, 1], None), |_| false), None);
        assert_eq!(take(&mut Schedule::new(&[], None), |_| true), None);
    }

    #[test]
    fn the_cycle_goes_on_after_the_key_that_was_last() {
        assert_eq!(take(&mut Schedule::new(&[1, 1, 1], Some(1)), |_| true), Some(2));
    }

    #[test]
    fn enormous_weights_keep_the_cycle_short() {
        let schedule = Schedule::new(&[1_000_000, 1, 999_999], None);
        assert!(schedule.turns.len() <= 5000);
        assert!(schedule.turns.contains(&1));
    }

    proptest! {
        #[test]
        fn counts_of_keys_that_stay_eligible_differ_by_at_most_one(
            keys in 2_usize..9,
            weight in 1_u32..9,
            flapping in proptest::collection::vec(any::<u16>(), 1..200),
        ) {
            let mut schedule = Schedule::new(&vec![weight; keys], None);
            let mut counts = vec![0_u32; keys];
            let always = |key: usize| key < 2;
            for bits in flapping {
                if let Some(key) = take(&mut schedule, |key| always(key) || bits & (1 << key) != 0) {
                    counts[key] += 1;
                }
                prop_assert!(counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
            }
        }
    }
}
