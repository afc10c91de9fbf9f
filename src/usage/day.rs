//! The usage of one key on one day: by hour, model and caller, and the whole day's sums beside them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Usage;
use crate::id::{ModelName, Origin};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::UsageRow;

/// Models and callers that one key keeps apart on one day.
pub(super) const PLACES_MAX: usize = 256;

/// Stands for all further models.
pub(super) const OTHER_MODELS: &str = "(other)";

/// What hours are kept by, within their day and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) model: Option<ModelName>,
    pub(super) caller: Origin,
}

/// Sums of one row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Requests that were reported, recorded, or ran out unreported.
    pub requests: u64,
    /// Tokens sent, cached ones included.
    pub input_tokens: u64,
    /// Tokens answered.
    pub output_tokens: u64,
    /// Input tokens from the provider's cache.
    pub cached_tokens: u64,
    /// What they cost.
    pub cost: Usd,
    /// Those whose model has no known price.
    pub unpriced: u64,
    /// Outcomes other than `ok`.
    pub errors: Vec<(Outcome, u64)>,
}

/// The usage of one key on one day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayUsage {
    /// The hours, 0 to 23, in which anything was used.
    hours: BTreeMap<Place, BTreeMap<u8, Totals>>,
    /// The sums of the hours: most questions are about whole days.
    #[serde(skip)]
    whole: BTreeMap<Place, Totals>,
}

impl Totals {
    /// Adds one request.
    pub(super) fn add(&mut self, outcome: Outcome, usage: &Usage) {
        self.requests += 1;
        self.input_tokens = self.input_tokens.saturating_add(usage.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(usage.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(usage.cached_tokens);
        self.cost = self.cost.saturating_add(usage.cost);
        self.unpriced += u64::from(usage.unpriced);
        if outcome != Outcome::Ok {
            self.count(outcome, 1);
        }
    }

    /// Takes back a lease that was charged its estimate when it ran out.
    pub(super) fn take_back(&mut self, estimate: Usd) {
        self.requests = self.requests.saturating_sub(1);
        self.cost = self.cost.less(estimate);
    }

    /// Adds other sums.
    pub(super) fn join(&mut self, other: &Self) {
        self.requests += other.requests;
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.cost = self.cost.saturating_add(other.cost);
        self.unpriced += other.unpriced;
        for (outcome, count) in &other.errors {
            self.count(*outcome, *count);
        }
    }

    /// Takes of each sum the larger.
    pub(crate) fn raise(&mut self, other: &Self) {
        self.requests = self.requests.max(other.requests);
        self.input_tokens = self.input_tokens.max(other.input_tokens);
        self.output_tokens = self.output_tokens.max(other.output_tokens);
        self.cached_tokens = self.cached_tokens.max(other.cached_tokens);
        self.cost = self.cost.max(other.cost);
        self.unpriced = self.unpriced.max(other.unpriced);
        for (outcome, count) in &other.errors {
            let before = self.errors.iter().find(|(seen, _)| seen == outcome).map_or(0, |(_, before)| *before);
            self.count(*outcome, count.saturating_sub(before));
        }
    }

    fn count(&mut self, outcome: Outcome, count: u64) {
        match self.errors.iter_mut().find(|(seen, _)| *seen == outcome) {
            Some((_, sum)) => *sum += count,
            None => self.errors.push((outcome, count)),
        }
    }

    /// Puts the sums into a row.
    pub(super) fn fill(self, row: UsageRow) -> UsageRow {
        UsageRow {
            requests: self.requests,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_tokens: self.cached_tokens,
            cost_usd: self.cost,
            errors: self.errors.into_iter().collect(),
            unpriced: self.unpriced,
            ..row
        }
    }
}

impl DayUsage {
    /// Changes the sums of an hour, and of the day with it.
    pub(super) fn change(&mut self, model: Option<&ModelName>, caller: Origin, hour: u8, change: impl Fn(&mut Totals)) {
        let place = self.place(model, caller);
        change(self.whole.entry(place.clone()).or_default());
        change(self.hours.entry(place).or_default().entry(hour).or_default());
    }

    /// The place of a model and caller; past [`PLACES_MAX`] new models share one, so that no caller makes a page grow
    /// without bound.
    fn place(&self, model: Option<&ModelName>, caller: Origin) -> Place {
        let place = Place { model: model.cloned(), caller };
        if self.hours.len() < PLACES_MAX || self.hours.contains_key(&place) {
            return place;
        }
        Place { model: OTHER_MODELS.parse().ok(), caller }
    }

    /// Adds up the days' sums of what was kept.
    pub(super) fn summed(mut self) -> Self {
        self.whole.clear();
        for (place, hours) in &self.hours {
            let whole = self.whole.entry(place.clone()).or_default();
            hours.values().for_each(|totals| whole.join(totals));
        }
        self
    }

    /// The sums of the whole day.
    pub(super) fn whole(&self) -> impl Iterator<Item = (&Place, &Totals)> {
        self.whole.iter()
    }

    /// The sums of each hour.
    pub(super) fn hours(&self) -> impl Iterator<Item = (&Place, u8, &Totals)> {
        self.hours.iter().flat_map(|(place, hours)| hours.iter().map(move |(hour, totals)| (place, *hour, totals)))
    }
}
