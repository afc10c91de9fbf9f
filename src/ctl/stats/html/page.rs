//! The body of a page: totals, plots by day, and tables with a bar a row.

use std::fmt::Write as _;

use super::escaped;
use super::plot::{COLOURS, Series, stacked};
use super::report::Report;
use crate::ctl::print::moment;
use crate::ctl::stats::table::{NONE, errors, key_words};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::UsageRow;

/// Rows of a table; those that cost least are summed up behind them.
const ROWS: usize = 40;

/// The body.
pub(super) fn body(report: &Report) -> String {
    let total = &report.by_provider.total;
    let mut page = format!(
        "<h1>Cost and usage, {}</h1>\n<p class=\"made\">by gollm, made {} UTC; days are UTC days</p>\n",
        escaped(&report.span_words()),
        moment(report.made).to_string().trim_end_matches('Z').replace('T', " ")
    );
    page.push_str(&tiles(total));
    if total.requests == 0 {
        page.push_str("<p class=\"note\">Nothing was used in this time.</p>\n");
        return page;
    }
    page.push_str(&plots(report));
    let provider = |row: &UsageRow| row.provider.as_ref().map_or_else(String::new, ToString::to_string);
    page.push_str(&table("Providers", "Provider", &report.by_provider.rows, total, provider));
    page.push_str(&table("Keys", "Key", &report.by_key, total, key_words));
    let model = |row: &UsageRow| format!("{} {}", provider(row), row.model.as_ref().map_or(NONE, |model| model.as_str()));
    page.push_str(&table("Models", "Model", &report.by_model, total, model));
    let caller = |row: &UsageRow| {
        let user = row.caller.map_or_else(|| NONE.to_owned(), |uid| report.users.words(uid));
        row.unit.as_ref().map_or_else(|| user.clone(), |unit| format!("{user}, {unit}"))
    };
    page.push_str(&table("Callers", "Caller", &report.by_caller, total, caller));
    page.push_str(&outcomes(total));
    page.push_str(&limits(report));
    page
}

fn tiles(total: &UsageRow) -> String {
    let tile = |name: &str, value: String| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(&value));
    [
        "<dl class=\"tiles\">\n".to_owned(),
        tile("Cost", total.cost_usd.to_string()),
        tile("Requests", grouped(total.requests)),
        tile("Not ok", grouped(errors(total))),
        tile("Input tokens", short(number(total.input_tokens))),
        tile("of them cached", short(number(total.cached_tokens))),
        tile("Output tokens", short(number(total.output_tokens))),
        if total.unpriced > 0 { tile("Unpriced", grouped(total.unpriced)) } else { String::new() },
        "</dl>\n".to_owned(),
    ]
    .concat()
}

fn plots(report: &Report) -> String {
    let days: Vec<String> = report.days.iter().map(ToString::to_string).collect();
    let mut providers: Vec<&UsageRow> = report.by_provider.rows.iter().collect();
    providers.sort_by_key(|row| std::cmp::Reverse(row.cost_usd));
    // By the day alone, where there are too many providers for one answer.
    let is_split = report.daily.iter().any(|row| row.provider.is_some());
    let series = |value: &dyn Fn(&UsageRow) -> f64| -> Vec<Series> {
        let of = |name: &str, fits: &dyn Fn(&UsageRow) -> bool| Series { name: name.to_owned(), values: per_day(report, fits, value) };
        if !is_split {
            return vec![of("all", &|_| true)];
        }
        let own = providers.len().min(if providers.len() > COLOURS { COLOURS - 1 } else { COLOURS });
        let (shown, rest) = providers.split_at(own);
        let mut all: Vec<Series> =
            shown.iter().map(|row| of(row.provider.as_ref().map_or("", |name| name.as_str()), &|other| other.provider == row.provider)).collect();
        if !rest.is_empty() {
            all.push(of("others", &|other| rest.iter().any(|row| row.provider == other.provider)));
        }
        all
    };
    let tokens = [
        Series { name: "input".to_owned(), values: per_day(report, &|_| true, &|row| number(row.input_tokens)) },
        Series { name: "output".to_owned(), values: per_day(report, &|_| true, &|row| number(row.output_tokens)) },
    ];
    let plot = |heading: &str, figure: String| format!("<section>\n<h2>{heading}</h2>\n{figure}</section>\n");
    [
        plot("Cost by day", stacked("Cost by day and provider", &days, &series(&|row| row.cost_usd.dollars()), money)),
        plot("Requests by day", stacked("Requests by day and provider", &days, &series(&|row| number(row.requests)), short)),
        plot("Tokens by day", stacked("Tokens by day", &days, &tokens, short)),
    ]
    .concat()
}

fn per_day(report: &Report, fits: &dyn Fn(&UsageRow) -> bool, value: &dyn Fn(&UsageRow) -> f64) -> Vec<f64> {
    let sum = |day| report.daily.iter().filter(|row| row.bucket.is_some_and(|at| at.day() == day) && fits(row)).map(value).sum();
    report.days.iter().map(|day| sum(*day)).collect()
}

fn table(heading: &str, first: &str, rows: &[UsageRow], total: &UsageRow, name: impl Fn(&UsageRow) -> String) -> String {
    if rows.is_empty() {
        return format!("<section>\n<h2>{heading}</h2>\n<p class=\"note\">These are too many to be listed.</p>\n</section>\n");
    }
    let mut rows: Vec<&UsageRow> = rows.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.cost_usd), std::cmp::Reverse(row.requests)));
    let most = rows.iter().map(|row| row.cost_usd).max().unwrap_or(Usd::ZERO);
    let mut text = format!(
        "<section class=\"long\">\n<h2>{heading}</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>{first}</th><th>Requests</th><th>Not ok</th>\
         <th>Input</th><th>Output</th><th>Cost</th><th></th></tr></thead>\n<tbody>\n"
    );
    let (shown, rest) = rows.split_at(rows.len().min(ROWS));
    for row in shown {
        let share = if most > Usd::ZERO { row.cost_usd.dollars() / most.dollars() * 100.0 } else { 0.0 };
        line(&mut text, "", &name(row), row, &format!("<span class=\"s0\" style=\"width:{share:.1}%\"></span>"));
    }
    if !rest.is_empty() {
        let sum = rest.iter().fold(UsageRow::default(), |sum, row| added(sum, row));
        line(&mut text, "", &format!("{} others", rest.len()), &sum, "");
    }
    line(&mut text, " class=\"total\"", "total", total, "");
    text.push_str("</tbody>\n</table></div>\n</section>\n");
    text
}

fn line(text: &mut String, class: &str, name: &str, row: &UsageRow, bar: &str) {
    let bad = errors(row);
    let mark = if bad > 0 { " class=\"bad\"" } else { "" };
    // Writing to a string never fails.
    writeln!(
        text,
        "<tr{class}><td>{}</td><td>{}</td><td{mark}>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"bar\">{bar}</td></tr>",
        escaped(name),
        grouped(row.requests),
        grouped(bad),
        grouped(row.input_tokens),
        grouped(row.output_tokens),
        row.cost_usd
    )
    .ok();
}

fn added(sum: UsageRow, row: &UsageRow) -> UsageRow {
    let mut errors = sum.errors;
    for (outcome, count) in &row.errors {
        *errors.entry(*outcome).or_default() += count;
    }
    UsageRow {
        requests: sum.requests + row.requests,
        input_tokens: sum.input_tokens.saturating_add(row.input_tokens),
        output_tokens: sum.output_tokens.saturating_add(row.output_tokens),
        cost_usd: sum.cost_usd.saturating_add(row.cost_usd),
        errors,
        ..UsageRow::default()
    }
}

fn outcomes(total: &UsageRow) -> String {
    let ok = total.requests.saturating_sub(errors(total));
    let mut text =
        "<section>\n<h2>Outcomes</h2>\n<table>\n<thead><tr><th>Outcome</th><th>Requests</th><th>Share</th></tr></thead>\n<tbody>\n".to_owned();
    let all = [(Outcome::Ok, ok)].into_iter().chain(total.errors.iter().map(|(outcome, count)| (*outcome, *count)));
    for (outcome, count) in all {
        let share = number(count) / number(total.requests.max(1)) * 100.0;
        writeln!(text, "<tr><td>{outcome}</td><td>{}</td><td>{share:.1} %</td></tr>", grouped(count)).ok();
    }
    text.push_str("</tbody>\n</table>\n</section>\n");
    text
}

fn limits(report: &Report) -> String {
    let mut text = String::new();
    let all = report.global.cost_limit.map(|limit| ("all keys together".to_owned(), report.global.cost_today_usd, limit));
    let keys = report.keys.iter().filter_map(|key| Some((key.id().to_string(), key.cost_today_usd, key.cost_limit?)));
    for (name, today, limit) in all.into_iter().chain(keys) {
        let share = if limit > Usd::ZERO { (today.dollars() / limit.dollars() * 100.0).min(100.0) } else { 100.0 };
        let colour = if today >= limit { "s5" } else { "s2" };
        writeln!(
            text,
            "<tr><td>{}</td><td>{today}</td><td>{limit}</td><td class=\"bar\"><span class=\"{colour}\" style=\"width:{share:.1}%\"></span></td></tr>",
            escaped(&name)
        )
        .ok();
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "<section>\n<h2>Today against limits</h2>\n<table>\n<thead><tr><th>Of</th><th>Today</th><th>Limit</th><th></th></tr></thead>\n<tbody>\n{text}</tbody>\n</table>\n</section>\n"
    )
}

/// `1 234 567`, with thin spaces that do not break.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a plot has fewer pixels than a float has digits")]
fn number(count: u64) -> f64 {
    count as f64
}

fn money(dollars: f64) -> String {
    Usd::from_dollars(dollars).map_or_else(|_| String::new(), |usd| usd.to_string())
}

/// `1.5M`
fn short(value: f64) -> String {
    let (divided, unit) =
        [(1e9, "G"), (1e6, "M"), (1e3, "k")].into_iter().find(|(size, _)| value >= *size).map_or((value, ""), |(size, unit)| (value / size, unit));
    let text = format!("{divided:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((grouped(0), grouped(999), grouped(1000)), ("0".to_owned(), "999".to_owned(), "1\u{202f}000".to_owned()));
        assert_eq!((short(0.0), short(1500.0), short(2e9)), ("0".to_owned(), "1.5k".to_owned(), "2G".to_owned()));
    }
}
