//! What goes wrong in the month, and what comes of a request for it.

use std::time::Duration;

use gollm::Outcome;
use gollm::time::Timestamp;

/// The provider that has an outage.
const FAILING: &str = "anthropic";

/// The key that turns invalid.
pub(crate) const INVALID: (&str, &str) = ("openai", "key-2");

/// The provider whose account runs out of quota.
const SPENT: &str = "gemini";

const HOUR: Duration = Duration::from_secs(3600);

/// A span of time, without its end.
#[derive(Debug, Clone, Copy)]
struct Span(Timestamp, Timestamp);

/// When what goes wrong: of thirty days on the eighth, the twelfth and the nineteenth, of others accordingly.
#[derive(Debug)]
pub(crate) struct Incidents {
    outage: Span,
    invalid: Span,
    spent: Span,
}

/// What a program does with its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It reports this at once, and how long the provider wants to be left alone.
    Reported(Outcome, Option<Duration>),
    /// It reports after the lease ran out.
    Late(Duration),
    /// It forgets it.
    Never,
}

impl Span {
    /// So long from an hour of a day of the month.
    fn of(begin: Timestamp, days: u32, of_thirty: u32, hour: u32, length: Duration) -> Self {
        let day = begin.after(HOUR * (days * of_thirty / 30 * 24)).day();
        let from = day.start().after(HOUR * hour);
        Self(from, from.after(length))
    }

    fn holds(self, at: Timestamp) -> bool {
        self.0 <= at && at < self.1
    }
}

impl Incidents {
    pub(crate) fn of(begin: Timestamp, days: u32) -> Self {
        Self {
            outage: Span::of(begin, days, 8, 14, Duration::from_secs(40 * 60)),
            invalid: Span::of(begin, days, 12, 9, HOUR * 3),
            spent: Span::of(begin, days, 19, 13, HOUR * 11),
        }
    }

    /// Is it the time to set the invalid key anew?
    pub(crate) fn is_mended(&self, at: Timestamp) -> bool {
        at >= self.invalid.1
    }

    /// What comes of a request that is made at this moment.
    pub(crate) fn ending(&self, provider: &str, key: &str, at: Timestamp, rng: &mut fastrand::Rng) -> Ending {
        let told = |outcome| Ending::Reported(outcome, None);
        let (chance, wait) = (rng.u32(..1000), Duration::from_secs(rng.u64(20..90)));
        if provider == FAILING && self.outage.holds(at) {
            return told(if chance < 700 { Outcome::ServerError } else { Outcome::Timeout });
        }
        if (provider, key) == INVALID && self.invalid.holds(at) {
            return told(Outcome::AuthFailed);
        }
        if provider == SPENT && self.spent.holds(at) {
            return told(Outcome::QuotaExhausted);
        }
        match chance {
            0..15 => Ending::Reported(Outcome::RateLimited, Some(wait)),
            15..20 => told(Outcome::ServerError),
            20..24 => told(Outcome::Timeout),
            24..28 => told(Outcome::Overloaded),
            28..34 => told(Outcome::BadRequest),
            34..42 => told(Outcome::Cancelled),
            42..45 => Ending::Late(Duration::from_secs(1200) + wait * 60),
            45..48 => Ending::Never,
            _ => told(Outcome::Ok),
        }
    }
}
