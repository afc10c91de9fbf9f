//! `gollmctl stats`: usage and cost, as a table, as CSV, or as a page for a browser.

mod asking;
mod burn;
mod csv;
mod html;
mod table;
pub(in crate::ctl) mod trend;
mod unpriced;

use std::io::{self, Write};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::ctl::console::{Console, Form};
use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::print::Style;
use crate::ctl::stats::burn::Burn;
use crate::ctl::stats::html::report::Report;
use crate::ctl::stats::table::Columns;
use crate::ctl::stats::trend::Trend;
use crate::ctl::stats::unpriced::Unpriced;
use crate::ctl::users::Users;
use crate::ctl::when::When;
use crate::id::ProviderName;
use crate::protocol::reply::Statistics;
use crate::protocol::request::{self, Bucket, Split};
use crate::time::Timestamp;
use crate::time::span::Span;

/// What a row stands for: one of a kind, or a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Split(Split),
    Time(Bucket),
}

const SPLITS: [(&str, By); 7] = [
    ("key", By::Split(Split::Key)),
    ("model", By::Split(Split::Model)),
    ("caller", By::Split(Split::Caller)),
    ("unit", By::Split(Split::Unit)),
    ("provider", By::Split(Split::Provider)),
    ("hour", By::Time(Bucket::Hour)),
    ("day", By::Time(Bucket::Day)),
];
const BUCKETS: [(&str, Bucket); 2] = [("hour", Bucket::Hour), ("day", Bucket::Day)];

/// What a page is of, where --since does not say.
const PAGE_DAYS: u64 = 30;

const HELP: &str = "\
Times are UTC, counted in whole hours: --since takes in the hour that it falls in,
--until the hours that begin before it. A model of which no price is known costs
$0.00 and is counted as unpriced, and named.

Below a table that ends now stands what is spent an hour, from the last two hours
and the one that runs, and when each limit will be reached at this rate. On a
terminal, TREND shows each row's cost over the time.

--html writes a page that holds all it needs: no script, nothing from elsewhere.
It can be mailed, and printed on A4.

Examples:
  gollmctl stats --since 1d
  gollmctl stats --by caller,unit --since 7d
  gollmctl stats openai --by model,day --since 2026-01-01 --until 2026-02-01
  gollmctl stats --bucket day --since 30d --csv > usage.csv
  gollmctl stats --html --since 30d > report.html";

/// Show requests, tokens, errors and cost, and when limits will be reached
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Stats {
    /// Usage of this provider only
    #[arg(value_name = "PROVIDER")]
    provider: Option<ProviderName>,
    /// A row for each of these, or each combination of them [default: key]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = PossibleValuesParser::new(SPLITS.map(|(name, _)| name)).try_map(|name| named(&SPLITS, &name)))]
    by: Option<Vec<By>>,
    /// A row for each hour or day of them
    #[arg(long, value_name = "WIDTH", value_parser = PossibleValuesParser::new(BUCKETS.map(|(name, _)| name)).try_map(|name| named(&BUCKETS, &name)))]
    bucket: Option<Bucket>,
    /// Usage from then on: 7d ago, a date, or a time as in 2026-01-31T12:00:00Z [with --html: 30d]
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Usage before then, written as for --since
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Write comma-separated values (RFC 4180), with every column
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Write a page for a browser, with plots
    #[arg(long, conflicts_with_all = ["json", "csv", "by", "bucket"])]
    html: bool,
}

fn named<T: Copy>(all: &[(&str, T)], name: &str) -> Result<T, String> {
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| "unknown".to_owned())
}

impl Stats {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let now = console.now();
        let (csv, html) = (self.csv, self.html);
        let request = self.into_request(now)?;
        let link = console.connect()?;
        if html {
            let report = Report::ask(&link, &request, now)?;
            return html::write(&report, console.out).map_err(Failure::Output);
        }
        let statistics = asking::statistics(&link, &request)?;
        match console.form {
            Form::Json => console.write_json(&statistics),
            Form::Text if csv => csv::write(&statistics, console.out).map_err(Failure::Output),
            Form::Text => {
                let drawn = console.terminal && console.environment.value("TERM") != Some("dumb");
                let answer = Answer::ask(&link, request, statistics, drawn, now)?;
                answer.render(console.style, console.out).map_err(Failure::Output)
            }
        }
    }

    fn into_request(self, now: Timestamp) -> Result<request::Statistics, Failure> {
        let mut bucket = self.bucket;
        for time in self.by.iter().flatten().filter_map(|by| if let By::Time(time) = by { Some(*time) } else { None }) {
            if bucket.is_some_and(|other| other != time) {
                return Err(Failure::Usage("a row is of an hour or of a day: name one of them, in --by or in --bucket".to_owned()));
            }
            bucket = Some(time);
        }
        let splits = |by: Vec<By>| by.into_iter().filter_map(|by| if let By::Split(split) = by { Some(split) } else { None }).collect();
        let moment = |when: Option<When>| when.map(|when| when.before(now));
        let usual = Span::new(std::time::Duration::from_secs(PAGE_DAYS * 86_400)).ok().filter(|_| self.html).map(When::Ago);
        let (since, until) = (moment(self.since.or(usual)), moment(self.until));
        Ok(request::Statistics { provider: self.provider, since, until, by: self.by.map(splits), bucket })
    }
}

/// All that the text form tells.
struct Answer {
    statistics: Statistics,
    columns: Columns,
    users: Users,
    trend: Trend,
    unpriced: Unpriced,
    /// None of a time that has passed.
    burn: Option<Burn>,
}

impl Answer {
    fn ask(link: &Link, request: request::Statistics, statistics: Statistics, drawn: bool, now: Timestamp) -> Result<Self, Failure> {
        let columns = Columns::of(request.by.as_deref(), request.bucket);
        let trend = if drawn && request.bucket.is_none() && !statistics.rows.is_empty() { Trend::ask(link, &request, now)? } else { Trend::NotAsked };
        let unpriced = Unpriced::ask(link, &request, &statistics.total)?;
        let burn = request.until.is_none().then(|| Burn::ask(link, request.provider.as_ref(), now)).transpose()?;
        let users = Users::of(statistics.rows.iter().filter_map(|row| row.caller));
        Ok(Self { statistics, columns, users, trend, unpriced, burn })
    }

    fn render(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        table::write(&self.statistics, self.columns, &self.users, &self.trend, style, out)?;
        self.trend.write_note(style, out)?;
        self.unpriced.write(style, out)?;
        self.burn.as_ref().map_or(Ok(()), |burn| burn.write(style, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::args::{Arguments, Command};
    use crate::id::Uid;
    use crate::money::Usd;
    use crate::protocol::outcome::Outcome;
    use crate::protocol::reply::UsageRow;
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
            unit: Some("app.service".parse().unwrap()),
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

    fn asked(line: &str) -> Result<request::Statistics, Failure> {
        parsed(line).into_request("2026-01-31T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn since_is_a_moment_or_so_long_ago() {
        let request = asked("gollmctl stats openai --by model,caller --bucket day --since 7d --until 2026-01-30").unwrap();
        assert_eq!(request.since.unwrap().to_string(), "2026-01-24T12:00:00Z");
        assert_eq!(request.until.unwrap().to_string(), "2026-01-30T00:00:00Z");
        assert_eq!(request.by, Some(vec![Split::Model, Split::Caller]));
        assert_eq!(request.bucket, Some(Bucket::Day));
        assert!(Arguments::try_parse_from(["gollmctl", "stats", "--since", "yesterday"]).is_err());
        assert!(Arguments::try_parse_from(["gollmctl", "stats", "--by", "colour"]).is_err());
    }

    #[test]
    fn time_is_one_of_the_things_to_split_by() {
        let request = asked("gollmctl stats --by unit,day").unwrap();
        assert_eq!((request.by, request.bucket), (Some(vec![Split::Unit]), Some(Bucket::Day)));
        let request = asked("gollmctl stats --by hour --bucket hour").unwrap();
        assert_eq!((request.by, request.bucket), (Some(Vec::new()), Some(Bucket::Hour)));
        for line in ["gollmctl stats --by hour --bucket day", "gollmctl stats --by hour,day"] {
            assert_eq!(asked(line).unwrap_err().status(), 2, "{line}");
        }
    }

    #[test]
    fn a_page_is_of_a_month_and_has_its_own_tables() {
        assert_eq!(asked("gollmctl stats --html").unwrap().since.unwrap().to_string(), "2026-01-01T12:00:00Z");
        assert_eq!(asked("gollmctl stats --html --since 7d").unwrap().since.unwrap().to_string(), "2026-01-24T12:00:00Z");
        assert_eq!(asked("gollmctl stats").unwrap().since, None);
        for other in ["--json", "--csv", "--by=key", "--bucket=day"] {
            assert!(Arguments::try_parse_from(["gollmctl", "stats", "--html", other]).is_err(), "{other}");
        }
    }
}
