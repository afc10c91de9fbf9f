//! What is spent an hour, and when each limit will be reached at this rate.

use std::io::{self, Write};
use std::time::Duration;

use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, span_words};
use crate::ctl::stats::asking::{keys_of, statistics};
use crate::id::ProviderName;
use crate::money::Usd;
use crate::protocol::reply::{KeyRow, Reply};
use crate::protocol::request::{self, Op, Split};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

/// What is spent now, and the limits that it leads to.
pub(super) struct Burn {
    /// What is shown, spent in `over`.
    spent: Usd,
    over: Duration,
    limits: Vec<Forecast>,
}

/// A limit, and when it will be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Forecast {
    /// A key, or `all keys together`.
    whose: String,
    today: Usd,
    limit: Usd,
    reached: Reached,
}

/// When a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Already,
    At(Timestamp),
    /// Not before midnight, when the day's cost begins anew.
    NotToday,
}

impl Burn {
    /// Asks for the usage of the last hours, and for the limits.
    pub(super) fn ask(link: &Link, only: Option<&ProviderName>, now: Timestamp) -> Result<Self, Failure> {
        let since = now.hour().before(HOUR * 2);
        let over = now.since(since);
        let recent = statistics(link, &request::Statistics { since: Some(since), by: Some(vec![Split::Key]), ..request::Statistics::default() })?;
        let keys = keys_of(link, only)?;
        let Reply::Status(status) = link.call(Op::Status)? else { return Err(Failure::unexpected("status")) };
        let spent_by = |key: &KeyRow| {
            let row = recent.rows.iter().find(|row| row.provider.as_ref() == Some(&key.provider) && row.key_name.as_ref() == Some(&key.key_name));
            row.map_or(Usd::ZERO, |row| row.cost_usd)
        };
        let mut limits: Vec<Forecast> = keys
            .iter()
            .filter_map(|key| Some(Forecast::of(key.id().to_string(), key.cost_today_usd, key.cost_limit?, spent_by(key), over, now)))
            .collect();
        let global = &status.global;
        limits.extend(
            global
                .cost_limit
                .map(|limit| Forecast::of("all keys together".to_owned(), global.cost_today_usd, limit, recent.total.cost_usd, over, now)),
        );
        limits.sort_by_key(|forecast| forecast.reached);
        let shown = recent.rows.iter().filter(|row| only.is_none() || row.provider.as_ref() == only);
        Ok(Self { spent: shown.map(|row| row.cost_usd).sum(), over, limits })
    }

    /// Tells both.
    pub(super) fn write(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let over = span_words(Duration::from_secs(self.over.as_secs()));
        if self.spent == Usd::ZERO {
            writeln!(out, "{}", style.paint(Tone::Faint, format_args!("nothing was spent in the last {over}")))?;
        } else {
            writeln!(out, "{} is spent an hour, as in the last {over}", per_hour(self.spent, self.over))?;
        }
        let soon: Vec<&Forecast> = self.limits.iter().filter(|forecast| forecast.reached != Reached::NotToday).collect();
        for forecast in &soon {
            let tone = if forecast.reached == Reached::Already { Tone::Bad } else { Tone::Warning };
            writeln!(out, "{}", style.paint(tone, forecast.words()))?;
        }
        if soon.is_empty() && !self.limits.is_empty() {
            writeln!(out, "{}", style.paint(Tone::Faint, "no cost limit is reached at this rate before 00:00 UTC, when the day's cost begins anew"))?;
        }
        Ok(())
    }
}

impl Forecast {
    fn of(whose: String, today: Usd, limit: Usd, spent: Usd, over: Duration, now: Timestamp) -> Self {
        Self { whose, today, limit, reached: reached(today, limit, spent, over, now) }
    }

    fn words(&self) -> String {
        let Self { whose, today, limit, reached } = self;
        match reached {
            Reached::Already => format!("{whose}: the limit of {limit} is reached, until 00:00 UTC"),
            Reached::At(at) => format!("{whose}: the limit of {limit} is reached at {} UTC at this rate ({today} is spent today)", clock(*at)),
            Reached::NotToday => format!("{whose}: the limit of {limit} is not reached today"),
        }
    }
}

/// When `limit` is reached if on `today` follows as much as was `spent` in the time `over` before `now`.
fn reached(today: Usd, limit: Usd, spent: Usd, over: Duration, now: Timestamp) -> Reached {
    if today >= limit {
        return Reached::Already;
    }
    let left = i128::from(limit.less(today).nanos());
    let spent = i128::from(spent.nanos());
    if spent <= 0 {
        return Reached::NotToday;
    }
    let millis = left.saturating_mul(i128::try_from(over.as_millis()).unwrap_or(i128::MAX)) / spent;
    let at = now.after(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)));
    if at.day() == now.day() { Reached::At(at) } else { Reached::NotToday }
}

fn per_hour(spent: Usd, over: Duration) -> Usd {
    let nanos = i128::from(spent.nanos()) * 3_600_000 / i128::try_from(over.as_millis()).unwrap_or(i128::MAX).max(1);
    Usd::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// `18:40`
fn clock(at: Timestamp) -> String {
    let minutes = at.unix_millis().div_euclid(60_000).rem_euclid(1440);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-01-31T12:00:00Z";

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    fn at(today: f64, limit: f64, spent: f64) -> Reached {
        reached(usd(today), usd(limit), usd(spent), HOUR * 2, NOON.parse().unwrap())
    }

    #[test]
    fn a_limit_is_reached_when_the_rate_says_so_and_today() {
        assert_eq!(at(40.0, 50.0, 4.0), Reached::At("2026-01-31T17:00:00Z".parse().unwrap()));
        assert_eq!(at(50.0, 50.0, 0.0), Reached::Already);
        assert_eq!(at(40.0, 50.0, 0.0), Reached::NotToday);
        assert_eq!(at(0.0, 50.0, 4.0), Reached::NotToday);
        assert_eq!(at(0.0, 1_000_000_000.0, 0.000_000_001), Reached::NotToday);
    }

    #[test]
    fn what_is_reached_first_is_told_first() {
        let now = NOON.parse().unwrap();
        let of = |whose: &str, today, limit, spent| Forecast::of(whose.to_owned(), usd(today), usd(limit), usd(spent), HOUR * 2, now);
        let mut limits = vec![of("openai/c", 0.0, 50.0, 0.1), of("openai/a", 40.0, 50.0, 4.0), of("openai/b", 5.0, 5.0, 1.0)];
        limits.sort_by_key(|forecast| forecast.reached);
        let mut out = Vec::new();
        Burn { spent: usd(5.1), over: HOUR * 2, limits }.write(Style::Plain, &mut out).unwrap();
        let expected = "\
$2.55 is spent an hour, as in the last 2h
openai/b: the limit of $5.00 is reached, until 00:00 UTC
openai/a: the limit of $50.00 is reached at 17:00 UTC at this rate ($40.00 is spent today)
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn with_limits_that_are_far_one_line_says_so() {
        let now = NOON.parse().unwrap();
        let limits = vec![Forecast::of("openai/a".to_owned(), Usd::ZERO, usd(50.0), Usd::ZERO, HOUR, now)];
        let mut out = Vec::new();
        Burn { spent: Usd::ZERO, over: Duration::from_secs(9000), limits }.write(Style::Plain, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "nothing was spent in the last 2h 30m\nno cost limit is reached at this rate before 00:00 UTC, when the day's cost begins anew\n"
        );
    }
}
