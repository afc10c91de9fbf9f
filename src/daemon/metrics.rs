//! What there is to measure: counted where it happens, and put together when somebody scrapes it.

mod picture;
mod serve;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::daemon::metrics::picture::Picture;
use crate::event::Event;
use crate::id::{KeyId, ModelName, ProviderName};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::usage::day::Totals;
use crate::usage::sums::Sums;

pub(crate) use serve::{Served, serve, take_up};

/// Names of labels, and their values.
type Labels = Vec<(&'static str, String)>;

/// Providers that refusals are told apart by; requests for further ones, which callers make up, share a row.
const UNKNOWN: &str = "(unknown)";

/// What is counted, for as long as the daemon runs.
pub(crate) struct Metrics {
    /// Does anybody scrape? Else no clock is read for it.
    on: AtomicBool,
    leases: Family<Labels, Counter>,
    refusals: Family<Labels, Counter>,
    denials: Counter,
    requests: Family<Labels, Histogram, fn() -> Histogram>,
    probes: Family<Labels, Histogram, fn() -> Histogram>,
    batches: Histogram,
    appends: Histogram,
    checkpoints: Histogram,
    /// What was told of usage: a counter never falls, though a report may replace a dearer estimate.
    told: Mutex<HashMap<(KeyId, Option<ModelName>), Totals>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("on", &self.on).finish_non_exhaustive()
    }
}

/// A request whose time is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    op: &'static str,
    at: Instant,
}

/// From 10 µs to 40 s.
fn times_of_requests() -> Histogram {
    Histogram::new([1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0, 40.0])
}

/// From 10 ms to 60 s.
fn times_of_probes() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(false),
            leases: Family::default(),
            refusals: Family::default(),
            denials: Counter::default(),
            requests: Family::new_with_constructor(times_of_requests),
            probes: Family::new_with_constructor(times_of_probes),
            batches: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0, 4096.0]),
            appends: times_of_requests(),
            checkpoints: times_of_probes(),
            told: Mutex::default(),
        }
    }
}

impl Metrics {
    fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Release);
    }

    /// The time of now, where it is wanted.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.on.load(Ordering::Acquire).then(Instant::now)
    }

    /// A request came.
    pub(crate) fn asked(&self, op: &'static str) -> Option<Asked> {
        self.now().map(|at| Asked { op, at })
    }

    /// It is answered.
    pub(crate) fn answered(&self, asked: Option<Asked>) {
        if let Some(Asked { op, at }) = asked {
            self.requests.get_or_create(&vec![("op", op.to_owned())]).observe(at.elapsed().as_secs_f64());
        }
    }

    /// A select got no key; `known`: the provider is configured.
    pub(crate) fn refused(&self, provider: &ProviderName, known: bool, why: &ErrorReply) {
        let provider = if known { provider.to_string() } else { UNKNOWN.to_owned() };
        let mut reasons: Vec<String> = why.keys.iter().map(|key| name_of(&key.reason)).collect();
        if why.code != ErrorCode::NoKeyAvailable || reasons.is_empty() {
            reasons = vec![why.code.name().to_owned()];
        }
        reasons.sort();
        reasons.dedup();
        for reason in reasons {
            self.refusals.get_or_create(&vec![("provider", provider.clone()), ("reason", reason)]).inc();
        }
    }

    /// A request was denied.
    pub(crate) fn denied(&self) {
        self.denials.inc();
    }

    /// A live check was made.
    pub(crate) fn probed(&self, provider: &ProviderName, began: Option<Instant>) {
        if let Some(began) = began {
            self.probes.get_or_create(&vec![("provider", provider.to_string())]).observe(began.elapsed().as_secs_f64());
        }
    }

    /// A batch of events is on the disk.
    pub(crate) fn appended(&self, events: usize, began: Option<Instant>) {
        if let Some(began) = began {
            self.batches.observe(number(events as u64));
            self.appends.observe(began.elapsed().as_secs_f64());
        }
    }

    /// The store was brought up to date.
    pub(crate) fn checkpointed(&self, began: Option<Instant>) {
        if let Some(began) = began {
            self.checkpoints.observe(began.elapsed().as_secs_f64());
        }
    }

    /// Counts what the store holds now.
    pub(crate) fn happened(&self, events: &[Event]) {
        for event in events {
            if let Event::Granted(lease) = event {
                self.leases.get_or_create(&key_labels(&lease.key)).inc();
            }
        }
    }

    /// Another store is served from, or the same anew: its sums are the ones that count.
    pub(crate) fn begin_anew(&self) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The sums of usage as they are told: none is less than before.
    fn told(&self, sums: &Sums) -> Vec<(KeyId, Option<ModelName>, Totals)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, model, totals) in sums.rows() {
            told.entry((key.clone(), model.cloned())).or_default().raise(totals);
        }
        told.iter().map(|((key, model), totals)| (key.clone(), model.clone(), totals.clone())).collect()
    }

    /// All of it, in the text form of OpenMetrics.
    fn written(&self, picture: &Picture) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("gollm");
        registry.register("leases", "Leases given since gollmd started", self.leases.clone());
        registry.register("refusals", "Selects that got no key, by each reason against the keys that were considered", self.refusals.clone());
        registry.register("denials", "Requests of callers who may not ask for that", self.denials.clone());
        registry.register("request_seconds", "Time from a request to its answer, by request", self.requests.clone());
        registry.register("probe_seconds", "Time that a live check of a key took", self.probes.clone());
        registry.register("journal_batch_events", "Events that went to the disk together", self.batches.clone());
        registry.register("journal_append_seconds", "Time until a batch of events was on the disk", self.appends.clone());
        registry.register("checkpoint_seconds", "Time to bring the store behind the journal up to date", self.checkpoints.clone());
        picture.register(&mut registry, self.told(&picture.sums));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// The name that a reason has on the wire.
fn name_of(reason: &impl serde::Serialize) -> String {
    serde_json::to_value(reason).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn key_labels(key: &KeyId) -> Labels {
    vec![("provider", key.provider.to_string()), ("key", key.key.to_string())]
}

#[expect(clippy::cast_precision_loss, reason = "a measurement has fewer digits than a float")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Uid;
    use crate::money::Usd;
    use crate::protocol::error::{KeyRefusal, Reason};
    use crate::protocol::outcome::Outcome;
    use crate::time::Timestamp;
    use crate::usage::{Entry, Ledger};

    fn written(metrics: &Metrics, ledger: &Ledger) -> String {
        metrics.written(&Picture::of_sums(ledger.sums())).unwrap()
    }

    #[test]
    fn cost_is_told_by_key_and_model_and_never_falls() {
        let (metrics, mut ledger) = (Metrics::default(), Ledger::default());
        let key: KeyId = "openai/a".parse().unwrap();
        let model: ModelName = r#"gpt-"4\1"#.parse().unwrap();
        let at = Timestamp::from_unix_millis(1_767_225_600_000);
        let usage =
            crate::event::Usage { input_tokens: 1000, output_tokens: 5, cached_tokens: 0, cost: Usd::from_nanos(70_010_000), unpriced: false };
        ledger.book(&Entry { key: &key, model: Some(&model), caller: Uid(1).into(), outcome: Outcome::Timeout, usage, at });
        let line = r#"gollm_cost_usd_total{provider="openai",key="a",model="gpt-\"4\\1"} 0.07001"#;
        let text = written(&metrics, &ledger);
        assert!(text.contains(line), "{text}");
        assert!(text.contains(r#"gollm_tokens_total{provider="openai",key="a",model="gpt-\"4\\1",kind="input"} 1000"#), "{text}");
        assert!(text.contains(r#"gollm_errors_total{provider="openai",key="a",outcome="timeout"} 1"#), "{text}");
        ledger.take_back(&key, Some(&model), Uid(1).into(), Usd::from_nanos(50_000_000), at);
        assert!(written(&metrics, &ledger).contains(line));
        assert!(written(&metrics, &ledger).ends_with("# EOF\n"));
    }

    #[test]
    fn a_refusal_counts_once_for_each_reason_and_made_up_providers_are_one() {
        let metrics = Metrics::default();
        let refusal = |name: &str, reason| KeyRefusal { provider: "openai".parse().unwrap(), key_name: name.parse().unwrap(), reason, until: None };
        let keys = vec![refusal("a", Reason::Invalid), refusal("b", Reason::Invalid), refusal("c", Reason::CoolingDown)];
        let why = ErrorReply { keys, ..ErrorReply::new(ErrorCode::NoKeyAvailable, "none") };
        metrics.refused(&"openai".parse().unwrap(), true, &why);
        for number in 0..100 {
            let why = ErrorReply::new(ErrorCode::UnknownProvider, "none");
            metrics.refused(&format!("made-up-{number}").parse().unwrap(), false, &why);
        }
        let text = written(&metrics, &Ledger::default());
        for line in [
            r#"gollm_refusals_total{provider="openai",reason="invalid"} 1"#,
            r#"gollm_refusals_total{provider="openai",reason="cooling_down"} 1"#,
            r#"gollm_refusals_total{provider="(unknown)",reason="unknown_provider"} 100"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(text.matches("gollm_refusals_total").count(), 3);
    }

    #[test]
    fn no_clock_is_read_where_nobody_scrapes() {
        let metrics = Metrics::default();
        assert!(metrics.asked("select").is_none());
        metrics.switch(true);
        metrics.answered(metrics.asked("select"));
        assert!(written(&metrics, &Ledger::default()).contains(r#"gollm_request_seconds_count{op="select"} 1"#));
    }
}
