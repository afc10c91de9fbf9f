//! `random`: at random by weight.

use fastrand::Rng;

use crate::rotation::Candidate;

/// One pass over the eligible keys: each takes the place of the one before with its share of the weight so far.
pub(super) fn choose(count: usize, rng: &mut Rng, eligible: &mut dyn FnMut(usize) -> Option<Candidate>) -> Option<usize> {
    let mut total = 0_u64;
    let mut chosen = None;
    for key in 0..count {
        let Some(candidate) = eligible(key) else { continue };
        let weight = u64::from(candidate.weight.max(1));
        total += weight;
        if rng.u64(0..total) < weight {
            chosen = Some(key);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    #[test]
    fn shares_follow_the_weights() {
        let mut rng = Rng::with_seed(7);
        let of = |weight| Some(Candidate { weight, last_hour: 0, lifetime: 0, cost_today: Usd::ZERO });
        let keys = [of(1), None, of(3)];
        let mut counts = [0_u32; 3];
        for _ in 0..40_000 {
            counts[choose(3, &mut rng, &mut |key| keys[key]).unwrap()] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((9_400..10_600).contains(&counts[0]), "{counts:?}");
    }
}
