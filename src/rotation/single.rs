//! `single`: the first eligible key in configured order.

use crate::rotation::Candidate;

pub(super) fn choose(count: usize, eligible: &mut dyn FnMut(usize) -> Option<Candidate>) -> Option<usize> {
    (0..count).find(|key| eligible(*key).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    #[test]
    fn the_first_eligible_key_is_taken() {
        let candidate = Candidate { weight: 1, last_hour: 9, lifetime: 9, cost_today: Usd::ZERO };
        assert_eq!(choose(3, &mut |key| (key > 0).then_some(candidate)), Some(1));
        assert_eq!(choose(3, &mut |_| None), None);
    }
}
