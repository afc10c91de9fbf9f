//! `least_used`: fewest leases in the last hour, then in its lifetime, then configured order.

use crate::rotation::Candidate;

pub(super) fn choose(count: usize, eligible: &mut dyn FnMut(usize) -> Option<Candidate>) -> Option<usize> {
    let candidates = (0..count).filter_map(|key| eligible(key).map(|candidate| (key, candidate)));
    candidates.min_by_key(|(_, candidate)| (candidate.last_hour, candidate.lifetime)).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    #[test]
    fn ties_go_by_lifetime_and_then_by_order() {
        let of = |last_hour, lifetime| Some(Candidate { weight: 1, last_hour, lifetime, cost_today: Usd::ZERO });
        let mut keys = [of(5, 5), of(2, 9), of(2, 7), of(2, 7)];
        assert_eq!(choose(4, &mut |key| keys[key]), Some(2));
        keys[2] = None;
        assert_eq!(choose(4, &mut |key| keys[key]), Some(3));
    }
}
