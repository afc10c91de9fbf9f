//! `cost_optimized`: lowest cost today, settled and reserved; ties as `least_used`.

use crate::money::Usd;
use crate::rotation::{Candidate, least_used};

/// The lowest comes first.
pub(super) fn rank(candidate: &Candidate) -> (Usd, (u64, u64)) {
    (candidate.cost_today, least_used::rank(candidate))
}
