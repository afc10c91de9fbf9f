//! `gollmctl select` and `gollmctl report`: a lease, for scripts.

use std::io::{self, Write};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone};
use crate::id::{KeyName, LeaseId, ModelName, ProviderName};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Lease, Reply, Reported};
use crate::protocol::request::{self, Estimate, Op};
use crate::protocol::strategy::Strategy;
use crate::time::span::Span;

const SELECT_HELP: &str = "\
The answer is a line `name=value` for each field of the lease, quoted for the
shell: lease, provider, key_name, secret, base_url, strategy, fallback_from,
model, last_used, expires. What is null is empty. On a terminal the secret is
left out without --reveal. Report every lease: one that is not reported runs out
after `lease_ttl` and is charged its estimate.

Examples:
  eval \"$(gollmctl select openai)\"
  curl -fH \"Authorization: Bearer $secret\" \"$base_url/models\" &&
    gollmctl report \"$lease\" --outcome ok
  gollmctl select openai --json | jq -r .base_url";

/// Lease a key
#[derive(Args)]
#[command(after_help = SELECT_HELP)]
pub(crate) struct Select {
    /// Whose key
    #[arg(value_name = "PROVIDER")]
    provider: ProviderName,
    /// The model that will be asked: set-asides and prices hang on it
    #[arg(long)]
    model: Option<ModelName>,
    /// Choose the key in this way instead of the provider's own
    #[arg(long, value_parser = PossibleValuesParser::new(Strategy::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<Strategy>()))]
    strategy: Option<Strategy>,
    /// This key and no other
    #[arg(long, value_name = "KEY")]
    key: Option<KeyName>,
    /// Take no other provider's key when this one has none
    #[arg(long)]
    no_fallback: bool,
    /// What the request may cost, in dollars: held against cost limits until the lease is reported
    #[arg(long, value_name = "USD", conflicts_with_all = ["estimate_input", "estimate_output"])]
    estimate_cost: Option<Usd>,
    /// How many tokens may be sent, where the cost is to be worked out
    #[arg(long, value_name = "N")]
    estimate_input: Option<u64>,
    /// How many tokens may be answered
    #[arg(long, value_name = "N")]
    estimate_output: Option<u64>,
    /// Write the secret and nothing else; the lease can then only run out
    #[arg(long, conflicts_with = "json")]
    secret_only: bool,
    /// Show the secret even on a terminal
    #[arg(long)]
    reveal: bool,
}

/// Is a secret written out?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Hidden,
    Shown,
}

impl Select {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let sight = if console.terminal && !self.reveal { Sight::Hidden } else { Sight::Shown };
        // Refused before a lease is taken: one that nobody can use would cost a place.
        if sight == Sight::Hidden && (self.secret_only || console.form == Form::Json) {
            return Err(Failure::Usage("a secret is not written to a terminal: add --reveal, or read it through a pipe".to_owned()));
        }
        let secret_only = self.secret_only;
        let Reply::Lease(lease) = console.ask(Op::Select(self.into_request()))? else {
            return Err(Failure::unexpected("select"));
        };
        if secret_only {
            return writeln!(console.out, "{}", lease.secret.expose()).map_err(Failure::Output);
        }
        console.show(&lease, |lease, style, out| render_lease(lease, sight, style, out))
    }

    fn into_request(self) -> request::Select {
        let named = self.estimate_cost.is_some() || self.estimate_input.is_some() || self.estimate_output.is_some();
        let estimate = Estimate { input_tokens: self.estimate_input, output_tokens: self.estimate_output, cost_usd: self.estimate_cost };
        request::Select {
            provider: self.provider,
            model: self.model,
            strategy: self.strategy,
            key_name: self.key,
            estimate: named.then_some(estimate),
            fallback: self.no_fallback.then_some(false),
        }
    }
}

fn render_lease(lease: &Lease, sight: Sight, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name}={}", quoted(value));
    line("lease", lease.lease.as_str())?;
    line("provider", lease.provider.as_str())?;
    line("key_name", lease.key_name.as_str())?;
    if sight == Sight::Shown {
        line("secret", lease.secret.expose())?;
    }
    line("base_url", &lease.base_url)?;
    line("strategy", lease.strategy.name())?;
    line("fallback_from", lease.fallback_from.as_ref().map_or("", ProviderName::as_str))?;
    line("model", lease.model.as_ref().map_or("", ModelName::as_str))?;
    line("last_used", &lease.last_used.map(|used| used.to_string()).unwrap_or_default())?;
    line("expires", &lease.expires.to_string())?;
    if sight == Sight::Hidden {
        let note = format!("# the secret, …{}, is hidden on a terminal: add --reveal, or read it through a pipe", lease.secret.last_four());
        writeln!(out, "{}", style.paint(Tone::Faint, note))?;
    }
    Ok(())
}

/// `text` as a shell reads it back unchanged (POSIX.1-2017, XCU 2.2.2).
fn quoted(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+' | '@' | '%' | ',' | '=');
    if text.chars().all(bare) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

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
            retry_after_ms: self.retry_after.map(|span| u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

fn render_reported(reported: &Reported, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Reported { provider, key_name, cost_usd, state, .. } = reported;
    let state = style.paint(super::keys::tone(*state), state);
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
    use crate::secret::Secret;
    use clap::Parser as _;

    fn lease() -> Lease {
        Lease {
            lease: "gl_abc".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            key_name: "primary".parse().unwrap(),
            secret: Secret::new("sk-it's$0123456789abcdefWXYZ".to_owned()).unwrap(),
            base_url: "https://api.openai.com/v1".to_owned(),
            strategy: Strategy::RoundRobin,
            fallback_from: None,
            model: None,
            last_used: None,
            expires: "2026-01-01T00:10:00Z".parse().unwrap(),
        }
    }

    fn rendered(sight: Sight) -> String {
        let mut out = Vec::new();
        render_lease(&lease(), sight, Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_lease_can_be_read_by_a_shell() {
        let expected = r"lease=gl_abc
provider=openai
key_name=primary
secret='sk-it'\''s$0123456789abcdefWXYZ'
base_url=https://api.openai.com/v1
strategy=round_robin
fallback_from=
model=
last_used=
expires=2026-01-01T00:10:00Z
";
        assert_eq!(rendered(Sight::Shown), expected);
    }

    #[test]
    fn on_a_terminal_the_secret_stays_hidden() {
        let text = rendered(Sight::Hidden);
        assert!(!text.contains("secret=") && !text.contains("0123"), "{text}");
        assert!(text.ends_with("# the secret, …WXYZ, is hidden on a terminal: add --reveal, or read it through a pipe\n"), "{text}");
    }

    #[test]
    fn options_reach_the_requests() {
        let line = "gollmctl select openai --model gpt-4 --strategy least_used --key primary --no-fallback --estimate-input 7";
        let Command::Select(select) = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{e}")).command else { panic!() };
        let request = select.into_request();
        assert_eq!((request.strategy, request.fallback), (Some(Strategy::LeastUsed), Some(false)));
        assert_eq!(request.estimate.unwrap().input_tokens, Some(7));
        let line = "gollmctl report gl_abc --outcome rate_limited --retry-after 30s --cost 0.25";
        let Command::Report(report) = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{e}")).command else { panic!() };
        let request = report.into_request();
        assert_eq!(
            (request.outcome, request.retry_after_ms, request.cost_usd),
            (Outcome::RateLimited, Some(30_000), Some(Usd::from_nanos(250_000_000)))
        );
    }

    #[test]
    fn an_estimate_is_tokens_or_a_cost() {
        let line = "gollmctl select openai --estimate-cost 1 --estimate-input 7";
        assert!(Arguments::try_parse_from(line.split(' ')).is_err());
        assert!(Arguments::try_parse_from("gollmctl select openai --strategy best".split(' ')).is_err());
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
