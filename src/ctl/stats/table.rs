//! Usage as a table for people: a row for each of what it is split by, and the total.

use std::io::{self, Write};

use crate::ctl::print::{Cell, Side, Style, Table, Tone};
use crate::ctl::stats::trend::Trend;
use crate::ctl::users::Users;
use crate::id::ProviderName;
use crate::protocol::reply::{Statistics, UsageRow};
use crate::protocol::request::{Bucket, Split};
use crate::time::Timestamp;

/// Which of the naming columns a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    bucket: Option<Bucket>,
    key: bool,
    provider: bool,
    model: bool,
    caller: bool,
    unit: bool,
}

impl Columns {
    /// Those of what was asked.
    pub(super) fn of(by: Option<&[Split]>, bucket: Option<Bucket>) -> Self {
        let has = |split| by.map_or(split == Split::Key, |by| by.contains(&split));
        Self {
            bucket,
            key: has(Split::Key),
            provider: has(Split::Provider) && !has(Split::Key),
            model: has(Split::Model),
            caller: has(Split::Caller),
            unit: has(Split::Unit),
        }
    }

    fn headings(self) -> Vec<(&'static str, Side)> {
        let when = self.bucket.map(|bucket| if bucket == Bucket::Hour { "HOUR (UTC)" } else { "DAY (UTC)" });
        let names = [
            self.key.then_some("KEY"),
            self.provider.then_some("PROVIDER"),
            self.model.then_some("MODEL"),
            self.caller.then_some("CALLER"),
            self.unit.then_some("UNIT"),
        ];
        let mut headings: Vec<_> = when.into_iter().chain(names.into_iter().flatten()).map(|heading| (heading, Side::Left)).collect();
        if headings.is_empty() {
            headings.push(("", Side::Left));
        }
        headings.extend(["REQUESTS", "ERRORS", "INPUT", "CACHED", "OUTPUT", "COST"].map(|heading| (heading, Side::Right)));
        headings
    }

    fn names(self, row: &UsageRow, users: &Users) -> Vec<Cell> {
        let mut names: Vec<Cell> = Vec::new();
        if let Some(bucket) = self.bucket {
            names.push(row.bucket.map_or_else(String::new, |start| bucket_text(start, bucket)).into());
        }
        if self.key {
            names.push(key_words(row).into());
        }
        if self.provider {
            names.push(row.provider.as_ref().map_or("", ProviderName::as_str).into());
        }
        if self.model {
            names.push(row.model.as_ref().map_or(NONE, |model| model.as_str()).into());
        }
        if self.caller {
            names.push(row.caller.map_or_else(|| NONE.to_owned(), |caller| users.words(caller)).into());
        }
        if self.unit {
            names.push(row.unit.as_ref().map_or(NONE, |unit| unit.as_str()).into());
        }
        names
    }
}

/// Stands for a model that was not named, or a unit that a caller was not in.
pub(super) const NONE: &str = "(none)";

/// `openai/primary`, or the provider alone.
pub(super) fn key_words(row: &UsageRow) -> String {
    let provider = row.provider.as_ref().map_or("", ProviderName::as_str);
    row.key_name.as_ref().map_or_else(|| provider.to_owned(), |key| format!("{provider}/{key}"))
}

/// `2026-01-31` or `2026-01-31 12h`.
fn bucket_text(start: Timestamp, bucket: Bucket) -> String {
    match bucket {
        Bucket::Day => start.day().to_string(),
        Bucket::Hour => format!("{} {:02}h", start.day(), start.unix_millis().div_euclid(3_600_000).rem_euclid(24)),
    }
}

/// Writes the table.
pub(super) fn write(statistics: &Statistics, columns: Columns, users: &Users, trend: &Trend, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut headings = columns.headings();
    let named = headings.len() - NUMBERS;
    headings.extend(trend.is_known().then_some(("TREND", Side::Left)));
    let mut table = Table::new(&headings);
    for row in &statistics.rows {
        let mut cells = columns.names(row, users);
        cells.extend(numbers(row));
        cells.extend(trend.of_row(row).map(Cell::from));
        table.push(cells);
    }
    let mut total: Vec<Cell> = vec![Cell::new(Tone::Heading, "total")];
    total.resize_with(named, || "".into());
    total.extend(numbers(&statistics.total));
    total.extend(trend.of_total().map(Cell::from));
    table.push(total);
    table.write(style, out)
}

/// How many columns [`numbers`] fills.
const NUMBERS: usize = 6;

fn numbers(row: &UsageRow) -> [Cell; NUMBERS] {
    let errors = errors(row);
    let tone = if errors == 0 { Tone::Normal } else { Tone::Warning };
    [
        row.requests.to_string().into(),
        Cell::new(tone, errors.to_string()),
        row.input_tokens.to_string().into(),
        row.cached_tokens.to_string().into(),
        row.output_tokens.to_string().into(),
        row.cost_usd.to_string().into(),
    ]
}

/// Requests that did not come out well.
pub(super) fn errors(row: &UsageRow) -> u64 {
    row.errors.values().fold(0, |sum, count| sum.saturating_add(*count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::stats::tests::row;
    use crate::id::Uid;
    use crate::money::Usd;

    fn statistics() -> Statistics {
        let total = UsageRow { requests: 240, unpriced: 2, cost_usd: Usd::from_nanos(3_000_000_000), ..UsageRow::default() };
        Statistics { rows: vec![row("primary", "gpt-4"), row("backup", "gpt-4")], total }
    }

    fn written(columns: Columns, trend: &Trend) -> String {
        let users: Users = [(Uid(1000), "alice".to_owned())].into_iter().collect();
        let mut out = Vec::new();
        write(&statistics(), columns, &users, trend, Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn usage_by_key_is_a_table_with_its_total() {
        let expected = "\
KEY             REQUESTS  ERRORS   INPUT  CACHED  OUTPUT   COST
openai/primary       120       3  123456  100000    5000  $1.50
openai/backup        120       3  123456  100000    5000  $1.50
total                240       0       0       0       0  $3.00
";
        assert_eq!(written(Columns::of(None, None), &Trend::NotAsked), expected);
    }

    #[test]
    fn a_table_has_the_columns_that_it_is_split_by() {
        let text = written(Columns::of(Some(&[Split::Provider, Split::Model, Split::Caller, Split::Unit]), Some(Bucket::Hour)), &Trend::NotAsked);
        assert!(text.starts_with("HOUR (UTC)      PROVIDER  MODEL  CALLER        UNIT  "), "{text}");
        assert!(text.contains("2026-01-31 13h  openai    gpt-4  alice (1000)  app.service  "), "{text}");
        assert!(written(Columns::of(None, Some(Bucket::Day)), &Trend::NotAsked).contains("\n2026-01-31  openai/primary"));
    }
}
