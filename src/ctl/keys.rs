//! `gollmctl keys`: every key with its state and counters.

use std::io::{self, Write};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Cell, Side, Style, Table, Tone, against, ago, clean, counted, until};
use crate::id::ProviderName;
use crate::protocol::reply::{KeyRow, KeyState, ProviderLeft, Reply};
use crate::protocol::request::{self, Op};
use crate::time::Timestamp;

/// List the keys with their states, counters and limits; never their secrets
#[derive(clap::Args)]
pub(crate) struct Keys {
    /// Keys of this provider only
    #[arg(value_name = "PROVIDER")]
    provider: Option<ProviderName>,
}

impl Keys {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let Reply::Keys(keys) = console.ask(Op::Keys(request::Keys { provider: self.provider }))? else {
            return Err(Failure::unexpected("keys"));
        };
        let now = console.now();
        console.show(keys.as_slice(), |keys, style, out| render(keys, style, now, out))
    }
}

fn render(keys: &[KeyRow], style: Style, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if keys.is_empty() {
        return writeln!(out, "no keys; add one with `gollmctl key set PROVIDER/KEY`");
    }
    let mut table = Table::new(&[
        ("KEY", Side::Left),
        ("STATE", Side::Left),
        ("LAST HOUR", Side::Right),
        ("TODAY", Side::Right),
        ("LAST USED", Side::Left),
        ("SECRET", Side::Left),
    ]);
    for key in keys {
        table.push(row(key, now));
    }
    table.write(style, out)?;
    for key in keys {
        let mut note = |text: &str| writeln!(out, "{}: {text}", style.paint(Tone::Faint, format_args!("{}/{}", key.provider, key.key_name)));
        if let Some(reason) = key.reason.as_deref().filter(|reason| !reason.is_empty()) {
            note(&clean(reason))?;
        }
        if let Some(left) = &key.provider_left {
            note(&left_words(left, now))?;
        }
    }
    Ok(())
}

fn row(key: &KeyRow, now: Timestamp) -> Vec<Cell> {
    let left = key.until.map(|end| format!(" {}", until(end, now))).unwrap_or_default();
    let secret = key.last_four.as_deref().filter(|four| !four.is_empty()).map(|four| format!("…{}", clean(four)));
    vec![
        key.id().to_string().into(),
        Cell::new(tone(key.state), format!("{}{left}", key.state)),
        against(key.requests_last_hour, key.rate_limit).into(),
        against(key.cost_today_usd, key.cost_limit).into(),
        key.last_used.map_or_else(|| "never".to_owned(), |used| ago(used, now)).into(),
        secret.unwrap_or_default().into(),
    ]
}

/// What its provider said is left of the provider's own limits.
fn left_words(left: &ProviderLeft, now: Timestamp) -> String {
    let counts = [(left.requests, "request"), (left.tokens, "token")];
    let counts: Vec<String> = counts.into_iter().filter_map(|(count, noun)| count.map(|count| counted(count, noun))).collect();
    format!("its provider leaves it {}, as it said {}", counts.join(" and "), ago(left.at, now))
}

/// What a state's colour is.
pub(crate) const fn tone(state: KeyState) -> Tone {
    match state {
        KeyState::Healthy => Tone::Good,
        KeyState::Unknown => Tone::Normal,
        KeyState::CoolingDown | KeyState::Exhausted => Tone::Warning,
        KeyState::Invalid | KeyState::Sealed => Tone::Bad,
        KeyState::Disabled => Tone::Faint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    fn key(name: &str) -> KeyRow {
        KeyRow {
            provider: "openai".parse().unwrap(),
            key_name: name.parse().unwrap(),
            enabled: true,
            state: KeyState::Healthy,
            until: None,
            reason: None,
            last_four: Some("WXYZ".to_owned()),
            fingerprint: Some("0123456789ab".to_owned()),
            rate_limit: Some(1000),
            requests_last_hour: 12,
            cost_limit: Some(Usd::from_nanos(50_000_000_000)),
            cost_today_usd: Usd::from_nanos(1_230_000_000),
            reserved_usd: Usd::ZERO,
            requests_total: 999,
            last_used: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            account: None,
            weight: 1,
            provider_left: None,
        }
    }

    fn rendered(keys: &[KeyRow]) -> String {
        let mut out = Vec::new();
        render(keys, Style::Plain, "2026-01-01T00:03:10Z".parse().unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_are_listed_with_what_is_wrong_below() {
        let cooling = KeyRow {
            state: KeyState::CoolingDown,
            until: Some("2026-01-01T00:04:00Z".parse().unwrap()),
            reason: Some("the provider answered 429".to_owned()),
            ..key("secondary")
        };
        let sealed = KeyRow { state: KeyState::Sealed, last_four: None, last_used: None, rate_limit: None, cost_limit: None, ..key("new") };
        let text = rendered(&[key("primary"), cooling, sealed]);
        let expected = "\
KEY               STATE             LAST HOUR         TODAY  LAST USED  SECRET
openai/primary    healthy             12/1000  $1.23/$50.00  3m ago     …WXYZ
openai/secondary  cooling_down 50s    12/1000  $1.23/$50.00  3m ago     …WXYZ
openai/new        sealed                   12         $1.23  never
openai/secondary: the provider answered 429
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn without_keys_it_says_how_to_add_one() {
        assert_eq!(rendered(&[]), "no keys; add one with `gollmctl key set PROVIDER/KEY`\n");
    }
}
