//! Where the log goes: the terminal, the journal under systemd, a file in the background where there is no journal.

use std::io::IsTerminal;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
#[cfg(unix)]
use std::path::Path;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::environment::Environment;

type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts the log on standard error, or in the journal where systemd connected that there. `GOLLM_LOG` says how much of it
/// (`info`, `debug`, `gollm=trace`, …).
pub(super) fn begin(environment: &Environment) {
    let journal = environment.value("JOURNAL_STREAM").and_then(|_| journal());
    write_to(journal.unwrap_or_else(terminal), environment);
}

/// Starts the log in the journal, or in `gollmd.log` in `directory`.
#[cfg(unix)]
pub(super) fn begin_in_background(directory: &Path, environment: &Environment) {
    write_to(journal().or_else(|| file(directory)).unwrap_or_else(terminal), environment);
}

fn write_to(output: Output, environment: &Environment) {
    let wanted = environment.value("GOLLM_LOG").unwrap_or("info");
    // Only this crate's own events are ever asked for: those of others may hold what they send.
    let read = Some(own(wanted)).filter(|own| !own.is_empty()).and_then(|own| EnvFilter::try_new(own).ok());
    let misread = read.is_none();
    let filter = read.unwrap_or_else(|| EnvFilter::new("gollm=info"));
    // A second start in one process keeps the first log.
    drop(tracing_subscriber::registry().with(output.with_filter(filter)).try_init());
    if misread {
        tracing::warn!("GOLLM_LOG can't be read and `info` is used: write `error`, `warn`, `info`, `debug` or `trace`, or `gollm::audit=debug`");
    }
}

/// `debug` as `gollm=debug`; what names targets already is left to those that are gollm's.
fn own(wanted: &str) -> String {
    let own = wanted.split(',').map(str::trim).filter_map(|part| match part.split_once('=') {
        None if part.starts_with("gollm") => Some(part.to_owned()),
        None => Some(format!("gollm={part}")),
        Some((target, _)) if target.starts_with("gollm") => Some(part.to_owned()),
        Some(_) => None,
    });
    own.collect::<Vec<_>>().join(",")
}

fn terminal() -> Output {
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false).boxed()
}

#[cfg(unix)]
fn file(directory: &Path) -> Option<Output> {
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(directory.join("gollmd.log")).ok()?;
    Some(tracing_subscriber::fmt::layer().with_writer(std::sync::Mutex::new(file)).with_ansi(false).with_target(false).boxed())
}

#[cfg(target_os = "linux")]
fn journal() -> Option<Output> {
    let layer = tracing_journald::layer().ok()?;
    Some(layer.with_field_prefix(Some("GOLLM".to_owned())).with_syslog_identifier("gollmd".to_owned()).boxed())
}

#[cfg(not(target_os = "linux"))]
fn journal() -> Option<Output> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_of_gollm_can_be_asked_for() {
        assert_eq!(own("debug"), "gollm=debug");
        assert_eq!(own("trace,reqwest=trace,gollm::audit=off"), "gollm=trace,gollm::audit=off");
    }
}
