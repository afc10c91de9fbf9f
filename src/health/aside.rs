//! A set-aside, and the trial after it: of a key, of a key for one model, of an account.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Steady, backoff};

/// A set-aside, and the trial after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Aside {
    /// Set aside until then; after that on trial, until a lease that was given later is reported `ok`.
    until: Option<Steady>,
    /// Failures in a row, which make the next set-aside longer.
    level: u8,
}

/// How a set-aside stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is against it.
    Clear,
    /// Set aside until then.
    Aside(Steady),
    /// Its set-aside ended: one lease at a time until one is `ok`.
    Trial,
}

impl Aside {
    /// How it stands now.
    #[must_use]
    pub fn standing(self, now: Steady) -> Standing {
        match self.until {
            None => Standing::Clear,
            Some(until) if until > now => Standing::Aside(until),
            Some(_) => Standing::Trial,
        }
    }

    /// Sets aside until `until`, unless it is set aside for longer.
    pub(super) fn put(&mut self, until: Steady) {
        self.until = Some(self.until.map_or(until, |longer| longer.max(until)));
    }

    /// Counts a failure of a lease that was given at `given`. Those that were out together when the first one failed are
    /// one failure: only one that was given after the last set-aside counts anew.
    pub(super) fn count(&mut self, given: Steady) {
        if self.until.is_none_or(|until| given >= until) {
            self.level = self.level.saturating_add(1).min(32);
        }
    }

    /// `base`, doubled for each failure in a row after the first, at most `longest`.
    pub(super) fn doubled(self, base: Duration, longest: Duration) -> Duration {
        backoff(base, longest, u32::from(self.level.saturating_sub(1)), 0.0)
    }

    /// A lease that was given at `given` was `ok`.
    pub(super) fn passed(&mut self, given: Steady) {
        self.level = 0;
        if self.until.is_some_and(|until| until <= given) {
            self.until = None;
        }
    }

    /// Lasts as long as the longer of two.
    pub(super) fn join(&mut self, other: Self) {
        self.until = self.until.max(other.until);
    }
}
