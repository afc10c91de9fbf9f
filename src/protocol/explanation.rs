//! Which key a select would be given, and why not each other one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{AccountName, KeyName, ModelName, ProviderName};
use crate::money::Usd;
use crate::protocol::error::Reason;
use crate::protocol::reply::{GlobalStatus, KeyState};
use crate::protocol::request::KeyRef;
use crate::protocol::strategy::Strategy;
use crate::time::Timestamp;

/// The answer to `explain`: what `select` would do now. Nothing was changed, no lease was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The provider that was asked for.
    pub provider: ProviderName,
    /// The model that was asked for.
    pub model: Option<ModelName>,
    /// The key that would be leased; null: none is eligible.
    pub chosen: Option<KeyRef>,
    /// What decides for it.
    pub why: Option<Why>,
    /// Where none is eligible: the time until the first may be; null also when only a person can mend it.
    pub retry_after_ms: Option<u64>,
    /// Every key of the provider and of its fallback chain, in the order in which they are considered.
    pub keys: Vec<ConsideredKey>,
    /// The limits over all keys.
    pub global: GlobalStatus,
}

/// What decides which of the eligible keys is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is the first eligible one in the strategy's order.
    Strategy,
    /// The session has it.
    Session,
    /// With `per: interval`, it is kept for the interval.
    Kept,
    /// The request names it.
    Named,
}

impl Why {
    /// What it means, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Why::Strategy => "first eligible in the strategy's order",
            Why::Session => "the session has it",
            Why::Kept => "kept for the interval",
            Why::Named => "named by the request",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// A key that `select` looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsideredKey {
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// May it be leased now for what was asked?
    pub eligible: bool,
    /// Would it be leased now?
    pub chosen: bool,
    /// The first thing against it.
    pub reason: Option<Reason>,
    /// Until when at most; null also when only a person can mend it.
    pub until: Option<Timestamp>,
    /// It comes back from a set-aside: one lease at a time until one is reported `ok`.
    pub on_trial: bool,
    /// Its state.
    pub state: KeyState,
    /// How its provider's keys are chosen.
    pub strategy: Strategy,
    /// What its provider would be asked for: the model, or after a fallback an equivalent one; null: the caller must choose.
    pub model: Option<ModelName>,
    /// `false`: its provider failed so often that others are preferred.
    pub reachable: bool,
    /// Leases in the last 60 minutes.
    pub requests_last_hour: u64,
    /// How many there may be.
    pub rate_limit: Option<u64>,
    /// Cost settled today (UTC).
    pub cost_today_usd: Usd,
    /// Estimates of its open leases, which count against its limit too.
    pub reserved_usd: Usd,
    /// Dollars in a UTC day.
    pub cost_limit: Option<Usd>,
    /// The account it belongs to, where it is known.
    pub account: Option<AccountName>,
    /// Share in `random` and `round_robin`.
    pub weight: u32,
}
