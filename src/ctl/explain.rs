//! `gollmctl explain`: which key a select would be given, and why not each other one.

use std::io::{self, Write};

use clap::Args;

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::keys::tone;
use crate::ctl::print::{Cell, Side, Style, Table, Tone, against, span_words, until};
use crate::ctl::wanted::{Fallback, Wanted};
use crate::protocol::explanation::{ConsideredKey, Explanation};
use crate::protocol::reply::Reply;
use crate::protocol::request::Op;
use crate::time::Timestamp;

const HELP: &str = "\
Keys stand in the order in which they are considered, those of the fallback chain
behind the provider's own. `→` marks the one that a select would be given now.
No lease is taken and nothing changes.

Examples:
  gollmctl explain openai --model gpt-4.1
  gollmctl explain openai --estimate-cost 0.50 --json | jq .chosen";

/// Show which key would be leased now, and what is against each other one
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Explain {
    #[command(flatten)]
    wanted: Wanted,
    /// Look at this provider's keys alone
    #[arg(long)]
    no_fallback: bool,
}

impl Explain {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let Reply::Explanation(explanation) = console.ask(Op::Explain(self.wanted.into_request(Fallback::unless(self.no_fallback))))? else {
            return Err(Failure::unexpected("explain"));
        };
        let now = console.now();
        console.show(&*explanation, |explanation, style, out| render(explanation, style, now, out))
    }
}

fn render(explanation: &Explanation, style: Style, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if explanation.keys.is_empty() {
        return writeln!(out, "{} has no keys; add one with `gollmctl key set {}/KEY`", explanation.provider, explanation.provider);
    }
    let mut table = Table::new(&[
        ("", Side::Left),
        ("KEY", Side::Left),
        ("STATE", Side::Left),
        ("LAST HOUR", Side::Right),
        ("TODAY", Side::Right),
        ("RESERVED", Side::Right),
        ("NOW", Side::Left),
    ]);
    for key in &explanation.keys {
        table.push(row(key, &explanation.provider, now));
    }
    table.write(style, out)?;
    let global = &explanation.global;
    let today = against(global.cost_today_usd, global.cost_limit);
    writeln!(
        out,
        "all keys: {} requests in the last hour, {today} today, {} reserved",
        against(global.requests_last_hour, global.rate_limit),
        global.reserved_usd
    )?;
    match (&explanation.chosen, explanation.why) {
        (Some(key), Some(why)) => writeln!(out, "{}/{} would be leased: {why}", key.provider, key.key_name),
        _ => {
            let wait = explanation.retry_after_ms.map(std::time::Duration::from_millis);
            let when = wait.map_or_else(|| "only a person can mend it".to_owned(), |wait| format!("the first may be free in {}", span_words(wait)));
            writeln!(out, "{}: {when}", style.paint(Tone::Bad, "no key can be leased now"))
        }
    }
}

fn row(key: &ConsideredKey, asked: &crate::id::ProviderName, now: Timestamp) -> Vec<Cell> {
    let mark = if key.chosen { Cell::new(Tone::Good, "→") } else { "".into() };
    vec![
        mark,
        format!("{}/{}", key.provider, key.key_name).into(),
        Cell::new(tone(key.state), key.state.name()),
        against(key.requests_last_hour, key.rate_limit).into(),
        against(key.cost_today_usd, key.cost_limit).into(),
        key.reserved_usd.to_string().into(),
        verdict(key, asked, now),
    ]
}

/// Eligible, or the one reason why not.
fn verdict(key: &ConsideredKey, asked: &crate::id::ProviderName, now: Timestamp) -> Cell {
    if let Some(reason) = key.reason {
        let left = key.until.map(|end| format!(", {} left", until(end, now))).unwrap_or_default();
        return Cell::new(Tone::Warning, format!("{}{left}", reason.words()));
    }
    let mut words = vec!["eligible".to_owned()];
    if key.on_trial {
        words.push("on trial: one lease at a time".to_owned());
    }
    if !key.reachable {
        words.push("its provider fails, so it comes last".to_owned());
    }
    if key.provider != *asked {
        words.push(key.model.as_ref().map_or_else(|| "fallback".to_owned(), |model| format!("fallback to {model}")));
    }
    Cell::new(Tone::Normal, words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;
    use crate::protocol::error::Reason;
    use crate::protocol::explanation::Why;
    use crate::protocol::reply::{GlobalStatus, KeyState};
    use crate::protocol::request::KeyRef;
    use crate::protocol::strategy::Strategy;

    fn key(provider: &str, name: &str) -> ConsideredKey {
        ConsideredKey {
            provider: provider.parse().unwrap(),
            key_name: name.parse().unwrap(),
            eligible: true,
            chosen: false,
            reason: None,
            until: None,
            on_trial: false,
            state: KeyState::Healthy,
            strategy: Strategy::RoundRobin,
            model: None,
            reachable: true,
            requests_last_hour: 3,
            rate_limit: Some(10),
            cost_today_usd: Usd::from_nanos(1_500_000_000),
            reserved_usd: Usd::ZERO,
            cost_limit: None,
            account: None,
            weight: 1,
        }
    }

    fn explanation() -> Explanation {
        let limited = ConsideredKey {
            eligible: false,
            reason: Some(Reason::RateLimited),
            until: Some("2026-01-01T00:12:05Z".parse().unwrap()),
            requests_last_hour: 10,
            ..key("openai", "primary")
        };
        let chosen = ConsideredKey { chosen: true, ..key("openai", "backup") };
        let other = ConsideredKey { model: Some("claude".parse().unwrap()), on_trial: true, ..key("anthropic", "a") };
        Explanation {
            provider: "openai".parse().unwrap(),
            model: Some("gpt-4".parse().unwrap()),
            chosen: Some(KeyRef { provider: "openai".parse().unwrap(), key_name: "backup".parse().unwrap() }),
            why: Some(Why::Strategy),
            retry_after_ms: None,
            keys: vec![limited, chosen, other],
            global: GlobalStatus {
                keys_total: 3,
                keys_healthy: 3,
                requests_last_hour: 16,
                rate_limit: None,
                cost_today_usd: Usd::from_nanos(4_500_000_000),
                reserved_usd: Usd::ZERO,
                cost_limit: Some(Usd::from_nanos(500_000_000_000)),
                unpriced_today: 0,
            },
        }
    }

    fn rendered(explanation: &Explanation) -> String {
        let mut out = Vec::new();
        render(explanation, Style::Plain, "2026-01-01T00:00:00Z".parse().unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_key_is_eligible_or_has_its_one_reason() {
        let expected = "   KEY             STATE    LAST HOUR  TODAY  RESERVED  NOW
   openai/primary  healthy      10/10  $1.50     $0.00  rate_limit reached, 12m 5s left
→  openai/backup   healthy       3/10  $1.50     $0.00  eligible
   anthropic/a     healthy       3/10  $1.50     $0.00  eligible, on trial: one lease at a time, fallback to claude
all keys: 16 requests in the last hour, $4.50/$500.00 today, $0.00 reserved
openai/backup would be leased: first eligible in the strategy's order
";
        assert_eq!(rendered(&explanation()), expected);
    }

    #[test]
    fn where_no_key_can_be_leased_it_says_when_one_may() {
        let none = Explanation { chosen: None, why: None, retry_after_ms: Some(41_000), ..explanation() };
        assert!(rendered(&none).ends_with("no key can be leased now: the first may be free in 41s\n"));
        assert!(rendered(&Explanation { retry_after_ms: None, ..none }).ends_with("only a person can mend it\n"));
    }
}
