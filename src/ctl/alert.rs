//! `gollmctl alert`: what is raised, and whether alerts reach their webhooks.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use crate::ctl::console::Console;
use crate::ctl::events::alert_words;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, ago, clean, counted};
use crate::protocol::alert::{Alert, Delivery};
use crate::protocol::reply::Reply;
use crate::protocol::request::Op;
use crate::time::Timestamp;

const HELP: &str = "\
An alert is raised once for a cause, and once more it is told that the cause has passed:
in the log, the audit trail, the event stream (`gollmctl events --kind alert`) and to
`webhooks` in the configuration.";

/// Show the alerts whose cause is there, or send a test to the webhooks
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show the alerts whose cause is there
    List,
    /// Send a test to every webhook, and say which took it
    ///
    /// The exit status is 1 where one did not.
    Test,
}

impl Alerts {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.what {
            What::List => list(console),
            What::Test => test(console),
        }
    }
}

fn list(console: &mut Console<'_>) -> Result<(), Failure> {
    let Reply::Alerts(alerts) = console.ask(Op::Alerts)? else { return Err(Failure::unexpected("alerts")) };
    let now = console.now();
    console.show(&alerts, |alerts, style, out| render(alerts, now, style, out))
}

fn render(alerts: &[Alert], now: Timestamp, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if alerts.is_empty() {
        return writeln!(out, "{}", style.paint(Tone::Good, "no alert is raised"));
    }
    for alert in alerts {
        let (tone, text) = alert_words(alert);
        writeln!(out, "{:>8}  {}", ago(alert.since, now), style.paint(tone, clean(&text)))?;
    }
    Ok(())
}

fn test(console: &mut Console<'_>) -> Result<(), Failure> {
    let Reply::Deliveries(deliveries) = console.ask(Op::AlertTest)? else { return Err(Failure::unexpected("alert_test")) };
    console.show(&deliveries, |deliveries, style, out| render_test(deliveries, style, out))?;
    if deliveries.iter().all(|delivery| delivery.delivered) { Ok(()) } else { Err(Failure::Negative) }
}

fn render_test(deliveries: &[Delivery], style: Style, out: &mut dyn Write) -> io::Result<()> {
    for delivery in deliveries {
        let mark = if delivery.delivered { style.paint(Tone::Good, "✓") } else { style.paint(Tone::Bad, "✗") };
        let status = delivery.status.map_or_else(String::new, |status| format!(" (HTTP {status})"));
        writeln!(out, "{mark} webhook {} at {}: {}{status}", delivery.webhook, clean(&delivery.host), clean(&delivery.message))?;
    }
    let count = counted(deliveries.len() as u64, "webhook");
    let sent = if deliveries.is_empty() {
        "no webhook is configured: see `webhooks` in gollm-config.yaml.example".to_owned()
    } else {
        format!("sent to {count}")
    };
    writeln!(out, "{sent}; the test is also in the log and among the events")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::alert::{AlertKind, AlertState};

    #[test]
    fn what_is_raised_is_listed_with_its_age() {
        let since: Timestamp = "2026-01-31T10:00:00Z".parse().unwrap();
        let alert = Alert {
            id: 1,
            time: since,
            kind: AlertKind::KeyInvalid,
            state: AlertState::Raised,
            since,
            provider: None,
            key_name: None,
            account: None,
            caller: None,
            cost_usd: None,
            limit_usd: None,
            message: "openai/a is invalid".to_owned(),
        };
        let written = |alerts: &[Alert]| {
            let mut out = Vec::new();
            render(alerts, "2026-01-31T12:00:00Z".parse().unwrap(), Style::Plain, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&[alert]), "  2h ago  key_invalid: openai/a is invalid\n");
        assert_eq!(written(&[]), "no alert is raised\n");
    }

    #[test]
    fn a_test_says_which_webhook_took_it() {
        let of = |webhook, delivered, status, message: &str| {
            let (host, message) = ("hooks.example.org".to_owned(), message.to_owned());
            Delivery { webhook, host, delivered, status, message }
        };
        let mut out = Vec::new();
        render_test(&[of(0, true, Some(200), "taken"), of(1, false, None, "no connection")], Style::Plain, &mut out).unwrap();
        let expected = "\
✓ webhook 0 at hooks.example.org: taken (HTTP 200)
✗ webhook 1 at hooks.example.org: no connection
sent to 2 webhooks; the test is also in the log and among the events
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
