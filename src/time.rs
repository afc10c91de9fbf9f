//! Time: wall time for days, logs and messages; steady time for limits and leases. `time/clock.rs` alone asks the system for either.

pub mod clock;
pub mod shift;
pub mod span;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment of wall time, in Unix milliseconds. RFC 3339 text in JSON, an `i64` of milliseconds in binary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A moment of steady time, in milliseconds: it never goes back, whatever happens to the wall clock, and it
/// goes on from where it stood when the daemon or the machine restarts. It stands near Unix time and says nothing of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Steady(u64);

/// A UTC day, in days since 1970-01-01. `2026-01-31` in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// What the wall clock shows.
    pub wall: Timestamp,
    /// What the steady clock shows.
    pub steady: Steady,
}

/// A pause that doubles: `first` after no failure, twice as much after each further one, `longest` at most. `jitter` (0.0 to 1.0)
/// makes it up to a tenth longer, so that what failed together does not come back together.
#[must_use]
pub fn backoff(first: Duration, longest: Duration, failures: u32, jitter: f64) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(longest);
    doubled.mul_f64(1.0 + jitter.clamp(0.0, 1.0) * 0.1)
}

/// Milliseconds of a duration, saturating.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Timestamp {
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * Self::HOUR;

    /// The moment at `millis` milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// The UTC day of it.
    #[must_use]
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(Self::DAY)).unwrap_or(i32::MAX))
    }

    /// The start of its UTC hour.
    #[must_use]
    pub const fn hour(self) -> Self {
        Self(self.0.div_euclid(Self::HOUR) * Self::HOUR)
    }

    /// The moment `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The moment `span` earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` it is; zero where it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Steady {
    /// The steady moment at `millis`.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Its milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The whole minutes of it, for counting by minute.
    #[must_use]
    pub const fn minute(self) -> u64 {
        self.0 / 60_000
    }

    /// The first moment of a minute.
    #[must_use]
    pub const fn of_minute(minute: u64) -> Self {
        Self(minute.saturating_mul(60_000))
    }

    /// The moment `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// How long after `earlier` it is; zero where it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Now {
    /// What the wall clock will show at `steady`, if nobody sets it.
    #[must_use]
    pub fn wall_at(self, steady: Steady) -> Timestamp {
        if steady >= self.steady { self.wall.after(steady.since(self.steady)) } else { self.wall.before(self.steady.since(steady)) }
    }

    /// What the steady clock will show when the wall clock shows `wall`.
    #[must_use]
    pub fn steady_at(self, wall: Timestamp) -> Steady {
        self.steady.after(wall.since(self.wall))
    }

    /// The steady moment of the next UTC midnight.
    #[must_use]
    pub fn midnight(self) -> Steady {
        self.steady_at(self.wall.day().next().start())
    }

    /// Both clocks `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self { wall: self.wall.after(span), steady: self.steady.after(span) }
    }
}

impl Day {
    /// The day at `days` days after 1970-01-01.
    #[must_use]
    pub const fn from_unix_days(days: i32) -> Self {
        Self(days)
    }

    /// Days after 1970-01-01.
    #[must_use]
    pub const fn unix_days(self) -> i32 {
        self.0
    }

    /// The day after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * Timestamp::DAY)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with milliseconds where there are any: `2026-01-01T00:10:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;
    /// Reads RFC 3339, or a date, which stands for its midnight in UTC.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(moment.as_millisecond()));
        }
        let date = text.parse::<jiff::civil::Date>().map_err(|_| InvalidTime)?;
        let moment = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| InvalidTime)?;
        Ok(Self(moment.timestamp().as_millisecond()))
    }
}

/// A text that is neither an RFC 3339 time nor a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time: write `2026-01-31T12:00:00Z` or `2026-01-31`")]
pub struct InvalidTime;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.start().0) {
            Ok(moment) => write!(f, "{}", moment.strftime("%Y-%m-%d")),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i32(self.0) }
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Timestamp::deserialize(deserializer).map(Timestamp::day);
        }
        i32::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_reads_and_writes_rfc_3339() {
        let at: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        assert_eq!(at.to_string(), "2026-01-01T00:10:00Z");
        assert_eq!(at.day().to_string(), "2026-01-01");
        assert_eq!("2026-01-01".parse::<Timestamp>().unwrap(), at.day().start());
        assert_eq!("2026-01-01T01:10:00+01:00".parse::<Timestamp>().unwrap(), at);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn midnight_is_the_next_utc_day_in_steady_time() {
        let now = Now { wall: "2026-01-01T23:59:00Z".parse().unwrap(), steady: Steady(1_000_000) };
        assert_eq!(now.midnight(), Steady(1_060_000));
        assert_eq!(now.wall_at(Steady(1_060_000)).to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(now.wall_at(Steady(940_000)).to_string(), "2026-01-01T23:58:00Z");
    }
}
