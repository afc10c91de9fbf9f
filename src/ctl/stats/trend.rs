//! Each row's cost over the time that was asked about, as a line of blocks.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone};
use crate::ctl::stats::asking::{first_that_fits, split};
use crate::id::{KeyName, ModelName, ProviderName, Uid, UnitName};
use crate::money::Usd;
use crate::protocol::reply::UsageRow;
use crate::protocol::request::{self, Bucket, Split};
use crate::time::Timestamp;

/// Blocks of a line at most.
const STEPS: usize = 24;

/// Time that is shown by the hour.
const BY_THE_HOUR: Duration = Duration::from_secs(2 * 86_400);

/// From nearly nothing to the most of the row; where nothing was spent stands a dot.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a row is of, whatever its time.
type Name = (Option<ProviderName>, Option<KeyName>, Option<ModelName>, Option<Uid>, Option<UnitName>);

/// The lines of a table's rows.
pub(super) enum Trend {
    /// Nobody asked for them.
    NotAsked,
    /// They are too many to ask for.
    TooMany,
    /// The line of each row, and that of the total.
    Known(BTreeMap<Name, String>, String),
}

fn name(row: &UsageRow) -> Name {
    (row.provider.clone(), row.key_name.clone(), row.model.clone(), row.caller, row.unit.clone())
}

impl Trend {
    /// Asks for the same usage by the hour or day.
    pub(super) fn ask(link: &Link, request: &request::Statistics, now: Timestamp) -> Result<Self, Failure> {
        let until = request.until.map_or(now, |until| until.min(now));
        let is_short = request.since.is_some_and(|since| until.since(since) <= BY_THE_HOUR);
        let bucket = if is_short { Bucket::Hour } else { Bucket::Day };
        let by = request.by.clone().unwrap_or_else(|| vec![Split::Key]);
        let Some(answer) = first_that_fits(link, &[split(request, &by, Some(bucket))])? else { return Ok(Trend::TooMany) };
        Ok(Self::of(&answer.rows, request.since, until, bucket))
    }

    fn of(rows: &[UsageRow], since: Option<Timestamp>, until: Timestamp, bucket: Bucket) -> Self {
        let Some(first) = rows.iter().filter_map(|row| row.bucket).min() else { return Trend::Known(BTreeMap::new(), String::new()) };
        // What was asked about begins with the bucket that `since` falls into, though nothing was used then.
        let start = since.map_or(first, |since| bucket.start(since).min(first));
        let steps = Steps::over(start, until, bucket.width());
        let mut lines: BTreeMap<Name, Vec<Usd>> = BTreeMap::new();
        let mut total = vec![Usd::ZERO; steps.count];
        for (row, at) in rows.iter().filter_map(|row| Some((row, steps.of(row.bucket?)))) {
            let line = lines.entry(name(row)).or_insert_with(|| vec![Usd::ZERO; steps.count]);
            for sums in [line, &mut total] {
                if let Some(sum) = sums.get_mut(at) {
                    *sum = sum.saturating_add(row.cost_usd);
                }
            }
        }
        Trend::Known(lines.into_iter().map(|(name, costs)| (name, blocks(&costs))).collect(), blocks(&total))
    }

    /// Has a table a column for it?
    pub(super) const fn is_known(&self) -> bool {
        matches!(self, Trend::Known(..))
    }

    /// The line of a row.
    pub(super) fn of_row(&self, row: &UsageRow) -> Option<String> {
        if let Trend::Known(lines, _) = self { Some(lines.get(&name(row)).cloned().unwrap_or_default()) } else { None }
    }

    /// The line of all rows.
    pub(super) fn of_total(&self) -> Option<String> {
        if let Trend::Known(_, total) = self { Some(total.clone()) } else { None }
    }

    /// Says why there is none, where one was asked for.
    pub(super) fn write_note(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        if !matches!(self, Trend::TooMany) {
            return Ok(());
        }
        writeln!(
            out,
            "{}",
            style.paint(Tone::Faint, "no trend is shown: it has too many rows for one answer; ask for a shorter time, or split by less")
        )
    }
}

/// Time cut into steps of the same length.
struct Steps {
    start: Timestamp,
    length: Duration,
    count: usize,
}

impl Steps {
    /// Steps of one or more widths, as many as a line has blocks for.
    fn over(start: Timestamp, until: Timestamp, width: Duration) -> Self {
        let widths = usize::try_from(until.since(start).as_secs().div_ceil(width.as_secs()).max(1)).unwrap_or(1);
        let of_each = widths.div_ceil(STEPS);
        let length = width.saturating_mul(u32::try_from(of_each).unwrap_or(u32::MAX));
        Self { start, length, count: widths.div_ceil(of_each) }
    }

    fn of(&self, at: Timestamp) -> usize {
        let step = at.since(self.start).as_secs() / self.length.as_secs().max(1);
        usize::try_from(step).unwrap_or(usize::MAX).min(self.count.saturating_sub(1))
    }
}

/// Costs as a line of blocks, each as high as it is a share of the most.
pub(in crate::ctl) fn blocks(costs: &[Usd]) -> String {
    let most = costs.iter().copied().max().unwrap_or(Usd::ZERO).nanos();
    let block = |cost: &Usd| {
        if cost.nanos() <= 0 {
            return '·';
        }
        let eighth = i128::from(cost.nanos()) * 8 / i128::from(most.max(1));
        let place = usize::try_from(eighth).unwrap_or(0).min(BLOCKS.len() - 1);
        BLOCKS.get(place).copied().unwrap_or('█')
    };
    costs.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, day: u64, dollars: i64) -> UsageRow {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        UsageRow {
            provider: Some("openai".parse().unwrap()),
            key_name: Some(key.parse().unwrap()),
            bucket: Some(start.after(Duration::from_secs(day * 86_400))),
            cost_usd: Usd::from_nanos(dollars * 1_000_000_000),
            ..UsageRow::default()
        }
    }

    #[test]
    fn a_row_is_a_line_of_blocks_of_its_own_height() {
        let rows = [row("a", 0, 8), row("a", 1, 4), row("a", 3, 1), row("b", 3, 100)];
        let trend = Trend::of(&rows, None, "2026-01-04T12:00:00Z".parse().unwrap(), Bucket::Day);
        assert_eq!(trend.of_row(&row("a", 0, 0)).as_deref(), Some("█▅·▂"));
        assert_eq!(trend.of_row(&row("b", 0, 0)).as_deref(), Some("···█"));
        assert_eq!(trend.of_row(&row("c", 0, 0)).as_deref(), Some(""));
        assert_eq!(trend.of_total().unwrap().chars().count(), 4);
    }

    #[test]
    fn a_long_time_is_shown_in_few_steps() {
        let rows: Vec<UsageRow> = (0..100).map(|day| row("a", day, 1)).collect();
        let trend = Trend::of(&rows, None, "2026-04-11T00:00:00Z".parse().unwrap(), Bucket::Day);
        assert_eq!(trend.of_total().as_deref(), Some("████████████████████"));
        assert!(matches!(Trend::of(&[], None, rows[0].bucket.unwrap(), Bucket::Hour), Trend::Known(..)));
    }
}
