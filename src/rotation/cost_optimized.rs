//! `cost_optimized`: lowest cost today, settled and reserved; ties as `least_used`.

use crate::rotation::Candidate;

pub(super) fn choose(count: usize, eligible: &mut dyn FnMut(usize) -> Option<Candidate>) -> Option<usize> {
    let candidates = (0..count).filter_map(|key| eligible(key).map(|candidate| (key, candidate)));
    candidates.min_by_key(|(_, candidate)| (candidate.cost_today, candidate.last_hour, candidate.lifetime)).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    #[test]
    fn the_cheapest_today_is_taken_and_ties_go_by_use() {
        let of = |nanos, last_hour| Some(Candidate { weight: 1, last_hour, lifetime: 0, cost_today: Usd::from_nanos(nanos) });
        let keys = [of(5, 0), of(1, 9), of(1, 3)];
        assert_eq!(choose(3, &mut |key| keys[key]), Some(2));
    }
}
