//! The ledger: usage by hour, key, model and caller; folds what was settled and answers questions.

pub mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Usage;
use crate::id::{KeyId, ModelName, Origin, ProviderName, Uid, UnitName};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Statistics, UsageRow};
use crate::protocol::request::{self, Bucket, Split};
use crate::time::{Day, Timestamp};
use crate::usage::units::Units;

/// Days that the ledger keeps.
const KEPT_DAYS: i32 = 400;

/// Models and callers that one key keeps apart on one day.
const PLACES_MAX: usize = 256;

/// Stands for all further models of that day.
const OTHER_MODELS: &str = "(other)";

/// Rows that one answer holds, so that it fits into a message.
const ROWS_MAX: usize = 3000;

/// More rows than one answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {ROWS_MAX} rows")]
pub struct TooManyRows;

/// What hours are kept by, within their day and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    model: Option<ModelName>,
    caller: Origin,
}

/// Sums of one row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Totals {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    cost: Usd,
    unpriced: u64,
    errors: Vec<(Outcome, u64)>,
}

/// The usage of one key on one day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayUsage {
    /// The hours, 0 to 23, in which anything was used.
    hours: BTreeMap<Place, BTreeMap<u8, Totals>>,
}

/// The day and the key that a record of the ledger is for.
pub type Page = (Day, KeyId);

/// One request to book.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a KeyId,
    /// The model that answered.
    pub model: Option<&'a ModelName>,
    /// Who made the request, and where.
    pub caller: Origin,
    /// What came of it.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// The time of the hour it belongs to.
    pub at: Timestamp,
}

/// All usage there is.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pages: BTreeMap<Page, Arc<DayUsage>>,
    changed: BTreeSet<Page>,
    units: Arc<Units>,
}

impl Totals {
    fn add(&mut self, outcome: Outcome, usage: &Usage) {
        self.requests += 1;
        self.input_tokens = self.input_tokens.saturating_add(usage.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(usage.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(usage.cached_tokens);
        self.cost = self.cost.saturating_add(usage.cost);
        self.unpriced += u64::from(usage.unpriced);
        if outcome != Outcome::Ok {
            match self.errors.iter_mut().find(|(seen, _)| *seen == outcome) {
                Some((_, count)) => *count += 1,
                None => self.errors.push((outcome, 1)),
            }
        }
    }

    /// Takes back a lease that was charged its estimate when it ran out.
    fn take_back(&mut self, estimate: Usd) {
        self.requests = self.requests.saturating_sub(1);
        self.cost = self.cost.less(estimate);
    }

    fn add_to(&self, row: &mut UsageRow) {
        row.requests += self.requests;
        row.input_tokens = row.input_tokens.saturating_add(self.input_tokens);
        row.output_tokens = row.output_tokens.saturating_add(self.output_tokens);
        row.cached_tokens = row.cached_tokens.saturating_add(self.cached_tokens);
        row.cost_usd = row.cost_usd.saturating_add(self.cost);
        row.unpriced += self.unpriced;
        for (outcome, count) in &self.errors {
            *row.errors.entry(*outcome).or_default() += count;
        }
    }
}

impl DayUsage {
    /// The place of a model and caller; past [`PLACES_MAX`] new models share one, so that no caller makes a page grow
    /// without bound.
    fn place(&self, model: Option<&ModelName>, caller: Origin) -> Place {
        let place = Place { model: model.cloned(), caller };
        if self.hours.len() < PLACES_MAX || self.hours.contains_key(&place) {
            return place;
        }
        Place { model: OTHER_MODELS.parse().ok(), caller }
    }

    fn rows(&self) -> impl Iterator<Item = (&Place, u8, &Totals)> {
        self.hours.iter().flat_map(|(place, hours)| hours.iter().map(move |(hour, totals)| (place, *hour, totals)))
    }
}

fn hour_of(at: Timestamp) -> u8 {
    let since_midnight = at.unix_millis() - at.day().start().unix_millis();
    u8::try_from(since_midnight / 3_600_000).unwrap_or(0)
}

impl Ledger {
    fn row(&mut self, key: &KeyId, model: Option<&ModelName>, caller: Origin, at: Timestamp) -> &mut Totals {
        let page = (at.day(), key.clone());
        self.changed.insert(page.clone());
        let page = Arc::make_mut(self.pages.entry(page).or_default());
        let place = page.place(model, caller);
        page.hours.entry(place).or_default().entry(hour_of(at)).or_default()
    }

    /// Books a request.
    pub fn book(&mut self, entry: &Entry<'_>) {
        self.row(entry.key, entry.model, entry.caller, entry.at).add(entry.outcome, &entry.usage);
    }

    /// Takes back a lease that was booked with its estimate, and as [`Outcome::Ok`], at `at`.
    pub fn take_back(&mut self, key: &KeyId, model: Option<&ModelName>, caller: Origin, estimate: Usd, at: Timestamp) {
        self.row(key, model, caller, at).take_back(estimate);
    }

    /// Answers a question. Rows come in the order of what they are split by.
    ///
    /// # Errors
    /// They are more than one answer holds.
    pub fn answer(&self, question: &request::Statistics, may_see: &dyn Fn(&ProviderName) -> bool) -> Result<Statistics, TooManyRows> {
        let by = question.by.as_deref().unwrap_or(&[Split::Key]);
        let mut rows: BTreeMap<Group, UsageRow> = BTreeMap::new();
        let mut total = UsageRow::default();
        for ((day, key), usage) in &self.pages {
            if question.provider.as_ref().is_some_and(|only| *only != key.provider) || !may_see(&key.provider) {
                continue;
            }
            for (place, hour, totals) in usage.rows() {
                let start = day.start().after(std::time::Duration::from_secs(u64::from(hour) * 3600));
                let end = start.after(std::time::Duration::from_secs(3600));
                if question.since.is_some_and(|since| end <= since) || question.until.is_some_and(|until| start >= until) || totals.requests == 0 {
                    continue;
                }
                totals.add_to(&mut total);
                if by.is_empty() && question.bucket.is_none() {
                    continue;
                }
                let group = Group::of(by, question.bucket, key, place, start);
                if rows.len() >= ROWS_MAX && !rows.contains_key(&group) {
                    return Err(TooManyRows);
                }
                let row = rows.entry(group).or_insert_with_key(|group| group.row(|unit| self.units.name(unit).cloned()));
                totals.add_to(row);
            }
        }
        Ok(Statistics { rows: rows.into_values().collect(), total })
    }

    /// Requests of that day without a known price.
    #[must_use]
    pub fn unpriced_on(&self, day: Day) -> u64 {
        self.pages
            .iter()
            .rev()
            .take_while(|((of, _), _)| *of >= day)
            .filter(|((of, _), _)| *of == day)
            .flat_map(|(_, usage)| usage.rows())
            .map(|(_, _, totals)| totals.unpriced)
            .sum()
    }

    /// Forgets days that are kept no longer.
    pub fn forget(&mut self, today: Day) {
        let oldest = Day::from_unix_days(today.unix_days().saturating_sub(KEPT_DAYS));
        // A clock that was wrong for a moment must not take the history with it: so many days are kept in any case.
        let mut days: Vec<Day> = self.pages.keys().map(|(day, _)| *day).collect();
        days.dedup();
        let kept = usize::try_from(KEPT_DAYS).unwrap_or(0);
        let newest = days.len().checked_sub(kept).and_then(|surplus| days.get(surplus)).copied();
        let Some(oldest) = newest.map(|newest| newest.min(oldest)) else { return };
        while let Some((page, _)) = self.pages.first_key_value().filter(|((day, _), _)| *day < oldest) {
            let page = page.clone();
            self.pages.remove(&page);
            self.changed.insert(page);
        }
    }

    /// The pages that changed since this was last asked; none where one was forgotten.
    pub fn take_changed(&mut self) -> Vec<(Page, Option<Arc<DayUsage>>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|page| (page.clone(), self.pages.get(&page).cloned())).collect()
    }

    /// Every page counts as changed.
    pub fn all_changed(&mut self) {
        self.changed.extend(self.pages.keys().cloned());
    }

    /// The units that callers were in.
    #[must_use]
    pub const fn units(&self) -> &Arc<Units> {
        &self.units
    }

    /// Gives a unit its number.
    pub fn put_unit(&mut self, number: u32, name: UnitName) {
        Arc::make_mut(&mut self.units).put(number, name);
    }

    /// Takes up a page that was kept.
    pub fn load(&mut self, page: Page, usage: DayUsage) {
        self.pages.insert(page, Arc::new(usage));
    }
}

/// What a row of an answer stands for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    bucket: Option<Timestamp>,
    key: Option<KeyId>,
    provider: Option<crate::id::ProviderName>,
    model: Option<ModelName>,
    caller: Option<Uid>,
    unit: Option<u32>,
}

impl Group {
    fn of(by: &[Split], bucket: Option<Bucket>, key: &KeyId, place: &Place, start: Timestamp) -> Self {
        Self {
            bucket: bucket.map(|bucket| if bucket == Bucket::Hour { start } else { start.day().start() }),
            key: by.contains(&Split::Key).then(|| key.clone()),
            provider: by.contains(&Split::Provider).then(|| key.provider.clone()),
            model: place.model.clone().filter(|_| by.contains(&Split::Model)),
            caller: by.contains(&Split::Caller).then_some(place.caller.uid),
            unit: by.contains(&Split::Unit).then_some(place.caller.unit),
        }
    }

    fn row(&self, unit: impl Fn(u32) -> Option<UnitName>) -> UsageRow {
        UsageRow {
            provider: self.provider.clone().or_else(|| self.key.as_ref().map(|key| key.provider.clone())),
            key_name: self.key.as_ref().map(|key| key.key.clone()),
            model: self.model.clone(),
            caller: self.caller,
            unit: self.unit.and_then(unit),
            bucket: self.bucket,
            ..UsageRow::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(ledger: &mut Ledger, key: &str, model: &str, caller: u32, at: &str, outcome: Outcome) {
        let model: ModelName = model.parse().unwrap();
        let usage = Usage { input_tokens: 10, output_tokens: 5, cached_tokens: 1, cost: Usd::from_nanos(100), unpriced: false };
        ledger.book(&Entry { key: &key.parse().unwrap(), model: Some(&model), caller: Uid(caller).into(), outcome, usage, at: at.parse().unwrap() });
    }

    fn sample() -> Ledger {
        let mut ledger = Ledger::default();
        book(&mut ledger, "openai/a", "gpt-4", 1, "2026-01-01T10:30:00Z", Outcome::Ok);
        book(&mut ledger, "openai/a", "gpt-4", 2, "2026-01-01T11:30:00Z", Outcome::RateLimited);
        book(&mut ledger, "openai/b", "gpt-5", 1, "2026-01-02T10:30:00Z", Outcome::Ok);
        book(&mut ledger, "gemini/a", "flash", 1, "2026-01-02T10:31:00Z", Outcome::Ok);
        ledger
    }

    #[test]
    fn rows_are_split_by_what_was_asked_and_sum_to_the_total() {
        let ledger = sample();
        let by_key = ledger.answer(&request::Statistics::default(), &|_| true).unwrap();
        assert_eq!(by_key.rows.len(), 3);
        assert_eq!(by_key.total.requests, 4);
        assert_eq!(by_key.total.errors.get(&Outcome::RateLimited), Some(&1));
        let by = |splits: &[Split]| request::Statistics { by: Some(splits.to_vec()), ..Default::default() };
        assert_eq!(ledger.answer(&by(&[Split::Provider]), &|_| true).unwrap().rows.len(), 2);
        assert_eq!(ledger.answer(&by(&[Split::Caller]), &|_| true).unwrap().rows.len(), 2);
        assert_eq!(ledger.answer(&by(&[Split::Model, Split::Caller]), &|_| true).unwrap().rows.len(), 4);
        let none = ledger.answer(&by(&[]), &|_| true).unwrap();
        assert!(none.rows.is_empty());
        assert_eq!(none.total.cost_usd, Usd::from_nanos(400));
    }

    #[test]
    fn time_is_cut_by_the_hour() {
        let ledger = sample();
        let since = request::Statistics { since: Some("2026-01-01T11:15:00Z".parse().unwrap()), ..Default::default() };
        assert_eq!(ledger.answer(&since, &|_| true).unwrap().total.requests, 3);
        let days = request::Statistics { by: Some(Vec::new()), bucket: Some(Bucket::Day), ..Default::default() };
        assert_eq!(ledger.answer(&days, &|_| true).unwrap().rows.iter().map(|row| row.requests).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn a_lease_that_ran_out_can_be_taken_back() {
        let mut ledger = sample();
        let key: KeyId = "openai/a".parse().unwrap();
        let usage = Usage { cost: Usd::from_nanos(70), ..Usage::default() };
        let at: Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
        let before = ledger.answer(&request::Statistics::default(), &|_| true).unwrap();
        ledger.book(&Entry { key: &key, model: None, caller: Uid(1).into(), outcome: Outcome::Ok, usage, at });
        ledger.take_back(&key, None, Uid(1).into(), Usd::from_nanos(70), at);
        assert_eq!(ledger.answer(&request::Statistics::default(), &|_| true).unwrap(), before);
    }

    #[test]
    fn old_days_are_forgotten_and_a_wrong_clock_does_not_hurry_it() {
        let mut ledger = sample();
        ledger.forget("2036-01-01".parse::<Timestamp>().unwrap().day());
        assert_eq!(ledger.answer(&request::Statistics::default(), &|_| true).unwrap().total.requests, 4);
        let start: Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
        for day in 0..400 {
            let at = start.after(std::time::Duration::from_secs(day * 86_400));
            book(&mut ledger, "openai/a", "gpt-4", 1, &at.to_string(), Outcome::Ok);
        }
        ledger.take_changed();
        ledger.forget("2027-02-06".parse::<Timestamp>().unwrap().day());
        assert_eq!(ledger.answer(&request::Statistics::default(), &|_| true).unwrap().total.requests, 402);
        assert_eq!(ledger.take_changed().len(), 1);
    }

    #[test]
    fn callers_can_not_make_a_page_grow_without_bound() {
        let mut ledger = Ledger::default();
        for number in 0..1000 {
            book(&mut ledger, "openai/a", &format!("model-{number}"), 1, "2026-01-01T10:30:00Z", Outcome::Ok);
        }
        let by_model = ledger.answer(&request::Statistics { by: Some(vec![Split::Model]), ..Default::default() }, &|_| true).unwrap();
        assert_eq!(by_model.rows.len(), PLACES_MAX + 1);
        assert_eq!(by_model.total.requests, 1000);
        let late: ModelName = "model-999".parse().unwrap();
        ledger.take_back(&"openai/a".parse().unwrap(), Some(&late), Uid(1).into(), Usd::ZERO, "2026-01-01T10:30:00Z".parse().unwrap());
        assert_eq!(ledger.answer(&request::Statistics::default(), &|_| true).unwrap().total.requests, 999);
    }

    #[test]
    fn a_year_of_hourly_usage_of_fifty_keys_stays_small() {
        let mut ledger = Ledger::default();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let model: ModelName = "claude-3-sonnet-20240229".parse().unwrap();
        let key: KeyId = "anthropic/primary".parse().unwrap();
        let usage =
            Usage { input_tokens: 1_000_000, output_tokens: 50_000, cached_tokens: 100_000, cost: Usd::from_nanos(3_750_000_000), unpriced: false };
        for hour in 0..365_u64 * 24 {
            let at = start.after(std::time::Duration::from_secs(hour * 3600));
            for (caller, outcome) in [(1000, Outcome::Ok), (1000, Outcome::RateLimited), (1001, Outcome::Ok)] {
                ledger.book(&Entry { key: &key, model: Some(&model), caller: Uid(caller).into(), outcome, usage, at });
            }
        }
        let pages = ledger.take_changed();
        let bytes: usize =
            pages.iter().map(|(_, page)| bincode::serde::encode_to_vec(page.as_deref(), bincode::config::standard()).unwrap().len()).sum();
        // Fifty keys with two callers each, before the 28 bytes that sealing adds to each of 18 250 records.
        assert!(bytes * 50 < 32 * 1024 * 1024, "{bytes} bytes a key and year");
    }
}
