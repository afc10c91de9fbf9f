//! What a provider said is left of its own limits for one key: it keeps the key from being chosen when it would surely be
//! refused, and overrules no limit of the configuration. It is not stored: it is soon out of date.

use std::time::Duration;

use crate::id::ModelName;
use crate::time::{Now, Steady, Timestamp};

/// How long a limit with nothing left keeps a key from being chosen, at most: providers tell when all of it is back, and a part is
/// back before that.
const HELD_MAX: Duration = Duration::from_secs(60);

/// Models that one key remembers.
const MODELS_MAX: usize = 64;

/// What was said last.
#[derive(Debug, Clone, Default)]
pub struct ProviderLimits {
    last: Option<LastSaid>,
    /// Until when nothing is left: for one model, or for every one.
    spent: Vec<(Option<ModelName>, Steady)>,
}

/// What the last answer said is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSaid {
    /// Requests.
    pub requests: Option<u64>,
    /// Tokens.
    pub tokens: Option<u64>,
    /// When it was said.
    pub at: Timestamp,
}

impl ProviderLimits {
    /// An answer to a request for `model` said what is left, and for how long nothing is.
    pub fn said(&mut self, model: Option<&ModelName>, requests: Option<u64>, tokens: Option<u64>, nothing_for: Option<Duration>, now: Now) {
        self.last = Some(LastSaid { requests, tokens, at: now.wall });
        self.spent.retain(|(other, until)| other.as_ref() != model && *until > now.steady);
        if let Some(span) = nothing_for
            && self.spent.len() < MODELS_MAX
        {
            self.spent.push((model.cloned(), now.steady.after(span.min(HELD_MAX))));
        }
    }

    /// Until when nothing is left for `model`.
    #[must_use]
    pub fn spent_until(&self, model: Option<&ModelName>, now: Steady) -> Option<Steady> {
        let concerns = |scope: &Option<ModelName>| scope.is_none() || scope.as_ref() == model;
        self.spent.iter().filter(|(scope, until)| concerns(scope) && *until > now).map(|(_, until)| *until).max()
    }

    /// What the last answer said.
    #[must_use]
    pub const fn last(&self) -> Option<LastSaid> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_for_a_model_until_its_limit_begins_anew() {
        let now = Now { wall: "2026-01-01T12:00:00Z".parse().unwrap(), steady: Steady::from_millis(1_000_000) };
        let model: ModelName = "gpt-4".parse().unwrap();
        let mut limits = ProviderLimits::default();
        limits.said(Some(&model), Some(0), Some(5), Some(Duration::from_secs(20)), now);
        assert_eq!(limits.spent_until(Some(&model), now.steady), Some(now.after(Duration::from_secs(20)).steady));
        assert_eq!(limits.spent_until(None, now.steady), None);
        assert_eq!(limits.spent_until(Some(&model), now.after(Duration::from_secs(20)).steady), None);
        let mut daily = ProviderLimits::default();
        daily.said(None, Some(0), None, Some(Duration::from_secs(86_400)), now);
        assert_eq!(daily.spent_until(None, now.steady), Some(now.after(HELD_MAX).steady));
        // A later answer knows better.
        limits.said(Some(&model), Some(3), Some(5), None, now.after(Duration::from_secs(1)));
        assert_eq!(limits.spent_until(Some(&model), now.steady), None);
        assert_eq!(limits.last().unwrap().requests, Some(3));
        limits.said(None, Some(0), None, Some(Duration::from_secs(20)), now);
        assert!(limits.spent_until(Some(&model), now.steady).is_some());
    }
}
