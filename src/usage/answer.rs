//! A question about usage, answered.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::id::{KeyId, ModelName, ProviderName, Uid};
use crate::protocol::reply::{Statistics, UsageRow};
use crate::protocol::request::{self, Bucket, Split};
use crate::time::{Day, Timestamp};
use crate::usage::Ledger;
use crate::usage::day::{DayUsage, Place, Totals};
use crate::usage::units::Units;

/// Rows that one answer holds, so that it fits into a message.
const ROWS_MAX: usize = 3000;

const HOUR: Duration = Duration::from_secs(3600);

/// More rows than one answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {ROWS_MAX} rows")]
pub struct TooManyRows;

/// What a row of an answer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Group<'a> {
    bucket: Option<Timestamp>,
    key: Option<&'a KeyId>,
    provider: Option<&'a ProviderName>,
    model: Option<&'a ModelName>,
    caller: Option<Uid>,
    unit: Option<u32>,
}

/// The rows of an answer that is being added up.
struct Rows<'a> {
    by: &'a [Split],
    bucket: Option<Bucket>,
    sums: HashMap<Group<'a>, Totals>,
}

impl<'a> Rows<'a> {
    /// The group of usage at `start`, as far as it hangs on the key.
    fn of_key(&self, key: &'a KeyId, start: Timestamp) -> Group<'a> {
        Group {
            bucket: self.bucket.map(|bucket| bucket.start(start)),
            key: self.has(Split::Key).then_some(key),
            provider: self.has(Split::Provider).then_some(&key.provider),
            model: None,
            caller: None,
            unit: None,
        }
    }

    fn of_place(&self, group: Group<'a>, place: &'a Place) -> Group<'a> {
        Group {
            model: place.model.as_ref().filter(|_| self.has(Split::Model)),
            caller: self.has(Split::Caller).then_some(place.caller.uid),
            unit: self.has(Split::Unit).then_some(place.caller.unit),
            ..group
        }
    }

    fn has(&self, split: Split) -> bool {
        self.by.contains(&split)
    }

    fn hangs_on_place(&self) -> bool {
        [Split::Model, Split::Caller, Split::Unit].into_iter().any(|split| self.has(split))
    }

    fn add(&mut self, group: Group<'a>, totals: &Totals) -> Result<(), TooManyRows> {
        if totals.requests == 0 {
            return Ok(());
        }
        if self.sums.len() >= ROWS_MAX && !self.sums.contains_key(&group) {
            return Err(TooManyRows);
        }
        self.sums.entry(group).or_default().join(totals);
        Ok(())
    }

    fn add_day(&mut self, key: &'a KeyId, day: Day, usage: &'a DayUsage) -> Result<(), TooManyRows> {
        let group = self.of_key(key, day.start());
        if self.hangs_on_place() {
            return usage.whole().try_for_each(|(place, totals)| self.add(self.of_place(group, place), totals));
        }
        let mut sum = Totals::default();
        usage.whole().for_each(|(_, totals)| sum.join(totals));
        self.add(group, &sum)
    }

    fn add_hours(&mut self, key: &'a KeyId, day: Day, usage: &'a DayUsage, is_asked: impl Fn(Timestamp) -> bool) -> Result<(), TooManyRows> {
        let start_of = |hour: u8| day.start().after(HOUR * u32::from(hour));
        for (place, hour, totals) in usage.hours().filter(|(_, hour, _)| is_asked(start_of(*hour))) {
            self.add(self.of_place(self.of_key(key, start_of(hour)), place), totals)?;
        }
        Ok(())
    }

    /// In the order of what they are split by, and the sum of all.
    fn finish(self, units: &Units) -> Statistics {
        let is_split = !self.by.is_empty() || self.bucket.is_some();
        let (mut rows, mut total) = (Vec::new(), Totals::default());
        for (group, sums) in self.sums.into_iter().collect::<BTreeMap<_, _>>() {
            total.join(&sums);
            if is_split {
                rows.push(sums.fill(group.row(units)));
            }
        }
        Statistics { rows, total: total.fill(UsageRow::default()) }
    }
}

impl Group<'_> {
    fn row(&self, units: &Units) -> UsageRow {
        UsageRow {
            provider: self.provider.cloned().or_else(|| self.key.map(|key| key.provider.clone())),
            key_name: self.key.map(|key| key.key.clone()),
            model: self.model.cloned(),
            caller: self.caller,
            unit: self.unit.and_then(|unit| units.name(unit).cloned()),
            bucket: self.bucket,
            ..UsageRow::default()
        }
    }
}

impl Ledger {
    /// Answers a question. Rows come in the order of what they are split by.
    ///
    /// # Errors
    /// They are more than one answer holds.
    pub fn answer(&self, question: &request::Statistics, may_see: &dyn Fn(&ProviderName) -> bool) -> Result<Statistics, TooManyRows> {
        let by = question.by.as_deref().unwrap_or(&[Split::Key]);
        let mut rows = Rows { by, bucket: question.bucket, sums: HashMap::new() };
        let is_asked =
            |start: Timestamp| question.since.is_none_or(|since| start.after(HOUR) > since) && question.until.is_none_or(|until| start < until);
        let first = question.since.map_or(Day::from_unix_days(i32::MIN), Timestamp::day);
        let last = question.until.map_or(Day::from_unix_days(i32::MAX), Timestamp::day);
        // A span that ends before it begins has no days.
        let days = (first <= last).then(|| self.days.range(first..=last)).into_iter().flatten();
        for (day, pages) in days {
            // Its last hour is asked for too where its first and the day behind it are.
            let is_whole = question.bucket != Some(Bucket::Hour) && is_asked(day.start()) && is_asked(day.start().after(HOUR * 23));
            for (key, usage) in pages.iter() {
                if question.provider.as_ref().is_some_and(|only| *only != key.provider) || !may_see(&key.provider) {
                    continue;
                }
                if is_whole {
                    rows.add_day(key, *day, usage)?;
                } else {
                    rows.add_hours(key, *day, usage, is_asked)?;
                }
            }
        }
        Ok(rows.finish(self.units()))
    }
}
