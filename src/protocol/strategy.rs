//! How a provider's next key is chosen, as it is named everywhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How one key is chosen among those that are eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The next eligible key in configured order, by weight.
    #[default]
    RoundRobin,
    /// Fewest leases in the last hour, then in its lifetime, then configured order.
    LeastUsed,
    /// Lowest cost today, settled and reserved; ties as `least_used`.
    CostOptimized,
    /// At random by weight.
    Random,
    /// The first eligible key in configured order.
    Single,
}

impl Strategy {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Strategy); 5] = [
        ("round_robin", Strategy::RoundRobin),
        ("least_used", Strategy::LeastUsed),
        ("cost_optimized", Strategy::CostOptimized),
        ("random", Strategy::Random),
        ("single", Strategy::Single),
    ];

    /// Its name in configuration and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::RoundRobin => "round_robin",
            Strategy::LeastUsed => "least_used",
            Strategy::CostOptimized => "cost_optimized",
            Strategy::Random => "random",
            Strategy::Single => "single",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is none of {allowed}")]
pub struct UnknownVariant {
    /// What is allowed, as a list for people.
    pub allowed: &'static str,
}

impl FromStr for Strategy {
    type Err = UnknownVariant;
    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, strategy)| *strategy).ok_or(UnknownVariant { allowed: "round_robin, least_used, cost_optimized, random, single" })
    }
}
