//! `gollmctl stats`: usage and cost, as a table or as CSV.

mod csv;

use std::io::{self, Write};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::ctl::print::{Cell, Side, Style, Table, Tone};
use crate::ctl::when::When;
use crate::id::ProviderName;
use crate::protocol::reply::{Reply, Statistics, UsageRow};
use crate::protocol::request::{self, Bucket, Op, Split};
use crate::time::Timestamp;

const SPLITS: [(&str, Split); 4] = [("key", Split::Key), ("model", Split::Model), ("caller", Split::Caller), ("provider", Split::Provider)];
const BUCKETS: [(&str, Bucket); 2] = [("hour", Bucket::Hour), ("day", Bucket::Day)];

const HELP: &str = "\
Times are UTC, counted in whole hours: --since takes in the hours that begin then
or later, --until those that begin before. A model of which no price is known
costs $0.00 and is counted as unpriced.

Examples:
  gollmctl stats --since 1d
  gollmctl stats openai --by model,caller --since 2026-01-01 --until 2026-02-01
  gollmctl stats --bucket day --since 30d --csv > usage.csv";

/// Show requests, tokens, errors and cost
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Stats {
    /// Usage of this provider only
    #[arg(value_name = "PROVIDER")]
    provider: Option<ProviderName>,
    /// A row for each of these, or each combination of them [default: key]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = PossibleValuesParser::new(SPLITS.map(|(name, _)| name)).try_map(|name| named(&SPLITS, &name)))]
    by: Option<Vec<Split>>,
    /// A row for each hour or day
    #[arg(long, value_name = "WIDTH", value_parser = PossibleValuesParser::new(BUCKETS.map(|(name, _)| name)).try_map(|name| named(&BUCKETS, &name)))]
    bucket: Option<Bucket>,
    /// Usage from then on: 7d ago, a date, or a time as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Usage before then, written as for --since
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Write comma-separated values (RFC 4180), with every column
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

fn named<T: Copy>(all: &[(&str, T)], name: &str) -> Result<T, String> {
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| "unknown".to_owned())
}

impl Stats {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let (csv, columns) = (self.csv, Columns::of(self.by.as_deref(), self.bucket));
        let Reply::Statistics(statistics) = console.ask(Op::Statistics(self.into_request(console.now())))? else {
            return Err(Failure::unexpected("statistics"));
        };
        if csv && console.form == Form::Text {
            return csv::write(&statistics, console.out).map_err(Failure::Output);
        }
        console.show(&statistics, |statistics, style, out| render(statistics, columns, style, out))
    }

    fn into_request(self, now: Timestamp) -> request::Statistics {
        let moment = |when: Option<When>| when.map(|when| when.before(now));
        request::Statistics { provider: self.provider, since: moment(self.since), until: moment(self.until), by: self.by, bucket: self.bucket }
    }
}

/// Which of the naming columns a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    bucket: Option<Bucket>,
    key: bool,
    provider: bool,
    model: bool,
    caller: bool,
}

impl Columns {
    fn of(by: Option<&[Split]>, bucket: Option<Bucket>) -> Self {
        let has = |split| by.map_or(split == Split::Key, |by| by.contains(&split));
        Self {
            bucket,
            key: has(Split::Key),
            provider: has(Split::Provider) && !has(Split::Key),
            model: has(Split::Model),
            caller: has(Split::Caller),
        }
    }

    fn headings(self) -> Vec<(&'static str, Side)> {
        let when = self.bucket.map(|bucket| if bucket == Bucket::Hour { "HOUR (UTC)" } else { "DAY (UTC)" });
        let names = [self.key.then_some("KEY"), self.provider.then_some("PROVIDER"), self.model.then_some("MODEL"), self.caller.then_some("CALLER")];
        let mut headings: Vec<_> = when.into_iter().chain(names.into_iter().flatten()).map(|heading| (heading, Side::Left)).collect();
        if headings.is_empty() {
            headings.push(("", Side::Left));
        }
        headings.extend(["REQUESTS", "ERRORS", "INPUT", "CACHED", "OUTPUT", "COST"].map(|heading| (heading, Side::Right)));
        headings
    }

    fn names(self, row: &UsageRow) -> Vec<Cell> {
        let mut names: Vec<Cell> = Vec::new();
        if let Some(bucket) = self.bucket {
            names.push(row.bucket.map_or_else(String::new, |start| bucket_text(start, bucket)).into());
        }
        let provider = row.provider.as_ref().map_or("", ProviderName::as_str);
        if self.key {
            names.push(row.key_name.as_ref().map_or_else(|| provider.to_owned(), |key| format!("{provider}/{key}")).into());
        }
        if self.provider {
            names.push(provider.into());
        }
        if self.model {
            names.push(row.model.as_ref().map_or("(none)", |model| model.as_str()).into());
        }
        if self.caller {
            names.push(row.caller.map_or_else(|| "(none)".to_owned(), |caller| format!("uid {caller}")).into());
        }
        names
    }
}

/// `2026-01-31` or `2026-01-31 12h`.
fn bucket_text(start: Timestamp, bucket: Bucket) -> String {
    match bucket {
        Bucket::Day => start.day().to_string(),
        Bucket::Hour => format!("{} {:02}h", start.day(), start.unix_millis().div_euclid(3_600_000).rem_euclid(24)),
    }
}

fn render(statistics: &Statistics, columns: Columns, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let headings = columns.headings();
    let mut table = Table::new(&headings);
    for row in &statistics.rows {
        let mut cells = columns.names(row);
        cells.extend(numbers(row));
        table.push(cells);
    }
    let mut total: Vec<Cell> = vec![Cell::new(Tone::Heading, "total")];
    total.resize_with(headings.len() - NUMBERS, || "".into());
    total.extend(numbers(&statistics.total));
    table.push(total);
    table.write(style, out)?;
    if statistics.total.unpriced > 0 {
        let note = style.paint(Tone::Warning, format!("{} unpriced", statistics.total.unpriced));
        writeln!(out, "{note}: no price is known for their model, so they count as $0.00")?;
    }
    Ok(())
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

fn errors(row: &UsageRow) -> u64 {
    row.errors.values().fold(0, |sum, count| sum.saturating_add(*count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::args::{Arguments, Command};
    use crate::id::Uid;
    use crate::money::Usd;
    use crate::protocol::outcome::Outcome;
    use clap::Parser as _;

    fn parsed(line: &str) -> Stats {
        match Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}")).command {
            Command::Stats(stats) => stats,
            _ => panic!("not `stats`"),
        }
    }

    pub(super) fn row(key: &str, model: &str) -> UsageRow {
        UsageRow {
            provider: Some("openai".parse().unwrap()),
            key_name: Some(key.parse().unwrap()),
            model: Some(model.parse().unwrap()),
            caller: Some(Uid(1000)),
            unit: None,
            bucket: Some("2026-01-31T13:00:00Z".parse().unwrap()),
            requests: 120,
            input_tokens: 123_456,
            output_tokens: 5_000,
            cached_tokens: 100_000,
            cost_usd: Usd::from_nanos(1_500_000_000),
            errors: [(Outcome::RateLimited, 2), (Outcome::Timeout, 1)].into(),
            unpriced: 1,
        }
    }

    fn statistics() -> Statistics {
        let total = UsageRow { requests: 240, unpriced: 2, cost_usd: Usd::from_nanos(3_000_000_000), ..UsageRow::default() };
        Statistics { rows: vec![row("primary", "gpt-4"), row("backup", "gpt-4")], total }
    }

    fn rendered(columns: Columns) -> String {
        let mut out = Vec::new();
        render(&statistics(), columns, Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn usage_by_key_is_a_table_with_its_total() {
        let expected = "\
KEY             REQUESTS  ERRORS   INPUT  CACHED  OUTPUT   COST
openai/primary       120       3  123456  100000    5000  $1.50
openai/backup        120       3  123456  100000    5000  $1.50
total                240       0       0       0       0  $3.00
2 unpriced: no price is known for their model, so they count as $0.00
";
        assert_eq!(rendered(Columns::of(None, None)), expected);
    }

    #[test]
    fn a_table_has_the_columns_that_it_is_split_by() {
        let text = rendered(Columns::of(Some(&[Split::Provider, Split::Model, Split::Caller]), Some(Bucket::Hour)));
        assert!(text.starts_with("HOUR (UTC)      PROVIDER  MODEL"), "{text}");
        assert!(text.contains("2026-01-31 13h  openai    gpt-4  uid 1000"), "{text}");
        assert!(rendered(Columns::of(None, Some(Bucket::Day))).contains("\n2026-01-31  openai/primary"));
    }

    #[test]
    fn since_is_a_moment_or_so_long_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let request = parsed("gollmctl stats openai --by model,caller --bucket day --since 7d --until 2026-01-30").into_request(now);
        assert_eq!(request.since.unwrap().to_string(), "2026-01-24T12:00:00Z");
        assert_eq!(request.until.unwrap().to_string(), "2026-01-30T00:00:00Z");
        assert_eq!(request.by, Some(vec![Split::Model, Split::Caller]));
        assert_eq!(request.bucket, Some(Bucket::Day));
        assert!(Arguments::try_parse_from(["gollmctl", "stats", "--since", "yesterday"]).is_err());
        assert!(Arguments::try_parse_from(["gollmctl", "stats", "--by", "colour"]).is_err());
    }
}
