//! What the example counts by itself, to be held against what the daemon says.

use std::collections::BTreeMap;
use std::fmt;

use gollm::money::Usd;
use gollm::protocol::reply::{Reported, Statistics, UsageRow};
use gollm::{Outcome, protocol::request::Report};

/// What was used of one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    nanos: i64,
    failed: u64,
}

/// What was used, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: BTreeMap<String, Row>,
    /// Selects for which there was no key.
    pub(crate) refused: u64,
    /// Requests that were made with another provider's key.
    pub(crate) fallen_back: u64,
    /// Leases that were given back.
    cancelled: u64,
    /// Leases that ran out.
    expired: u64,
    /// Those of them that were reported after all.
    late: u64,
}

impl Row {
    fn told(row: &UsageRow) -> Self {
        Self {
            requests: row.requests,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cached_tokens: row.cached_tokens,
            nanos: row.cost_usd.nanos(),
            failed: row.errors.values().sum(),
        }
    }
}

impl Tally {
    fn row(&mut self, provider: &str) -> &mut Row {
        self.rows.entry(provider.to_owned()).or_default()
    }

    /// A report was taken.
    pub(crate) fn reported(&mut self, report: &Report, reported: &Reported) {
        if report.outcome == Some(Outcome::Cancelled) {
            self.cancelled += 1;
            return;
        }
        let row = self.row(reported.provider.as_str());
        row.requests += 1;
        row.input_tokens += report.input_tokens.unwrap_or(0);
        row.output_tokens += report.output_tokens.unwrap_or(0);
        row.cached_tokens += report.cached_tokens.unwrap_or(0);
        row.nanos += reported.cost_usd.nanos();
        row.failed += u64::from(report.outcome != Some(Outcome::Ok));
    }

    /// Usage without a lease was taken.
    pub(crate) fn recorded(&mut self, input: u64, output: u64, reported: &Reported) {
        let row = self.row(reported.provider.as_str());
        row.requests += 1;
        row.input_tokens += input;
        row.output_tokens += output;
        row.nanos += reported.cost_usd.nanos();
    }

    /// A lease ran out and was charged its estimate.
    pub(crate) fn expired(&mut self, provider: &str, estimate: Usd) {
        self.expired += 1;
        let row = self.row(provider);
        row.requests += 1;
        row.nanos += estimate.nanos();
    }

    /// A lease that ran out is reported: its estimate is taken back.
    pub(crate) fn late(&mut self, provider: &str, estimate: Usd) {
        self.late += 1;
        let row = self.row(provider);
        row.requests -= 1;
        row.nanos -= estimate.nanos();
    }

    fn total(&self) -> Row {
        self.rows.values().fold(Row::default(), |sum, row| Row {
            requests: sum.requests + row.requests,
            input_tokens: sum.input_tokens + row.input_tokens,
            output_tokens: sum.output_tokens + row.output_tokens,
            cached_tokens: sum.cached_tokens + row.cached_tokens,
            nanos: sum.nanos + row.nanos,
            failed: sum.failed + row.failed,
        })
    }

    /// How far it is, in one line.
    pub(crate) fn in_short(&self) -> String {
        let total = self.total();
        format!("{} requests, {}", total.requests, Usd::from_nanos(total.nanos))
    }

    /// In what the daemon's statistics by provider differ.
    pub(crate) fn differences(&self, told: &Statistics) -> Vec<String> {
        let name = |row: &UsageRow| row.provider.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut rows: BTreeMap<String, Row> = told.rows.iter().map(|row| (name(row), Row::told(row))).collect();
        let mut expected = self.rows.clone();
        expected.retain(|_, row| row.requests > 0);
        rows.insert("total".to_owned(), Row::told(&told.total));
        expected.insert("total".to_owned(), self.total());
        let names: Vec<&String> = expected.keys().chain(rows.keys().filter(|name| !expected.contains_key(*name))).collect();
        let differ = names.into_iter().filter(|name| expected.get(*name) != rows.get(*name));
        differ.map(|name| format!("  {name}: counted {:?}, told {:?}", expected.get(name), rows.get(name))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:12} {:>9} {:>7} {:>13} {:>13} {:>18}", "", "requests", "failed", "input tokens", "output tokens", "cost")?;
        let total = ("total".to_owned(), self.total());
        for (name, row) in self.rows.iter().map(|(name, row)| (name.clone(), row.clone())).chain([total]) {
            let cost = format!("${}.{:09}", row.nanos / 1_000_000_000, row.nanos % 1_000_000_000);
            writeln!(f, "{name:12} {:>9} {:>7} {:>13} {:>13} {cost:>18}", row.requests, row.failed, row.input_tokens, row.output_tokens)?;
        }
        let Self { refused, fallen_back, cancelled, expired, late, .. } = self;
        writeln!(f, "{fallen_back} requests fell back to another provider, {refused} found no key")?;
        writeln!(f, "{cancelled} leases given back, {expired} that ran out, {late} of them reported late")
    }
}
