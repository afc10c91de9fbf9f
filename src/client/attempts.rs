//! One call with as many keys as it takes: which failures are worth another key, and how long to pause before it.

use std::fmt;
use std::time::Duration;

use crate::client::error::Error;
use crate::client::lease::Usage;
use crate::protocol::outcome::Outcome;
use crate::protocol::request::{EXCLUDED_MAX, KeyRef, Report, Select};

/// First pause where the provider failed, doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// Longest such pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(8);

/// A request that failed with a leased key: how, for gollm, and the program's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed<E> {
    /// What came of it.
    pub outcome: Outcome,
    /// How long the provider asked to wait, with `rate_limited`.
    pub retry_after: Option<Duration>,
    /// What it used all the same.
    pub usage: Usage,
    /// The program's own error.
    pub error: E,
}

impl<E> Failed<E> {
    /// A request that came to `outcome`.
    #[must_use]
    pub fn new(outcome: Outcome, error: E) -> Self {
        Self { outcome, retry_after: None, usage: Usage::default(), error }
    }

    /// The provider asked to wait so long.
    #[must_use]
    pub fn retry_after(self, wait: Option<Duration>) -> Self {
        Self { retry_after: wait, ..self }
    }

    /// The request used something all the same.
    #[must_use]
    pub fn used(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.outcome, self.error)
    }
}

/// Why a call with a key did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// The request failed, and another key would not have helped, or there was none.
    #[error("the request failed with {}, the last time as {last}", Keys(tried))]
    Failed {
        /// The last failure.
        last: Failed<E>,
        /// The keys that it was tried with, in order.
        tried: Vec<KeyRef>,
    },
    /// There was no key to try it with.
    #[error(transparent)]
    NoKey(#[from] Error),
}

impl<E> CallError<E> {
    /// The program's own error, if it came that far.
    #[must_use]
    pub fn into_error(self) -> Option<E> {
        match self {
            CallError::Failed { last, .. } => Some(last.error),
            CallError::NoKey(_) => None,
        }
    }
}

/// Keys for people.
struct Keys<'a>(&'a [KeyRef]);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, key) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}/{}", key.provider, key.key_name)?;
        }
        Ok(())
    }
}

/// The attempts of one call.
pub(super) struct Attempts<E> {
    select: Select,
    tried: Vec<KeyRef>,
    last: Option<Failed<E>>,
    pauses: u32,
}

impl<E> Attempts<E> {
    pub(super) const fn new(select: Select) -> Self {
        Self { select, tried: Vec::new(), last: None, pauses: 0 }
    }

    /// The select for the next attempt: none of the keys that were tried. Only the first waits; after it what is free is taken.
    pub(super) fn select(&self) -> Select {
        if self.tried.is_empty() {
            return self.select.clone();
        }
        let exclude = self.select.exclude.iter().flatten().chain(&self.tried).cloned().collect();
        Select { exclude: Some(exclude), wait_ms: None, ..self.select.clone() }
    }

    /// There is no key for another attempt: what the last one came to, or why there was not even one.
    pub(super) fn no_key(self, why: Error) -> CallError<E> {
        match self.last {
            Some(last) => CallError::Failed { last, tried: self.tried },
            None => CallError::NoKey(why),
        }
    }

    /// An attempt failed: how long to pause before the next one.
    ///
    /// # Errors
    /// Another one would not help.
    pub(super) fn failed(mut self, key: KeyRef, failed: Failed<E>, jitter: f64) -> Result<(Self, Duration), CallError<E>> {
        let pause = match failed.outcome {
            // Another key may do.
            Outcome::RateLimited | Outcome::QuotaExhausted | Outcome::AuthFailed | Outcome::PermissionDenied => Duration::ZERO,
            // The provider's matter: it is given a moment, and a fallback its chance.
            Outcome::Overloaded | Outcome::ServerError | Outcome::Timeout => {
                self.pauses += 1;
                let doubled = PAUSE_FIRST.saturating_mul(1_u32.checked_shl(self.pauses - 1).unwrap_or(u32::MAX));
                doubled.min(PAUSE_LONGEST).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
            }
            Outcome::Ok | Outcome::BadRequest | Outcome::Cancelled => {
                self.tried.push(key);
                return Err(CallError::Failed { last: failed, tried: self.tried });
            }
        };
        self.tried.push(key);
        if self.tried.len() + self.select.exclude.as_ref().map_or(0, Vec::len) >= EXCLUDED_MAX {
            return Err(CallError::Failed { last: failed, tried: self.tried });
        }
        self.last = Some(failed);
        Ok((self, pause))
    }
}

/// The report of an attempt that failed.
pub(super) fn report_of<E>(failed: &Failed<E>, report: Report) -> Report {
    let Usage { input_tokens, output_tokens, cached_tokens, cost_usd, model } = failed.usage.clone();
    let told = |tokens: u64| Some(tokens).filter(|tokens| *tokens > 0);
    Report {
        model,
        input_tokens: told(input_tokens),
        output_tokens: told(output_tokens),
        cached_tokens: told(cached_tokens),
        cost_usd,
        retry_after_ms: failed.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        ..report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> KeyRef {
        KeyRef { provider: "openai".parse().unwrap(), key_name: name.parse().unwrap() }
    }

    fn attempts() -> Attempts<&'static str> {
        Attempts::new(Select { wait_ms: Some(1000), exclude: Some(vec![key("z")]), ..Select::any("openai".parse().unwrap()) })
    }

    #[test]
    fn a_failure_of_the_key_takes_another_one_at_once() {
        let attempts = attempts();
        assert_eq!(attempts.select().wait_ms, Some(1000));
        let (attempts, pause) = attempts.failed(key("a"), Failed::new(Outcome::RateLimited, "429"), 0.5).unwrap();
        assert_eq!(pause, Duration::ZERO);
        assert_eq!((attempts.select().exclude, attempts.select().wait_ms), (Some(vec![key("z"), key("a")]), None));
        let CallError::Failed { last, tried } = attempts.no_key(Error::Protocol { what: "none" }) else { panic!() };
        assert_eq!((last.error, tried), ("429", vec![key("a")]));
    }

    #[test]
    fn a_failure_of_the_provider_is_given_a_longer_moment_each_time() {
        let mut attempts = attempts();
        let mut pauses = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            let (next, pause) = attempts.failed(key(name), Failed::new(Outcome::Overloaded, "529"), 1.0).unwrap();
            attempts = next;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 8000]);
    }

    #[test]
    fn a_failure_of_the_caller_ends_it() {
        let error = attempts().failed(key("a"), Failed::new(Outcome::BadRequest, "400"), 0.5).err().unwrap();
        assert_eq!(error.to_string(), "the request failed with openai/a, the last time as bad_request: 400");
        assert_eq!(error.into_error(), Some("400"));
        assert!(matches!(attempts().no_key(Error::Protocol { what: "none" }), CallError::NoKey(_)));
    }
}
