//! `least_used`: fewest leases in the last hour, then in its lifetime, then configured order.

use crate::rotation::Candidate;

/// The lowest comes first.
pub(super) const fn rank(candidate: &Candidate) -> (u64, u64) {
    (candidate.last_hour, candidate.lifetime)
}
