//! `random`: at random by weight.

use fastrand::Rng;

/// The lowest comes first.
pub(super) type Rank = u64;

/// Each key waits for a time that is exponentially distributed, at a rate of its weight; the shortest wait comes first. Among
/// any of the keys, the first then is each of them with its share of their weights (Efraimidis and Spirakis, 2006).
pub(super) fn rank(weight: u32, rng: &mut Rng) -> Rank {
    let wait = -(1.0 - rng.f64()).ln() / f64::from(weight.max(1));
    // The bits of floats that are not negative are in the order of the floats.
    wait.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_weights() {
        let mut rng = Rng::with_seed(7);
        let mut counts = [0_u32; 2];
        for _ in 0..40_000 {
            let (light, heavy) = (rank(1, &mut rng), rank(3, &mut rng));
            counts[usize::from(heavy < light)] += 1;
        }
        assert!((9_400..10_600).contains(&counts[0]), "{counts:?}");
    }
}
