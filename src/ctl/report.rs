//! `gollmctl report`: what came of a lease.

use std::io::{self, Write};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::keys::tone;
use crate::ctl::print::{Style, Tone};
use crate::id::{LeaseId, ModelName};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Reply, Reported};
use crate::protocol::request::{self, Op};
use crate::time::span::Span;

/// Say what came of a lease
#[derive(Args)]
#[command(after_help = "Example:\n  gollmctl report \"$lease\" --outcome ok --input-tokens 1000 --output-tokens 500")]
pub(crate) struct Report {
    /// The lease, as `gollmctl select` gave it
    #[arg(value_name = "LEASE")]
    lease: LeaseId,
    /// What came of it
    #[arg(long, value_parser = PossibleValuesParser::new(Outcome::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<Outcome>()))]
    outcome: Outcome,
    /// The model that answered, if it is not the one that was selected for
    #[arg(long)]
    model: Option<ModelName>,
    /// Tokens sent, cached ones included
    #[arg(long, value_name = "N")]
    input_tokens: Option<u64>,
    /// Tokens answered
    #[arg(long, value_name = "N")]
    output_tokens: Option<u64>,
    /// How many of the tokens sent the provider read from its cache
    #[arg(long, value_name = "N")]
    cached_tokens: Option<u64>,
    /// The cost in dollars, where the provider told it: wins over the price
    #[arg(long, value_name = "USD")]
    cost: Option<Usd>,
    /// How long the provider asked to wait, as in 30s
    #[arg(long, value_name = "TIME")]
    retry_after: Option<Span>,
}

impl Report {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match console.ask(Op::Report(self.into_request()))? {
            Reply::Reported(reported) => console.show(&reported, render_reported),
            _ => Err(Failure::unexpected("report")),
        }
    }

    fn into_request(self) -> request::Report {
        request::Report {
            lease: self.lease,
            outcome: self.outcome,
            model: self.model,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_tokens: self.cached_tokens,
            cost_usd: self.cost,
            retry_after_ms: self.retry_after.map(Span::millis),
        }
    }
}

fn render_reported(reported: &Reported, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Reported { provider, key_name, cost_usd, state, .. } = reported;
    let state = style.paint(tone(*state), state);
    if reported.duplicate {
        return writeln!(out, "{provider}/{key_name}: reported before, nothing is counted twice; the key is {state}");
    }
    writeln!(out, "{provider}/{key_name}: {cost_usd} counted; the key is {state}")?;
    if !reported.priced {
        let note = style.paint(Tone::Warning, "no price is known for the model, so it counts as nothing");
        writeln!(out, "{note}: give --cost, or its price in the configuration")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::args::{Arguments, Command};
    use crate::protocol::reply::KeyState;
    use clap::Parser as _;

    #[test]
    fn options_reach_the_request() {
        let line = "gollmctl report gl_abc --outcome rate_limited --retry-after 30s --cost 0.25";
        let Command::Report(report) = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{e}")).command else { panic!() };
        let request = report.into_request();
        assert_eq!(
            (request.outcome, request.retry_after_ms, request.cost_usd),
            (Outcome::RateLimited, Some(30_000), Some(Usd::from_nanos(250_000_000)))
        );
    }

    #[test]
    fn a_report_tells_what_it_cost_and_what_it_did_not() {
        let told = |reported: &Reported| {
            let mut out = Vec::new();
            render_reported(reported, Style::Plain, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let reported = Reported {
            provider: "openai".parse().unwrap(),
            key_name: "primary".parse().unwrap(),
            cost_usd: Usd::from_nanos(60_000_000),
            priced: true,
            duplicate: false,
            state: KeyState::Healthy,
        };
        assert_eq!(told(&reported), "openai/primary: $0.0600 counted; the key is healthy\n");
        assert!(told(&Reported { duplicate: true, ..reported.clone() }).contains("reported before"));
        assert!(told(&Reported { priced: false, ..reported }).contains("no price is known"));
    }
}
