//! `gollmctl prices`: what models cost, by the configuration and by the price list; needs no daemon.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::catalogue::prices::{Price, Rates};
use crate::config::{self, Settings};
use crate::ctl::config::load;
use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::ctl::print::{Side, Style, Table, Tone, clean};
use crate::money::Usd;

const HELP: &str = "\
Dollars for a million tokens (under --json for a thousand, as in the configuration).
Prices of the configuration come first and win. A file gollm-prices.yaml beside the
configuration replaces the built-in list; --yaml writes one to begin with.

Examples:
  gollmctl prices openai
  gollmctl prices --yaml > ~/.config/gollm/gollm-prices.yaml && gollmctl reload";

/// Show what models cost; needs no daemon
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Prices {
    /// Models of this provider only
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Write the price list as a file that can replace it
    #[arg(long, conflicts_with = "json")]
    yaml: bool,
    /// The configuration file, instead of where it is looked for
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Dollars for a thousand tokens.
#[derive(Serialize)]
struct Costs {
    input_cost_per_1k_tokens: f64,
    output_cost_per_1k_tokens: f64,
    cached_input_cost_per_1k_tokens: Option<f64>,
    cache_write_cost_per_1k_tokens: Option<f64>,
}

/// The costs where the input is longer than so many tokens.
#[derive(Serialize)]
struct LongContext {
    above_input_tokens: u64,
    #[serde(flatten)]
    costs: Costs,
}

/// The price of one model.
#[derive(Serialize)]
struct Row {
    provider: String,
    model: String,
    #[serde(flatten)]
    costs: Costs,
    long_context: Option<LongContext>,
    /// `configuration` or `list`.
    from: &'static str,
}

/// What is shown.
#[derive(Serialize)]
struct Shown {
    /// The day for which the list holds.
    date: Option<String>,
    prices: Vec<Row>,
}

impl Prices {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let settings = load(self.config.as_deref(), console)?;
        let only = self.provider.as_deref();
        if self.yaml {
            return write_yaml(&settings, only, console.out).map_err(Failure::Output);
        }
        let shown = Shown::of(&settings, only);
        if shown.prices.is_empty() && console.form == Form::Text {
            let whose = only.map_or_else(String::new, |name| format!(" of `{}`", clean(name)));
            return Err(Failure::Usage(format!("no price is known for any model{whose}; `gollmctl providers` lists the providers")));
        }
        console.show(&shown, render)
    }
}

impl Costs {
    fn of(rates: Rates) -> Self {
        Self {
            input_cost_per_1k_tokens: rates.input.dollars(),
            output_cost_per_1k_tokens: rates.output.dollars(),
            cached_input_cost_per_1k_tokens: rates.cached_input.map(Usd::dollars),
            cache_write_cost_per_1k_tokens: rates.cache_write.map(Usd::dollars),
        }
    }

    /// For a million tokens: input, read from a cache, written to one, output.
    fn cells(&self) -> [String; 4] {
        [
            million(self.input_cost_per_1k_tokens),
            self.cached_input_cost_per_1k_tokens.map(million).unwrap_or_default(),
            self.cache_write_cost_per_1k_tokens.map(million).unwrap_or_default(),
            million(self.output_cost_per_1k_tokens),
        ]
    }
}

impl Row {
    fn of(provider: &str, model: &str, price: Price, from: &'static str) -> Self {
        Self {
            provider: provider.to_owned(),
            model: model.to_owned(),
            costs: Costs::of(price.rates),
            long_context: price.long.map(|long| LongContext { above_input_tokens: long.above, costs: Costs::of(long.rates) }),
            from,
        }
    }
}

impl Shown {
    fn of(settings: &Settings, only: Option<&str>) -> Self {
        let policy = &settings.policy;
        let configured = policy.providers.iter().flat_map(|provider| {
            let priced = provider.models.iter().filter_map(|model| Some((model, model.price?)));
            priced.map(|(model, price)| Row::of(provider.name.as_str(), model.name.as_str(), price, "configuration"))
        });
        let listed = policy.prices.all().map(|(kind, model, price)| Row::of(kind, model, price, "list"));
        let prices = configured.chain(listed).filter(|row| only.is_none_or(|only| row.provider == only)).collect();
        Self { date: policy.prices.date().map(str::to_owned), prices }
    }
}

/// A million tokens, in as few digits as it takes.
fn million(per_thousand: f64) -> String {
    let dollars = format!("{:.4}", per_thousand * 1000.0);
    let short = dollars.trim_end_matches('0');
    let decimals = short.len() - short.find('.').map_or(short.len(), |point| point + 1);
    if decimals < 2 { format!("{:.2}", per_thousand * 1000.0) } else { short.to_owned() }
}

fn render(shown: &Shown, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let columns = [
        ("PROVIDER", Side::Left),
        ("MODEL", Side::Left),
        ("INPUT", Side::Right),
        ("CACHED", Side::Right),
        ("WRITTEN", Side::Right),
        ("OUTPUT", Side::Right),
        ("FROM", Side::Left),
    ];
    let mut table = Table::new(&columns);
    for row in &shown.prices {
        let (provider, model) = (clean(&row.provider).into_owned(), clean(&row.model).into_owned());
        let mut push = |model: String, costs: &Costs| {
            let [input, cached, written, output] = costs.cells();
            table.push(vec![provider.clone().into(), model.into(), input.into(), cached.into(), written.into(), output.into(), row.from.into()]);
        };
        if let Some(long) = &row.long_context {
            push(model.clone(), &row.costs);
            push(format!("{model} above {} tokens", long.above_input_tokens), &long.costs);
        } else {
            push(model, &row.costs);
        }
    }
    table.write(style, out)?;
    let date = shown.date.as_deref().map_or_else(|| "a day that it does not say".to_owned(), |date| clean(date).into_owned());
    writeln!(out, "{}", style.paint(Tone::Faint, format!("dollars for a million tokens; the list is of {date}")))
}

/// The list in the form of [`config::prices`].
fn write_yaml(settings: &Settings, only: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let list = &settings.policy.prices;
    writeln!(out, "# {} beside the configuration replaces the built-in price list.", config::prices::FILE_NAME)?;
    writeln!(out, "# Dollars for a thousand tokens; \"*\" stands for every model of a provider.")?;
    if let Some(date) = list.date() {
        writeln!(out, "date: {}", quoted(date))?;
    }
    let mut last = None;
    for (kind, model, price) in list.all().filter(|(kind, ..)| only.is_none_or(|only| only == *kind)) {
        if last != Some(kind) {
            writeln!(out, "{kind}:")?;
            last = Some(kind);
        }
        let rates = |rates: Rates| rates.named().map(|(name, rate)| format!("{name}: {}", rate.dollars())).collect::<Vec<_>>().join(", ");
        let long =
            price.long.map(|long| format!(", long_context: {{above_input_tokens: {}, {}}}", long.above, rates(long.rates))).unwrap_or_default();
        writeln!(out, "  {}: {{{}{long}}}", quoted(model), rates(price.rates))?;
    }
    Ok(())
}

/// A text in quotes, as YAML reads it back.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use std::path::Path;

    fn settings() -> Settings {
        let text = "providers: {openai: {api_keys: [{name: a, key: env:A}], models: [{name: mine, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.06}]}}";
        config::parse(text, Path::new("f.yaml"), &Environment::default()).unwrap()
    }

    #[test]
    fn the_configurations_prices_stand_before_the_lists() {
        let shown = Shown::of(&settings(), Some("openai"));
        assert_eq!((shown.prices[0].model.as_str(), shown.prices[0].from), ("mine", "configuration"));
        let mut out = Vec::new();
        render(&shown, Style::Plain, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("openai    mine") && text.contains("30.00") && text.contains("the list is of 20"), "{text}");
        assert!(text.lines().any(|line| line.contains("gpt-4.1-mini") && line.contains("0.40") && line.contains("0.10")), "{text}");
    }

    #[test]
    fn prices_have_the_digits_that_they_need() {
        assert_eq!([0.0025, 0.000_000_1, 0.000_075, 0.0, 0.06].map(million), ["2.50", "0.0001", "0.075", "0.00", "60.00"]);
    }

    #[test]
    fn the_list_that_is_written_is_the_list_that_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("gollm-config.yaml");
        std::fs::write(&config, "").unwrap();
        let mut out = Vec::new();
        write_yaml(&settings(), None, &mut out).unwrap();
        std::fs::write(directory.path().join(config::prices::FILE_NAME), &out).unwrap();
        let read = config::load(Some(&config), &Environment::default()).unwrap();
        let all = |settings: &Settings| {
            settings
                .policy
                .prices
                .all()
                .map(|(kind, model, price)| (kind.to_owned(), model.to_owned(), price))
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(all(&read), all(&settings()));
        assert_eq!(read.policy.prices.date(), settings().policy.prices.date());
    }
}
