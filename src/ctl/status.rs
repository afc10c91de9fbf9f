//! `gollmctl status`: the daemon at a glance, on one screen.

use std::io::{self, Write};
use std::time::Duration;

use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::ctl::print::{Cell, Side, Style, Table, Tone, against, clean, clean_lines, counted, moment, span_words, until};
use crate::money::Usd;
use crate::protocol::reply::{self, GlobalStatus, ProviderStatus, Reply};
use crate::protocol::request::Op;
use crate::time::Timestamp;

const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Cursor to the top left, then everything cleared: ECMA-48 CUP and ED.
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[2J";

/// Show whether the daemon is up, what each provider has left, and what is wrong
#[derive(clap::Args)]
pub(crate) struct Status {
    /// Show it again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.watch {
            return watch(console);
        }
        let status = ask(console)?;
        show(console, &status)
    }
}

fn ask(console: &Console<'_>) -> Result<Box<reply::Status>, Failure> {
    match console.ask(Op::Status)? {
        Reply::Status(status) => Ok(status),
        _ => Err(Failure::unexpected("status")),
    }
}

fn show(console: &mut Console<'_>, status: &reply::Status) -> Result<(), Failure> {
    let now = console.now();
    console.show(status, |status, style, out| render(status, style, now, out))
}

/// Connects anew each time, so that a restart of the daemon is seen and survived.
fn watch(console: &mut Console<'_>) -> Result<(), Failure> {
    end_on_ctrl_c()?;
    let screen = console.terminal && console.form == Form::Text;
    loop {
        let asked = ask(console);
        if screen {
            write!(console.out, "{CLEAR_SCREEN}").map_err(Failure::Output)?;
        }
        match asked {
            Ok(status) => show(console, &status)?,
            Err(failure) if failure.may_pass() => {
                if console.form == Form::Text {
                    writeln!(console.out, "{}", console.style.paint(Tone::Bad, &failure)).map_err(Failure::Output)?;
                }
            }
            Err(failure) => return Err(failure),
        }
        if console.form == Form::Text {
            let now = moment(console.now());
            writeln!(console.out, "{}", console.style.paint(Tone::Faint, format_args!("{now}, again every 2s; Ctrl-C ends")))
                .map_err(Failure::Output)?;
        }
        console.out.flush().map_err(Failure::Output)?;
        std::thread::sleep(WATCH_EVERY);
    }
}

/// Lets Ctrl-C end the process with status 0: to stop watching is no failure.
fn end_on_ctrl_c() -> Result<(), Failure> {
    let what = |why: io::Error| Failure::Input { what: "Ctrl-C can't be watched for".to_owned(), why: why.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(what)?;
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            // The terminal has echoed ^C: the shell's prompt belongs on the next line.
            drop(writeln!(io::stderr()));
            std::process::exit(0);
        }
    });
    Ok(())
}

fn render(status: &reply::Status, style: Style, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    render_head(status, style, out)?;
    writeln!(out)?;
    let mut table = Table::new(&[
        ("PROVIDER", Side::Left),
        ("STRATEGY", Side::Left),
        ("KEYS", Side::Right),
        ("LAST HOUR", Side::Right),
        ("TODAY", Side::Right),
        ("STATE", Side::Left),
    ]);
    for provider in &status.providers {
        table.push(provider_row(provider, now));
    }
    table.push(global_row(&status.global));
    table.write(style, out)?;
    if status.global.unpriced_today > 0 {
        let note = style.paint(Tone::Warning, format!("{} unpriced", status.global.unpriced_today));
        writeln!(out, "{note} today: no price is known for their model, so they count as $0.00")?;
    }
    for warning in &status.warnings {
        writeln!(out, "{} {}", style.paint(Tone::Warning, "warning:"), clean_lines(warning))?;
    }
    Ok(())
}

fn render_head(status: &reply::Status, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let up = span_words(Duration::from_secs(status.uptime_s));
    let headline = format!("gollmd {} is up {up}", clean(&status.version));
    writeln!(out, "{}, since {}, pid {}", style.paint(Tone::Heading, headline), moment(status.started), status.pid)?;
    let lock = if status.locked { style.paint(Tone::Bad, "LOCKED: no key can be opened") } else { style.paint(Tone::Good, "unlocked") };
    let source = match status.master_source.as_str() {
        "none" => "none, the store is not encrypted",
        source => source,
    };
    writeln!(out, "  master  {} ({lock})", clean(source))?;
    writeln!(out, "  socket  {}", clean(&status.socket))?;
    writeln!(out, "  config  {}", clean(status.config.as_deref().unwrap_or("none, the environment alone")))?;
    let counts = &status.counts;
    writeln!(
        out,
        "  counts  {} open, {}; {}, {} since start",
        counted(counts.leases_open, "lease"),
        counted(counts.connections, "connection"),
        counted(counts.selects, "select"),
        counted(counts.reports, "report")
    )
}

fn provider_row(provider: &ProviderStatus, now: Timestamp) -> Vec<Cell> {
    let (tone, mut state) = if !provider.reachable {
        (Tone::Bad, "unreachable".to_owned())
    } else if let Some(free) = provider.next_free {
        (Tone::Warning, format!("free in {}", until(free, now)))
    } else if provider.keys_healthy == 0 {
        (Tone::Bad, "no usable key".to_owned())
    } else {
        (Tone::Good, "reachable".to_owned())
    };
    if provider.waiting > 0 {
        state = format!("{state}, {} wait", provider.waiting);
    }
    vec![
        provider.provider.as_str().into(),
        provider.strategy.name().into(),
        keys_cell(provider.keys_healthy, provider.keys_total),
        requests_cell(provider.requests_last_hour, provider.rate_limit),
        cost_cell(provider.cost_today_usd, provider.cost_limit),
        Cell::new(tone, state),
    ]
}

fn global_row(global: &GlobalStatus) -> Vec<Cell> {
    let reserved = if global.reserved_usd > Usd::ZERO { format!("{} reserved", global.reserved_usd) } else { String::new() };
    vec![
        Cell::new(Tone::Heading, "all"),
        "".into(),
        keys_cell(global.keys_healthy, global.keys_total),
        requests_cell(global.requests_last_hour, global.rate_limit),
        cost_cell(global.cost_today_usd, global.cost_limit),
        Cell::new(Tone::Faint, reserved),
    ]
}

fn keys_cell(healthy: u64, total: u64) -> Cell {
    let tone = match healthy {
        0 => Tone::Bad,
        some if some < total => Tone::Warning,
        _ => Tone::Good,
    };
    Cell::new(tone, format!("{healthy}/{total}"))
}

fn requests_cell(used: u64, limit: Option<u64>) -> Cell {
    Cell::new(limit_tone(used, limit), against(used, limit))
}

fn cost_cell(used: Usd, limit: Option<Usd>) -> Cell {
    Cell::new(limit_tone(used, limit), against(used, limit))
}

fn limit_tone<T: PartialOrd>(used: T, limit: Option<T>) -> Tone {
    if limit.is_some_and(|limit| used >= limit) { Tone::Bad } else { Tone::Normal }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::reply::Counts;
    use crate::protocol::strategy::Strategy;

    fn provider(name: &str) -> ProviderStatus {
        ProviderStatus {
            provider: name.parse().unwrap(),
            strategy: Strategy::RoundRobin,
            keys_total: 3,
            keys_healthy: 2,
            requests_last_hour: 120,
            rate_limit: Some(1000),
            cost_today_usd: Usd::from_nanos(1_200_000_000),
            cost_limit: Some(Usd::from_nanos(50_000_000_000)),
            reachable: true,
            next_free: None,
            waiting: 0,
        }
    }

    fn status() -> reply::Status {
        let waiting = ProviderStatus {
            strategy: Strategy::CostOptimized,
            keys_healthy: 0,
            next_free: Some("2026-01-03T04:12:00Z".parse().unwrap()),
            waiting: 7,
            ..provider("anthropic")
        };
        let silent = ProviderStatus { reachable: false, rate_limit: None, cost_limit: None, ..provider("gemini") };
        reply::Status {
            version: "0.1.0".to_owned(),
            pid: 4242,
            uptime_s: 187_200,
            started: "2026-01-01T00:00:00.123Z".parse().unwrap(),
            locked: false,
            master_source: "keyring".to_owned(),
            socket: "/run/gollm/gollmd.sock".to_owned(),
            config: Some("/etc/gollm/gollm-config.yaml".to_owned()),
            counts: Counts { leases_open: 3, connections: 5, selects: 1200, reports: 1190 },
            providers: vec![provider("openai"), waiting, silent],
            global: GlobalStatus {
                keys_total: 9,
                keys_healthy: 4,
                requests_last_hour: 360,
                rate_limit: Some(5000),
                cost_today_usd: Usd::from_nanos(3_600_000_000),
                reserved_usd: Usd::from_nanos(100_000_000),
                cost_limit: Some(Usd::from_nanos(100_000_000_000)),
                unpriced_today: 2,
            },
            warnings: vec!["fallback_chain names `mistral`, which has no keys".to_owned()],
        }
    }

    fn rendered(status: &reply::Status, style: Style) -> String {
        let mut out = Vec::new();
        render(status, style, "2026-01-03T04:00:00Z".parse().unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_daemon_fits_one_screen_at_a_glance() {
        let text = rendered(&status(), Style::Plain);
        let expected = "\
gollmd 0.1.0 is up 2d 4h, since 2026-01-01T00:00:00Z, pid 4242
  master  keyring (unlocked)
  socket  /run/gollm/gollmd.sock
  config  /etc/gollm/gollm-config.yaml
  counts  3 leases open, 5 connections; 1200 selects, 1190 reports since start

PROVIDER   STRATEGY        KEYS  LAST HOUR          TODAY  STATE
openai     round_robin      2/3   120/1000   $1.20/$50.00  reachable
anthropic  cost_optimized   0/3   120/1000   $1.20/$50.00  free in 12m, 7 wait
gemini     round_robin      2/3        120          $1.20  unreachable
all                         4/9   360/5000  $3.60/$100.00  $0.10 reserved
2 unpriced today: no price is known for their model, so they count as $0.00
warning: fallback_chain names `mistral`, which has no keys
";
        assert_eq!(text, expected);
        assert!(text.lines().count() <= 24);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_locked_daemon_says_so_loudly() {
        let locked = reply::Status { locked: true, master_source: "none".to_owned(), config: None, ..status() };
        let text = rendered(&locked, Style::Plain);
        assert!(text.contains("  master  none, the store is not encrypted (LOCKED: no key can be opened)\n"), "{text}");
        assert!(text.contains("  config  none, the environment alone\n"), "{text}");
    }

    #[test]
    fn colour_marks_what_is_wrong() {
        let text = rendered(&status(), Style::Colour);
        assert!(text.contains("\u{1b}[33mwarning:\u{1b}[0m"), "{text:?}");
        assert!(text.contains("\u{1b}[1m\u{1b}[31munreachable\u{1b}[0m"), "{text:?}");
        assert!(text.contains("\u{1b}[33mfree in 12m, 7 wait\u{1b}[0m"), "{text:?}");
    }
}
