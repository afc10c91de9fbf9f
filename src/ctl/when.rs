//! A moment as it is written on the command line.

use std::str::FromStr;

use crate::time::Timestamp;
use crate::time::span::Span;

/// A moment, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Ago(Span),
    At(Timestamp),
}

impl FromStr for When {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = text.parse().map(When::Ago).ok();
        span.or_else(|| text.parse().map(When::At).ok()).ok_or("write 12h or 7d for so long ago, or 2026-01-31, or 2026-01-31T12:00:00Z")
    }
}

impl When {
    /// The moment itself.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            When::Ago(span) => now.before(span.duration()),
            When::At(moment) => moment,
        }
    }
}
