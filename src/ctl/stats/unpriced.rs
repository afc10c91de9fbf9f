//! Which models have no known price, and how often they were used.

use std::io::{self, Write};

use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean};
use crate::ctl::stats::asking::{first_that_fits, split};
use crate::ctl::stats::table::NONE;
use crate::protocol::reply::UsageRow;
use crate::protocol::request::{self, Split};

/// Models that are named.
const SHOWN: usize = 8;

/// Requests without a known price.
pub(super) struct Unpriced {
    count: u64,
    /// `openai gpt-9 (12)`, those that were used most first.
    models: Vec<String>,
}

impl Unpriced {
    /// Asks for their models, where there are any.
    pub(super) fn ask(link: &Link, request: &request::Statistics, total: &UsageRow) -> Result<Self, Failure> {
        if total.unpriced == 0 {
            return Ok(Self { count: 0, models: Vec::new() });
        }
        let answer = first_that_fits(link, &[split(request, &[Split::Provider, Split::Model], None)])?;
        Ok(Self { count: total.unpriced, models: models(answer.map(|answer| answer.rows).unwrap_or_default()) })
    }

    /// Names them.
    pub(super) fn write(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let note = style.paint(Tone::Warning, format!("{} unpriced", self.count));
        let shown: Vec<&str> = self.models.iter().take(SHOWN).map(String::as_str).collect();
        let more = self.models.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = if shown.is_empty() { String::new() } else { format!(": {}{more}", shown.join(", ")) };
        writeln!(out, "{note}{named}; no price is known, so they count as $0.00: give them one in `models`")
    }
}

fn models(mut rows: Vec<UsageRow>) -> Vec<String> {
    rows.retain(|row| row.unpriced > 0);
    rows.sort_by_key(|row| std::cmp::Reverse(row.unpriced));
    let words = |row: &UsageRow| {
        let provider = row.provider.as_ref().map_or("", |provider| provider.as_str());
        let model = row.model.as_ref().map_or(NONE, |model| model.as_str());
        format!("{provider} {} ({})", clean(model), row.unpriced)
    };
    rows.iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_without_a_price_are_named_those_that_are_used_most_first() {
        let row = |model: &str, unpriced| UsageRow {
            provider: Some("openai".parse().unwrap()),
            model: Some(model.parse().unwrap()),
            unpriced,
            ..UsageRow::default()
        };
        let unpriced = Unpriced { count: 12, models: models(vec![row("bar", 2), row("gpt-4", 0), row("gpt-9", 10)]) };
        let mut out = Vec::new();
        unpriced.write(Style::Plain, &mut out).unwrap();
        let expected = "12 unpriced: openai gpt-9 (10), openai bar (2); no price is known, so they count as $0.00: give them one in `models`\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
