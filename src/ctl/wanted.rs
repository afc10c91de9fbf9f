//! What a lease is wanted for: the same options wherever a key is selected.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::id::{KeyName, ModelName, ProviderName, SessionName};
use crate::money::Usd;
use crate::protocol::request::{Estimate, Select, WAIT_MAX_MS};
use crate::protocol::strategy::Strategy;
use crate::time::span::{InvalidSpan, Span};

/// May the lease be on another provider's key?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// As the configuration says.
    Allowed,
    /// No.
    Refused,
}

impl Fallback {
    /// What `--no-fallback` says.
    pub(crate) const fn unless(refused: bool) -> Self {
        if refused { Fallback::Refused } else { Fallback::Allowed }
    }
}

/// How long a select waits.
#[derive(Args)]
pub(crate) struct Patience {
    /// Wait for a key for so long where none can be leased, as in 30s, a day at most; callers are served in order of arrival
    #[arg(long, value_name = "TIME", value_parser = wait)]
    wait: Option<Span>,
}

/// Reads how long to wait.
fn wait(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|why: InvalidSpan| why.to_string())?;
    if span.millis() <= WAIT_MAX_MS { Ok(span) } else { Err("a key is waited for at most 1d".to_owned()) }
}

impl Patience {
    /// The request that waits so long.
    pub(crate) fn of(self, select: Select) -> Select {
        Select { wait_ms: self.wait.map(Span::millis), ..select }
    }
}

/// Options of every command that selects a key.
#[derive(Args)]
pub(crate) struct Wanted {
    /// Whose key
    #[arg(value_name = "PROVIDER")]
    pub(crate) provider: ProviderName,
    /// The model that will be asked: set-asides and prices hang on it
    #[arg(long)]
    model: Option<ModelName>,
    /// Choose the key in this way instead of the provider's own
    #[arg(long, value_parser = PossibleValuesParser::new(Strategy::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<Strategy>()))]
    strategy: Option<Strategy>,
    /// This key and no other
    #[arg(long, value_name = "KEY")]
    key: Option<KeyName>,
    /// What the request may cost, in dollars: held against cost limits until the lease is reported
    #[arg(long, value_name = "USD", conflicts_with_all = ["estimate_input", "estimate_output"])]
    estimate_cost: Option<Usd>,
    /// How many tokens may be sent, where the cost is to be worked out
    #[arg(long, value_name = "N")]
    estimate_input: Option<u64>,
    /// How many tokens may be answered
    #[arg(long, value_name = "N")]
    estimate_output: Option<u64>,
    /// The conversation that this belongs to: it keeps its key while that can be used
    #[arg(long, value_name = "NAME")]
    session: Option<SessionName>,
}

impl Wanted {
    /// The request for such a lease, which does not wait; `fallback`: may it be on another provider's key, where the configuration lets it?
    pub(crate) fn into_request(self, fallback: Fallback) -> Select {
        let named = self.estimate_cost.is_some() || self.estimate_input.is_some() || self.estimate_output.is_some();
        let estimate = Estimate { input_tokens: self.estimate_input, output_tokens: self.estimate_output, cost_usd: self.estimate_cost };
        Select {
            provider: self.provider,
            model: self.model,
            strategy: self.strategy,
            key_name: self.key,
            estimate: named.then_some(estimate),
            fallback: (fallback == Fallback::Refused).then_some(false),
            session: self.session,
            wait_ms: None,
            exclude: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::args::{Arguments, Command};
    use clap::Parser as _;

    fn wanted(line: &str) -> Result<Select, clap::Error> {
        match Arguments::try_parse_from(line.split(' '))?.command {
            Command::Select(select) => Ok(select.into_request()),
            _ => panic!("not `select`"),
        }
    }

    #[test]
    fn options_reach_the_request() {
        let line = "gollmctl select openai --model gpt-4 --strategy least_used --key primary --no-fallback --estimate-input 7 --session s --wait 30s";
        let request = wanted(line).unwrap();
        assert_eq!((request.strategy, request.fallback), (Some(Strategy::LeastUsed), Some(false)));
        assert_eq!(request.estimate.unwrap().input_tokens, Some(7));
        assert_eq!((request.session.unwrap().as_str(), request.wait_ms), ("s", Some(30_000)));
    }

    #[test]
    fn an_estimate_is_tokens_or_a_cost() {
        assert!(wanted("gollmctl select openai --estimate-cost 1 --estimate-input 7").is_err());
        assert!(wanted("gollmctl select openai --strategy best").is_err());
        assert!(wanted("gollmctl select openai --wait 1d").is_ok());
        assert!(wanted("gollmctl select openai --wait 2d").is_err());
    }
}
