//! What a page tells: asked of the daemon, split in each way that it shows.

use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::stats::asking::{first_that_fits, keys_of, split, statistics};
use crate::ctl::users::Users;
use crate::protocol::reply::{GlobalStatus, KeyRow, Reply, Statistics, UsageRow};
use crate::protocol::request::{self, Bucket, Op, Split};
use crate::time::{Day, Timestamp};

/// Days that a plot shows.
const DAYS_MAX: i32 = 400;

/// All that a page shows.
pub(in crate::ctl::stats) struct Report {
    /// From the first day to the last, each of them.
    pub(super) days: Vec<Day>,
    pub(super) made: Timestamp,
    /// By provider and day.
    pub(super) daily: Vec<UsageRow>,
    pub(super) by_provider: Statistics,
    /// Empty where there are too many rows for one answer.
    pub(super) by_key: Vec<UsageRow>,
    pub(super) by_caller: Vec<UsageRow>,
    pub(super) by_model: Vec<UsageRow>,
    pub(super) users: Users,
    pub(super) keys: Vec<KeyRow>,
    pub(super) global: GlobalStatus,
}

impl Report {
    /// Asks for it.
    pub(in crate::ctl::stats) fn ask(link: &Link, request: &request::Statistics, now: Timestamp) -> Result<Self, Failure> {
        let of = |by: &[Split]| {
            let answer = first_that_fits(link, &[split(request, by, None)])?;
            Ok::<_, Failure>(answer.map(|answer| answer.rows).unwrap_or_default())
        };
        let by_day = [split(request, &[Split::Provider], Some(Bucket::Day)), split(request, &[], Some(Bucket::Day))];
        let daily = first_that_fits(link, &by_day)?.map(|answer| answer.rows).unwrap_or_default();
        let by_provider = statistics(link, &split(request, &[Split::Provider], None))?;
        let (by_key, by_caller, by_model) = (of(&[Split::Key])?, of(&[Split::Caller, Split::Unit])?, of(&[Split::Provider, Split::Model])?);
        let keys = keys_of(link, request.provider.as_ref())?;
        let Reply::Status(status) = link.call(Op::Status)? else { return Err(Failure::unexpected("status")) };
        let users = Users::of(by_caller.iter().filter_map(|row| row.caller));
        let first = request.since.or_else(|| daily.iter().filter_map(|row| row.bucket).min()).unwrap_or(now).day();
        let last = request.until.map_or(now, |until| until.min(now)).day().max(first);
        // No daemon keeps more days than a plot has room for.
        let earliest = last.unix_days().saturating_sub(DAYS_MAX - 1);
        let days = (first.unix_days().max(earliest)..=last.unix_days()).map(Day::from_unix_days).collect();
        Ok(Self { days, made: now, daily, by_provider, by_key, by_caller, by_model, users, keys, global: status.global })
    }

    /// `2026-01-01 to 2026-01-31`
    pub(super) fn span_words(&self) -> String {
        match (self.days.first(), self.days.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (Some(day), _) => day.to_string(),
            _ => String::new(),
        }
    }
}
