//! Where the log goes: the terminal, the journal under systemd, a file in the background where there is no journal.

use std::io::IsTerminal;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
#[cfg(unix)]
use std::path::Path;

use tracing_subscriber::filter::EnvFilter;
#[cfg(target_os = "linux")]
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::environment::Environment;

type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// The target of what is logged of states of keys and accounts.
pub(super) const STATE: &str = "gollm::state";

/// Of providers that are reached no more, or again.
pub(super) const PROVIDER: &str = "gollm::provider";

/// Of alerts.
pub(super) const ALERT: &str = "gollm::alert";

/// Of webhooks.
pub(super) const WEBHOOK: &str = "gollm::webhook";

/// Of the store, and of what may be lost.
pub(super) const STORE: &str = "gollm::store";

/// Of the configuration.
pub(super) const CONFIG: &str = "gollm::config";

/// Of the daemon's start and end, and of the lock on its store.
pub(super) const SERVICE: &str = "gollm::service";

/// Of what the audit trail has.
pub(super) const AUDIT: &str = "gollm::audit";

/// The journal's `MESSAGE_ID` of each target (systemd.journal-fields(7)); `contrib/gollm.catalog` explains them.
#[cfg(any(target_os = "linux", test))]
pub(super) const MESSAGE_IDS: [(&str, &str); 8] = [
    (STATE, "2067d14698c545ed8a4a6423cdf5ea0d"),
    (PROVIDER, "a941f7b17ba54b58a133fbe67040d3b6"),
    (ALERT, "2f97655f4b404489bd6e2dd0face26e4"),
    (WEBHOOK, "576bdbfeb97045b7b95bf5908092c0b9"),
    (STORE, "bf915661cd774a2d8049951ec2fe0494"),
    (CONFIG, "6d2fc9f3150b4c73b72577bcb21136dd"),
    (SERVICE, "58e21ce90af14237bb09f322d93967b8"),
    (AUDIT, "d986b3749ec54517a0929608948d2202"),
];

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
    let layer = || Some(tracing_journald::layer().ok()?.with_field_prefix(Some("GOLLM".to_owned())).with_syslog_identifier("gollmd".to_owned()));
    let has_id = |target: &str| MESSAGE_IDS.iter().any(|(known, _)| *known == target);
    let mut all: Output = layer()?.with_filter(filter_fn(move |event| !has_id(event.target()))).boxed();
    for (target, id) in MESSAGE_IDS {
        let of_target = filter_fn(move |event| event.target() == target);
        all = all.and_then(layer()?.with_custom_fields([("MESSAGE_ID", id)]).with_filter(of_target)).boxed();
    }
    Some(all)
}

#[cfg(not(target_os = "linux"))]
fn journal() -> Option<Output> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_explains_every_message_and_no_other() {
        let catalogue = include_str!("../../contrib/gollm.catalog");
        let mut explained: Vec<&str> = catalogue.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        explained.sort_unstable();
        let mut known = MESSAGE_IDS.map(|(_, id)| id);
        known.sort_unstable();
        assert_eq!(explained, known);
        assert!(known.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn only_events_of_gollm_can_be_asked_for() {
        assert_eq!(own("debug"), "gollm=debug");
        assert_eq!(own("trace,reqwest=trace,gollm::audit=off"), "gollm=trace,gollm::audit=off");
    }
}
