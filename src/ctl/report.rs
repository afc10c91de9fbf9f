//! `gollmctl report`: what came of a lease.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::http;
use crate::ctl::keys::tone;
use crate::ctl::print::{Style, Tone};
use crate::id::{LeaseId, ModelName};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::provider::ProviderResponse;
use crate::protocol::reply::{Reply, Reported};
use crate::protocol::request::{self, Op};
use crate::time::span::Span;

const HELP: &str = "\
With --response the daemon reads the provider's own answer: what came of the
request, the tokens it used, and how long to wait.

Examples:
  gollmctl report \"$lease\" --outcome ok --input-tokens 1000 --output-tokens 500
  curl -si \"$base_url/chat/completions\" … | gollmctl report \"$lease\" --response -";

/// Longest answer that is read from a file.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;

/// Say what came of a lease
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Report {
    /// The lease, as `gollmctl select` gave it
    #[arg(value_name = "LEASE")]
    lease: LeaseId,
    /// What came of it
    #[arg(
        long,
        required_unless_present = "response",
        value_parser = PossibleValuesParser::new(Outcome::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<Outcome>())
    )]
    outcome: Option<Outcome>,
    /// A file with the provider's answer as `curl -i` writes it, instead of --outcome; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with = "outcome")]
    response: Option<PathBuf>,
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
        let response = self.response.as_deref().map(answer_in).transpose()?;
        match console.ask(Op::Report(self.into_request(response)))? {
            Reply::Reported(reported) => console.show(&reported, render_reported),
            _ => Err(Failure::unexpected("report")),
        }
    }

    fn into_request(self, response: Option<ProviderResponse>) -> request::Report {
        request::Report {
            lease: self.lease,
            outcome: self.outcome,
            response,
            model: self.model,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_tokens: self.cached_tokens,
            cost_usd: self.cost,
            retry_after_ms: self.retry_after.map(Span::millis),
        }
    }
}

/// The provider's answer in a file.
fn answer_in(path: &Path) -> Result<ProviderResponse, Failure> {
    let failed = |why: String| Failure::Input { what: format!("the answer in {} can't be read", path.display()), why };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(ANSWER_MAX).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(ANSWER_MAX).read_to_end(&mut bytes))
    };
    read.map_err(|why| failed(why.to_string()))?;
    http::read(&bytes).map_err(|why| failed(why.to_string()))
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
        let request = report.into_request(None);
        assert_eq!(
            (request.outcome, request.retry_after_ms, request.cost_usd),
            (Some(Outcome::RateLimited), Some(30_000), Some(Usd::from_nanos(250_000_000)))
        );
    }

    #[test]
    fn a_report_has_an_outcome_or_an_answer() {
        for (line, good) in [
            ("gollmctl report gl_abc", false),
            ("gollmctl report gl_abc --response -", true),
            ("gollmctl report gl_abc --response - --outcome ok", false),
        ] {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).is_ok(), good, "{line}");
        }
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
