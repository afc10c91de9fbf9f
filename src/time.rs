//! Time: wall time for days, logs and messages; steady time for limits and leases. The only file that asks the system for either.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
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

/// A source of time. Decisions take a [`Now`]; who calls them holds a `Clock`.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Now;
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
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

/// Where the steady clock stood, and on which boot of the machine: kept in the store, so that the clock goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteadyMark {
    /// The steady clock.
    pub steady: Steady,
    /// Milliseconds since the machine was booted, sleep included.
    pub since_boot: u64,
    /// Names the boot; empty where the system gives none.
    pub boot: String,
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    /// Steady milliseconds minus milliseconds since boot.
    offset: i64,
    boot: String,
    last: Mutex<Steady>,
}

impl SystemClock {
    /// Starts the steady clock, from `mark` where an earlier run left one; `last` is the latest steady time that was noted.
    ///
    /// On the same boot it goes on exactly. After a boot, whose length nobody measured, it goes on from the wall clock,
    /// or from the mark where the wall clock stands before it: a clock set back frees nothing.
    #[must_use]
    pub fn start(mark: Option<&SteadyMark>, last: Steady) -> Self {
        let since_boot = since_boot();
        let boot = boot_name();
        let wall = u64::try_from(wall().0).unwrap_or(0);
        let steady = match mark {
            None => wall,
            Some(mark) if mark.boot == boot && !boot.is_empty() && since_boot >= mark.since_boot => {
                mark.steady.0.saturating_add(since_boot - mark.since_boot)
            }
            Some(mark) => wall.max(mark.steady.0),
        }
        .max(last.0);
        Self { offset: signed(steady).saturating_sub(signed(since_boot)), boot, last: Mutex::new(Steady(0)) }
    }

    /// Where the steady clock stands now.
    #[must_use]
    pub fn mark(&self) -> SteadyMark {
        let since_boot = since_boot();
        SteadyMark { steady: self.at(since_boot), since_boot, boot: self.boot.clone() }
    }

    fn at(&self, since_boot: u64) -> Steady {
        Steady(u64::try_from(self.offset.saturating_add(signed(since_boot))).unwrap_or(0))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let read = self.at(since_boot());
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = read.max(*last);
        Now { wall: wall(), steady: *last }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
fn wall() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// `CLOCK_BOOTTIME` (clock_gettime(2)): monotonic, and counts the time that the machine slept.
#[cfg(all(target_os = "linux", feature = "daemon"))]
fn since_boot() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(at.tv_sec).unwrap_or(0) * 1000 + u64::try_from(at.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(not(all(target_os = "linux", feature = "daemon")))]
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
fn since_boot() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    millis(START.get_or_init(std::time::Instant::now).elapsed())
}

/// Names this boot of the machine (random(4), `boot_id`), where the system does.
fn boot_name() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
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
    fn a_wall_clock_set_back_before_a_boot_does_not_set_back_the_steady_clock() {
        let ahead = SteadyMark { steady: Steady(u64::MAX / 4), since_boot: 5, boot: "another boot".to_owned() };
        assert!(SystemClock::start(Some(&ahead), Steady(0)).now().steady >= ahead.steady);
    }

    #[test]
    fn on_the_same_boot_the_steady_clock_goes_on_exactly() {
        let first = SystemClock::start(None, Steady(0));
        let mark = SteadyMark { steady: Steady(1_000), ..first.mark() };
        let second = SystemClock::start(Some(&mark), Steady(0));
        if !mark.boot.is_empty() {
            assert!(second.now().steady < Steady(60_000));
        }
        assert!(second.now().steady >= Steady(1_000));
    }

    #[test]
    fn midnight_is_the_next_utc_day_in_steady_time() {
        let now = Now { wall: "2026-01-01T23:59:00Z".parse().unwrap(), steady: Steady(1_000_000) };
        assert_eq!(now.midnight(), Steady(1_060_000));
        assert_eq!(now.wall_at(Steady(1_060_000)).to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(now.wall_at(Steady(940_000)).to_string(), "2026-01-01T23:58:00Z");
    }
}
