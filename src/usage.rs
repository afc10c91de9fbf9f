//! The ledger: usage by hour, key, model and caller; folds what was settled and answers questions.

mod answer;
pub mod day;
pub mod sums;
pub mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::Usage;
use crate::id::{KeyId, ModelName, Origin, UnitName};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::time::{Day, Timestamp};
use crate::usage::day::{DayUsage, Totals};
use crate::usage::sums::Sums;
use crate::usage::units::Units;

pub use crate::usage::answer::TooManyRows;

/// Days that the ledger keeps.
const KEPT_DAYS: i32 = 400;

/// The day and the key that a record of the ledger is for.
pub type Page = (Day, KeyId);

/// The pages of one day.
type Pages = BTreeMap<KeyId, Arc<DayUsage>>;

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

/// All usage there is. A copy shares the days.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    days: BTreeMap<Day, Arc<Pages>>,
    changed: BTreeSet<Page>,
    /// The units that callers were in.
    units: Arc<Units>,
    /// Of all days, those that were forgotten too.
    sums: Arc<Sums>,
    /// Of the days that were forgotten.
    before: Sums,
    before_changed: bool,
}

fn hour_of(at: Timestamp) -> u8 {
    let since_midnight = at.unix_millis() - at.day().start().unix_millis();
    u8::try_from(since_midnight / 3_600_000).unwrap_or(0)
}

impl Ledger {
    fn change(&mut self, key: &KeyId, model: Option<&ModelName>, caller: Origin, at: Timestamp, change: impl Fn(&mut Totals)) {
        let day = at.day();
        self.changed.insert((day, key.clone()));
        let pages = Arc::make_mut(self.days.entry(day).or_default());
        let page = Arc::make_mut(pages.entry(key.clone()).or_default());
        page.change(model, caller, hour_of(at), &change);
        change(Arc::make_mut(&mut self.sums).row(key, model));
    }

    /// Books a request.
    pub fn book(&mut self, entry: &Entry<'_>) {
        self.change(entry.key, entry.model, entry.caller, entry.at, |totals| totals.add(entry.outcome, &entry.usage));
    }

    /// Takes back a lease that was booked with its estimate, and as [`Outcome::Ok`], at `at`.
    pub fn take_back(&mut self, key: &KeyId, model: Option<&ModelName>, caller: Origin, estimate: Usd, at: Timestamp) {
        self.change(key, model, caller, at, |totals| totals.take_back(estimate));
    }

    /// The same usage, to be asked without holding up anything: what changes is not in it.
    #[must_use]
    pub fn view(&self) -> Self {
        Self { days: self.days.clone(), units: Arc::clone(&self.units), sums: Arc::clone(&self.sums), ..Self::default() }
    }

    /// What every key and model used since the store began.
    #[must_use]
    pub const fn sums(&self) -> &Arc<Sums> {
        &self.sums
    }

    /// Requests of that day without a known price.
    #[must_use]
    pub fn unpriced_on(&self, day: Day) -> u64 {
        let pages = self.days.get(&day).into_iter().flat_map(|pages| pages.values());
        pages.flat_map(|usage| usage.whole()).map(|(_, totals)| totals.unpriced).sum()
    }

    /// Forgets days that are kept no longer.
    pub fn forget(&mut self, today: Day) {
        let oldest = Day::from_unix_days(today.unix_days().saturating_sub(KEPT_DAYS));
        // A clock that was wrong for a moment must not take the history with it: so many days are kept in any case.
        let kept = usize::try_from(KEPT_DAYS).unwrap_or(0);
        while self.days.len() > kept
            && let Some(first) = self.days.first_entry().filter(|first| *first.key() < oldest)
        {
            let (day, pages) = first.remove_entry();
            for (key, usage) in pages.iter() {
                usage.whole().for_each(|(place, totals)| self.before.row(key, place.model.as_ref()).join(totals));
                self.changed.insert((day, key.clone()));
            }
            self.before_changed = true;
        }
    }

    /// The pages that changed since this was last asked; none where one was forgotten.
    pub fn take_changed(&mut self) -> Vec<(Page, Option<Arc<DayUsage>>)> {
        let changed = std::mem::take(&mut self.changed);
        let page = |(day, key): &Page| self.days.get(day)?.get(key).cloned();
        changed.into_iter().map(|id| (id.clone(), page(&id))).collect()
    }

    /// The sums of what was forgotten, where they changed since this was last asked.
    pub fn take_before(&mut self) -> Option<&Sums> {
        std::mem::take(&mut self.before_changed).then_some(&self.before)
    }

    /// Every page counts as changed.
    pub fn all_changed(&mut self) {
        self.changed.extend(self.days.iter().flat_map(|(day, pages)| pages.keys().map(|key| (*day, key.clone()))));
        self.before_changed = true;
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
    pub fn load(&mut self, (day, key): Page, usage: DayUsage) {
        let usage = usage.summed();
        let sums = Arc::make_mut(&mut self.sums);
        usage.whole().for_each(|(place, totals)| sums.row(&key, place.model.as_ref()).join(totals));
        Arc::make_mut(self.days.entry(day).or_default()).insert(key, Arc::new(usage));
    }

    /// Takes up the sums of what was forgotten.
    pub fn load_before(&mut self, before: Sums) {
        Arc::make_mut(&mut self.sums).join(&before);
        self.before = before;
    }
}

#[cfg(test)]
mod tests {
    use super::day::PLACES_MAX;
    use super::*;
    use crate::id::Uid;
    use crate::protocol::request::{self, Bucket, Split};

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

    #[test]
    fn what_was_forgotten_stays_in_the_sums_of_all_time_over_a_restart() {
        let mut ledger = Ledger::default();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for day in 0..500 {
            book(&mut ledger, "openai/a", "gpt-4", 1, &start.after(std::time::Duration::from_secs(day * 86_400)).to_string(), Outcome::Timeout);
        }
        ledger.forget(start.after(std::time::Duration::from_secs(500 * 86_400)).day());
        assert_eq!(ledger.answer(&request::Statistics::default(), &|_| true).unwrap().total.requests, 400);
        let mut again = Ledger::default();
        again.load_before(ledger.take_before().unwrap().clone());
        assert!(ledger.take_before().is_none());
        for ((day, key), usage) in ledger.take_changed() {
            if let Some(usage) = usage {
                let kept = bincode::serde::encode_to_vec(&*usage, bincode::config::standard()).unwrap();
                again.load((day, key), bincode::serde::decode_from_slice(&kept, bincode::config::standard()).unwrap().0);
            }
        }
        for ledger in [&ledger, &again] {
            let rows: Vec<_> = ledger.sums().rows().map(|(_, _, totals)| (totals.requests, totals.cost.nanos(), totals.errors.clone())).collect();
            assert_eq!(rows, [(500, 50_000, vec![(Outcome::Timeout, 500)])]);
        }
    }

    proptest::proptest! {
        /// Hours are added up one by one, days by their sums.
        #[test]
        fn days_and_hours_give_the_same_answer(
            bookings in proptest::collection::vec((0_u64..72, 0_usize..3, 0_usize..3, 1_u32..3, proptest::bool::ANY), 0..60),
            since in proptest::option::of(0_u64..80),
            until in proptest::option::of(0_u64..80),
            by in proptest::sample::subsequence(vec![Split::Key, Split::Model, Split::Caller, Split::Provider, Split::Unit], 0..=5),
        ) {
            let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            let at = |half_hours: u64| start.after(std::time::Duration::from_secs(half_hours * 1800 + 7));
            let mut ledger = Ledger::default();
            for (half_hours, key, model, caller, back) in bookings {
                let (key, model) = (["openai/a", "openai/b", "gemini/a"][key], ["gpt-4", "gpt-5", "flash"][model]);
                book(&mut ledger, key, model, caller, &at(half_hours * 2).to_string(), if back { Outcome::Ok } else { Outcome::Timeout });
                if back {
                    ledger.take_back(&key.parse().unwrap(), Some(&model.parse().unwrap()), Uid(caller).into(), Usd::from_nanos(100), at(half_hours * 2));
                }
            }
            let question = request::Statistics { since: since.map(at), until: until.map(at), by: Some(by), ..Default::default() };
            let days = ledger.answer(&question, &|_| true).unwrap();
            let hours = ledger.answer(&request::Statistics { bucket: Some(Bucket::Hour), ..question }, &|_| true).unwrap();
            proptest::prop_assert_eq!(&days.total.requests, &hours.total.requests);
            proptest::prop_assert_eq!(days.total.cost_usd, hours.total.cost_usd);
            let split = |rows: &[crate::protocol::reply::UsageRow]| {
                let mut sums = std::collections::BTreeMap::new();
                for row in rows {
                    let name = format!("{:?} {:?} {:?} {:?} {:?}", row.provider, row.key_name, row.model, row.caller, row.unit);
                    let (requests, cost, errors) = sums.entry(name).or_insert((0, Usd::ZERO, 0));
                    *requests += row.requests;
                    *cost = cost.saturating_add(row.cost_usd);
                    *errors += row.errors.values().sum::<u64>();
                }
                sums
            };
            if !days.rows.is_empty() {
                proptest::prop_assert_eq!(split(&days.rows), split(&hours.rows));
            }
        }
    }
}
