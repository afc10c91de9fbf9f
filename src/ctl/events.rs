//! `gollmctl events`: what happens, a line each, as it happens.

use std::io::{self, Write};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean, moment, until};
use crate::id::{KeyName, ModelName, ProviderName, Uid, UnitName};
use crate::money::Usd;
use crate::protocol::alert::{Alert, AlertState};
use crate::protocol::live::{Event, EventKind, Settled};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{AuditEntry, KeyState};
use crate::time::Timestamp;

const HELP: &str = "\
Goes on until it is interrupted. An admin sees everything; a client its own requests,
and the states of its providers' keys. Who reads too slowly is told how many events it
missed.

Examples:
  gollmctl events --kind alert,key_state
  gollmctl events --json | jq -c 'select(.settled).settled | [.caller, .model, .cost_usd]'";

/// Show what happens, as it happens
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Events {
    /// Of these kinds only [default: all]
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(EventKind::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<EventKind>().map_err(|why| why.to_string())))]
    kinds: Vec<EventKind>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Events {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let mut events = console.connect()?.subscribe(&self.kinds)?;
        for _ in 0..self.count.unwrap_or(u64::MAX) {
            let event = events.next()?;
            let now = console.now();
            // An event a line, in either form.
            console.show(&*event, |event, style, out| line(event, now, style, out))?;
            console.out.flush().map_err(Failure::Output)?;
        }
        Ok(())
    }
}

fn line(event: &Event, now: Timestamp, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (tone, text) = words(event, now);
    match (event.time(), event.kind()) {
        (Some(time), Some(kind)) => writeln!(out, "{}  {kind:<14}  {}", style.paint(Tone::Faint, moment(time)), style.paint(tone, clean(&text))),
        _ => writeln!(out, "{}", style.paint(tone, clean(&text))),
    }
}

/// An event in a line, and how loud it is.
pub(crate) fn words(event: &Event, now: Timestamp) -> (Tone, String) {
    match event {
        Event::Granted(lease) => {
            let who = who(lease.caller, lease.unit.as_ref());
            let from = lease.fallback_from.as_ref().map_or_else(String::new, |asked| format!(", instead of {asked}"));
            let reserved = if lease.estimate_usd > Usd::ZERO { format!(", {} reserved", lease.estimate_usd) } else { String::new() };
            (Tone::Normal, format!("{}{} to {who}{reserved}{from}", key(&lease.provider, &lease.key_name), model(lease.model.as_ref())))
        }
        Event::Settled(settled) | Event::Recorded(settled) => settled_words(settled),
        Event::Expired(settled) => (Tone::Warning, format!("{}, never reported", settled_words(settled).1)),
        Event::Refused(refused) => {
            let who = who(refused.caller, refused.unit.as_ref());
            (Tone::Warning, format!("{}{} to {who}: {}", refused.provider, model(refused.model.as_ref()), refused.message))
        }
        Event::KeyState(changed) => {
            state_words(&key(&changed.provider, &changed.key_name), changed.state, changed.until, changed.reason.as_deref(), now)
        }
        Event::AccountState(changed) => {
            let whose = format!("account {}/{}", changed.provider, changed.account);
            state_words(&whose, changed.state, changed.until, changed.reason.as_deref(), now)
        }
        Event::ProviderState(changed) if changed.reachable => (Tone::Good, format!("{} is reached again", changed.provider)),
        Event::ProviderState(changed) => {
            let why = changed.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            (Tone::Bad, format!("{} is not reached{why}", changed.provider))
        }
        Event::Alert(alert) => alert_words(alert),
        Event::Audit(entry) => audit_words(entry),
        Event::Lagged { missed } => (Tone::Warning, format!("{missed} events were missed here: they came faster than they were read")),
    }
}

fn key(provider: &ProviderName, name: &KeyName) -> String {
    format!("{provider}/{name}")
}

fn model(model: Option<&ModelName>) -> String {
    model.map_or_else(String::new, |model| format!(" {model}"))
}

fn who(uid: Uid, unit: Option<&UnitName>) -> String {
    unit.map_or_else(|| format!("uid {uid}"), |unit| format!("uid {uid} ({unit})"))
}

fn settled_words(settled: &Settled) -> (Tone, String) {
    let who = who(settled.caller, settled.unit.as_ref());
    let cost = if settled.priced { settled.cost_usd.to_string() } else { "unpriced".to_owned() };
    let tokens = match (settled.input_tokens, settled.output_tokens) {
        (0, 0) => String::new(),
        (input, output) => format!(", {input} + {output} tokens"),
    };
    let tone = if settled.outcome == Outcome::Ok || settled.outcome == Outcome::Cancelled { Tone::Normal } else { Tone::Warning };
    let whose = key(&settled.provider, &settled.key_name);
    (tone, format!("{whose}{} by {who}: {}{tokens}, {cost}", model(settled.model.as_ref()), settled.outcome))
}

fn state_words(whose: &str, state: KeyState, end: Option<Timestamp>, reason: Option<&str>, now: Timestamp) -> (Tone, String) {
    let end = end.map_or_else(String::new, |end| format!(" for {}", until(end, now)));
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let tone = match state {
        KeyState::Unknown | KeyState::Healthy => Tone::Good,
        KeyState::CoolingDown | KeyState::Disabled => Tone::Warning,
        KeyState::Exhausted | KeyState::Invalid | KeyState::Sealed => Tone::Bad,
    };
    (tone, format!("{whose} is {state}{end}{reason}"))
}

/// An alert in a line.
pub(crate) fn alert_words(alert: &Alert) -> (Tone, String) {
    match alert.state {
        AlertState::Raised => (Tone::Bad, format!("{}: {}", alert.kind, alert.message)),
        AlertState::Recovered => (Tone::Good, format!("{}: {}", alert.kind, alert.message)),
    }
}

fn audit_words(entry: &AuditEntry) -> (Tone, String) {
    let who = entry.uid.map_or_else(|| "gollmd".to_owned(), |uid| format!("uid {uid}"));
    let target = entry.target.as_ref().map_or_else(String::new, |target| format!(" {target}"));
    let detail = entry.detail.as_ref().map_or_else(String::new, |detail| format!(" ({detail})"));
    let tone = if entry.result == "denied" { Tone::Warning } else { Tone::Normal };
    (tone, format!("{who}: {}{target}: {}{detail}", entry.act, entry.result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::live::{Granted, KeyStateChanged};

    fn written(event: &Event) -> String {
        let mut out = Vec::new();
        line(event, "2026-01-31T12:00:00Z".parse().unwrap(), Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_a_line() {
        let time: Timestamp = "2026-01-31T12:00:00.123Z".parse().unwrap();
        let settled = Settled {
            time,
            provider: "openai".parse().unwrap(),
            key_name: "primary".parse().unwrap(),
            caller: Uid(1000),
            unit: Some("nightly.service".parse().unwrap()),
            lease: Some(7),
            outcome: Outcome::Ok,
            model: Some("gpt-4.1".parse().unwrap()),
            input_tokens: 1000,
            output_tokens: 500,
            cached_tokens: 0,
            cost_usd: Usd::from_nanos(6_000_000),
            priced: true,
        };
        let expected = "2026-01-31T12:00:00Z  settled         openai/primary gpt-4.1 by uid 1000 (nightly.service): ok, 1000 + 500 tokens, $0.0060\n";
        assert_eq!(written(&Event::Settled(settled)), expected);
        let granted = Granted {
            time,
            provider: "gemini".parse().unwrap(),
            key_name: "a".parse().unwrap(),
            caller: Uid(0),
            unit: None,
            lease: 8,
            model: None,
            estimate_usd: Usd::from_nanos(500_000_000),
            fallback_from: Some("openai".parse().unwrap()),
        };
        assert_eq!(written(&Event::Granted(granted)), "2026-01-31T12:00:00Z  granted         gemini/a to uid 0, $0.50 reserved, instead of openai\n");
        let state = KeyStateChanged {
            time,
            provider: "openai".parse().unwrap(),
            key_name: "primary".parse().unwrap(),
            state: KeyState::CoolingDown,
            until: Some("2026-01-31T12:00:41Z".parse().unwrap()),
            reason: Some("its provider limits it for now\u{1b}[2J".to_owned()),
        };
        assert_eq!(
            written(&Event::KeyState(state)),
            "2026-01-31T12:00:00Z  key_state       openai/primary is cooling_down for 41s: its provider limits it for now?[2J\n"
        );
        assert_eq!(written(&Event::Lagged { missed: 3 }), "3 events were missed here: they came faster than they were read\n");
    }
}
