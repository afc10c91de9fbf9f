//! The health of an account: what providers meter, whatever key was used.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::Against;
use crate::health::aside::{Aside, Standing};
use crate::id::{AccountName, KeyName, ProviderName};
use crate::protocol::error::Reason;
use crate::protocol::reply::KeyState;
use crate::time::{Now, Steady};

/// Two rate limits on keys of one account within this time are the account's.
pub const ACCOUNT_SPAN: Duration = Duration::from_secs(10);

/// Names an account: one that keys share, or the one that a key has for itself while nobody knows better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccountKey {
    /// An account with a name.
    Named(ProviderName, AccountName),
    /// A key's own.
    Own(ProviderName, KeyName),
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountKey::Named(provider, account) => write!(f, "account {account} at {provider}"),
            AccountKey::Own(provider, key) => write!(f, "account of {provider}/{key}"),
        }
    }
}

/// Is the account on trial, so that its keys have one lease at a time together?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct OnTrial(pub bool);

/// The health of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountHealth {
    cooling: Aside,
    exhausted: Aside,
}

impl AccountHealth {
    /// Two of its keys were rate limited, the last with a lease that was given at `given`: set aside until `until`.
    pub fn rate_limited(&mut self, until: Steady, given: Steady) {
        self.cooling.count(given);
        self.cooling.put(until);
    }

    /// Its credit or quota is spent: tried again after `interval`, and at the next UTC midnight.
    pub fn quota_exhausted(&mut self, interval: Duration, now: Now) {
        self.exhausted.put(now.steady.after(interval).min(now.midnight()));
    }

    /// A lease of one of its keys that was given at `given` was `ok`.
    pub fn passed(&mut self, given: Steady) {
        self.cooling.passed(given);
        self.exhausted.passed(given);
    }

    /// An admin lifts every set-aside.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The longer of two healths: two accounts turned out to be one.
    pub fn join(&mut self, other: &Self) {
        self.cooling.join(other.cooling);
        self.exhausted.join(other.exhausted);
    }

    /// What is against leasing one of its keys.
    ///
    /// # Errors
    /// The reason, and until when at most.
    pub fn check(&self, now: Steady) -> Result<OnTrial, Against> {
        match (self.exhausted.standing(now), self.cooling.standing(now)) {
            (Standing::Aside(until), _) => Err((Reason::Exhausted, Some(until))),
            (_, Standing::Aside(until)) => Err((Reason::CoolingDown, Some(until))),
            (Standing::Trial, _) | (_, Standing::Trial) => Ok(OnTrial(true)),
            (Standing::Clear, Standing::Clear) => Ok(OnTrial(false)),
        }
    }

    /// The state that it puts its keys in, until when, and why; none: it has nothing against them.
    #[must_use]
    pub fn state(&self, now: Steady) -> Option<(KeyState, Option<Steady>, String)> {
        match (self.exhausted.standing(now), self.cooling.standing(now)) {
            (Standing::Aside(until), _) => Some((KeyState::Exhausted, Some(until), "its account's credit or quota is spent".to_owned())),
            (Standing::Trial, _) => {
                Some((KeyState::Exhausted, None, "its account's quota was spent; one trial lease may find it filled up".to_owned()))
            }
            (_, Standing::Aside(until)) => Some((KeyState::CoolingDown, Some(until), "its account is rate limited".to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn at(seconds: u64) -> Now {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        Now { wall: start, steady: Steady::from_millis(1_000_000_000) }.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_free_probe_does_not_clear_a_spent_quota_and_one_trial_does() {
        let mut account = AccountHealth::default();
        account.quota_exhausted(Duration::from_secs(3600), at(0));
        assert_eq!(account.check(at(1).steady), Err((Reason::Exhausted, Some(at(3600).steady))));
        assert_eq!(account.check(at(3601).steady), Ok(OnTrial(true)));
        account.passed(at(0).steady);
        assert_eq!(account.check(at(3601).steady), Ok(OnTrial(true)));
        account.passed(at(3601).steady);
        assert_eq!(account.check(at(3602).steady), Ok(OnTrial(false)));
    }

    #[test]
    fn a_spent_quota_is_tried_again_at_midnight() {
        let mut account = AccountHealth::default();
        account.quota_exhausted(Duration::from_secs(86_400), at(0));
        assert_eq!(account.check(at(0).steady), Err((Reason::Exhausted, Some(at(0).midnight()))));
    }
}
