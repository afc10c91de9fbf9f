//! Lengths of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time as configuration and commands write it: `30s`, `5m`, `1h30m`, `1d`; from one second to a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// Why a text is no [`Span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpan {
    /// Not numbers with units.
    #[error("write a duration as `30s`, `5m`, `1h30m` or `1d`")]
    Form,
    /// Zero, or longer than a year.
    #[error("a duration is from 1s to 365d")]
    Range,
}

impl Span {
    /// A length of time from one second to 365 days.
    ///
    /// # Errors
    /// It is shorter or longer.
    pub fn new(span: Duration) -> Result<Self, InvalidSpan> {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);
        if bounds.contains(&span) { Ok(Self(span)) } else { Err(InvalidSpan::Range) }
    }

    /// The length of it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Its milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        // A year has some 3 * 10^10 of them.
        self.0.as_secs() * 1000 + self.0.subsec_millis() as u64
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let mut rest = text;
        let mut total = 0_u64;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| InvalidSpan::Form)?;
            let mut letters = tail.chars();
            let unit = match letters.next() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 3_600,
                Some('d') => 86_400,
                _ => return Err(InvalidSpan::Form),
            };
            if unit >= last_unit {
                return Err(InvalidSpan::Form);
            }
            last_unit = unit;
            total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or(InvalidSpan::Range)?;
            rest = letters.as_str();
        }
        if text.is_empty() {
            return Err(InvalidSpan::Form);
        }
        Self::new(Duration::from_secs(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        for (unit, letter) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
            if rest >= unit {
                write!(f, "{}{letter}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_numbers_with_units_in_falling_order() {
        let seconds = |text: &str| text.parse::<Span>().map(|s| s.duration().as_secs());
        assert_eq!(seconds("30s"), Ok(30));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("1d"), Ok(86_400));
        for wrong in ["", "5", "m", "5x", "30m1h", "1h1h", "-1s", "1.5h", "1 h"] {
            assert_eq!(seconds(wrong), Err(InvalidSpan::Form), "{wrong:?}");
        }
        assert_eq!(seconds("0s"), Err(InvalidSpan::Range));
        assert_eq!(seconds("99999999999999999999d"), Err(InvalidSpan::Form));
        assert_eq!(seconds("366d"), Err(InvalidSpan::Range));
        assert_eq!("1h30m".parse::<Span>().unwrap().to_string(), "1h30m");
    }
}
