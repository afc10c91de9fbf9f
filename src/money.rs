//! Money: US dollars in whole nano-dollars. The only file that knows the unit.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

/// The largest amount that is read from a file or a message: one thousand million dollars.
pub const USD_MAX: Usd = Usd(1_000_000_000 * NANOS_PER_DOLLAR);

/// An amount of US dollars, exact to the nano-dollar, never negative when read from outside.
///
/// In JSON and YAML a number of dollars (`0.06`), in binary an `i64` of nano-dollars. Sums saturate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(i64);

/// Why a number is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsd {
    /// Not a finite number.
    #[error("it is not a number of dollars")]
    NotANumber,
    /// Below zero.
    #[error("it is negative")]
    Negative,
    /// Above [`USD_MAX`].
    #[error("it is more than a thousand million dollars")]
    TooLarge,
}

impl Usd {
    /// No money.
    pub const ZERO: Usd = Usd(0);

    /// An amount of whole nano-dollars.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The amount in whole nano-dollars.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The nearest amount to a number of dollars, from zero to [`USD_MAX`].
    ///
    /// # Errors
    /// The number is not finite, negative, or above the maximum.
    pub fn from_dollars(dollars: f64) -> Result<Self, InvalidUsd> {
        if !dollars.is_finite() {
            return Err(InvalidUsd::NotANumber);
        }
        if dollars < 0.0 {
            return Err(InvalidUsd::Negative);
        }
        if dollars > 1e9 {
            return Err(InvalidUsd::TooLarge);
        }
        Ok(Self((dollars * 1e9).round() as i64))
    }

    /// The amount as a number of dollars, for people and for JSON.
    #[must_use]
    pub fn dollars(self) -> f64 {
        let nanos = self.0 as f64;
        nanos / 1e9
    }

    /// The sum, or the largest amount there is.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero where it would be negative.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// The price of `tokens` at `self` dollars a thousand tokens, rounded to the nearest nano-dollar.
    #[must_use]
    pub fn per_thousand(self, tokens: u64) -> Self {
        let nanos = (i128::from(self.0) * i128::from(tokens) + 500) / 1000;
        Self(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// `share` (0.0 to 1.0) of the amount, rounded down.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self((self.dollars() * share * 1e9) as i64)
    }
}

impl fmt::Display for Usd {
    /// `$12.34`; three or more decimals where there is less than ten cents to show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = self.dollars();
        let text = match self.0.unsigned_abs() {
            0 => "$0.00".to_owned(),
            1..1_000_000 => format!("${dollars:.6}"),
            1_000_000..100_000_000 => format!("${dollars:.4}"),
            _ => format!("${dollars:.2}"),
        };
        f.pad(&text)
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.dollars())
    }
}

impl FromStr for Usd {
    type Err = InvalidUsd;
    /// Reads `12.5` or `$12.5`.
    fn from_str(text: &str) -> Result<Self, InvalidUsd> {
        let number = text.strip_prefix('$').unwrap_or(text);
        Self::from_dollars(number.parse().map_err(|_| InvalidUsd::NotANumber)?)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.serialize_f64(self.dollars()) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let nanos = i64::deserialize(deserializer)?;
            // Sums may pass what a single amount may be; what comes from outside is held to that where it is used.
            return if nanos >= 0 { Ok(Self(nanos)) } else { Err(de::Error::custom("not an amount of dollars: it is negative")) };
        }
        let dollars = f64::deserialize(deserializer)?;
        Self::from_dollars(dollars).map_err(|why| de::Error::custom(format_args!("not an amount of dollars: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_of_tokens_is_exact() {
        let input = Usd::from_dollars(0.03).unwrap();
        let output = Usd::from_dollars(0.06).unwrap();
        let cost = input.per_thousand(1000).saturating_add(output.per_thousand(500));
        assert_eq!(cost, Usd::from_dollars(0.06).unwrap());
        assert_eq!(cost.dollars(), 0.06);
        assert_eq!(Usd::from_nanos(1).per_thousand(499), Usd::ZERO);
        assert_eq!(Usd::from_nanos(1).per_thousand(500), Usd::from_nanos(1));
    }

    #[test]
    fn absurd_amounts_are_refused() {
        assert_eq!(Usd::from_dollars(-0.01), Err(InvalidUsd::Negative));
        assert_eq!(Usd::from_dollars(f64::NAN), Err(InvalidUsd::NotANumber));
        assert_eq!(Usd::from_dollars(2e9), Err(InvalidUsd::TooLarge));
        assert_eq!("$1.5".parse(), Ok(Usd::from_nanos(1_500_000_000)));
    }

    #[test]
    fn sums_saturate_and_differences_stop_at_zero() {
        assert_eq!(Usd(i64::MAX).saturating_add(Usd(1)), Usd(i64::MAX));
        assert_eq!(Usd(1).less(Usd(2)), Usd::ZERO);
        assert_eq!(Usd(i64::MAX).per_thousand(u64::MAX), Usd(i64::MAX));
    }

    #[test]
    fn people_read_cents_and_parts_of_them() {
        assert_eq!(Usd::ZERO.to_string(), "$0.00");
        assert_eq!(Usd::from_nanos(150_000_000).to_string(), "$0.15");
        assert_eq!(Usd::from_nanos(45_000_000).to_string(), "$0.0450");
        assert_eq!(Usd::from_nanos(1_000).to_string(), "$0.000001");
        assert_eq!(Usd::from_nanos(12_340_000_000).to_string(), "$12.34");
    }
}
