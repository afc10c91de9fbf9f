//! `gollmctl health`: which keys are healthy, and since when.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, ago, clean, moment, until};
use crate::id::{KeyName, ProviderName};
use crate::protocol::reply::{Balance, KeyHealth, KeyState, Reply};
use crate::protocol::request::Op;
use crate::time::Timestamp;

type Health = BTreeMap<ProviderName, BTreeMap<KeyName, KeyHealth>>;

pub(crate) fn run(console: &mut Console<'_>) -> Result<(), Failure> {
    let Reply::Health(health) = console.ask(Op::Health)? else {
        return Err(Failure::unexpected("health"));
    };
    let now = console.now();
    console.show(&health, |health, style, out| render(health, style, now, out))
}

fn render(health: &Health, style: Style, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if health.values().all(BTreeMap::is_empty) {
        return writeln!(out, "no keys");
    }
    for (provider, keys) in health {
        writeln!(out, "Provider: {}", style.paint(Tone::Heading, provider))?;
        for (name, key) in keys {
            let (tone, words) = match (key.healthy, key.state) {
                (true, KeyState::Unknown) => (Tone::Normal, "✓ Healthy (not checked yet)"),
                (true, _) => (Tone::Good, "✓ Healthy"),
                (false, _) => (Tone::Bad, "✗ Unhealthy"),
            };
            writeln!(out, "  {name}: {}{}", style.paint(tone, words), details(key, now))?;
        }
    }
    Ok(())
}

/// Why, since when, until when, and when it was looked at: what is known of these.
fn details(key: &KeyHealth, now: Timestamp) -> String {
    let mut parts = Vec::new();
    if !key.healthy {
        parts.push(key.state.name().to_owned());
    }
    // Of an unknown key the mark says it all.
    if !key.message.is_empty() && key.state != KeyState::Unknown {
        parts.push(clean(&key.message).into_owned());
    }
    parts.extend(key.since.map(|since| format!("since {}", moment(since))));
    let next = if key.state == KeyState::Invalid { "next check" } else { "again" };
    parts.extend(key.until.map(|end| format!("{next} in {}", until(end, now))));
    parts.extend(key.balance.iter().map(balance));
    parts.extend(key.last_checked.map(|checked| format!("checked {}", ago(checked, now))));
    if parts.is_empty() { String::new() } else { format!(" - {}", parts.join(", ")) }
}

/// What is left of the key's money.
fn balance(balance: &Balance) -> String {
    let money = |amount: f64| match clean(&balance.currency).as_ref() {
        "USD" => format!("${amount:.2}"),
        currency => format!("{amount:.2} {currency}"),
    };
    let limit = balance.limit.map(|limit| format!(" of {}", money(limit))).unwrap_or_default();
    let resets = balance.resets.as_deref().map(|resets| format!(", filled up {}", clean(resets))).unwrap_or_default();
    format!("{}{limit} left{resets}", money(balance.left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unhealthy_key_says_why_and_since_when() {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let healthy = KeyHealth {
            state: KeyState::Healthy,
            healthy: true,
            since: at("2026-01-01T00:00:00Z"),
            until: None,
            last_checked: at("2026-01-01T11:58:00Z"),
            message: String::new(),
            balance: vec![
                Balance { currency: "USD".to_owned(), left: 7.5, limit: Some(10.0), resets: Some("monthly".to_owned()) },
                Balance { currency: "CNY".to_owned(), left: 0.0, limit: None, resets: None },
            ],
        };
        let cooling = KeyHealth {
            state: KeyState::CoolingDown,
            healthy: false,
            until: at("2026-01-01T12:00:41Z"),
            last_checked: None,
            message: "the provider answered 429".to_owned(),
            balance: Vec::new(),
            ..healthy.clone()
        };
        let refused = KeyHealth { state: KeyState::Invalid, message: "its provider refuses it".to_owned(), ..cooling.clone() };
        let unknown = KeyHealth {
            state: KeyState::Unknown,
            healthy: true,
            since: None,
            until: None,
            last_checked: None,
            message: "not used or checked yet".to_owned(),
            balance: Vec::new(),
        };
        let keys = [("primary", healthy), ("secondary", cooling), ("third", unknown), ("wrong", refused)];
        let keys = keys.into_iter().map(|(name, key)| (name.parse().unwrap(), key)).collect();
        let health = [("openai".parse().unwrap(), keys)].into();
        let mut out = Vec::new();
        render(&health, Style::Plain, at("2026-01-01T12:00:00Z").unwrap(), &mut out).unwrap();
        let expected = "\
Provider: openai
  primary: ✓ Healthy - since 2026-01-01T00:00:00Z, $7.50 of $10.00 left, filled up monthly, 0.00 CNY left, checked 2m ago
  secondary: ✗ Unhealthy - cooling_down, the provider answered 429, since 2026-01-01T00:00:00Z, again in 41s
  third: ✓ Healthy (not checked yet)
  wrong: ✗ Unhealthy - invalid, its provider refuses it, since 2026-01-01T00:00:00Z, next check in 41s
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
