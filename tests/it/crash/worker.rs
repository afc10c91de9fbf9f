//! A client under load: it selects, reports, cancels and records, and after a crash finds out what became of its last request.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::crash::model::{ESTIMATE_MAX, Model};
use crate::harness::lines::{Lines, text};

/// Leases that a worker holds at a time.
const HELD_MAX: usize = 12;

/// A lease that was given and not settled.
#[derive(Debug, Clone)]
struct Held {
    token: String,
    key: String,
    estimate: i64,
}

/// How a lease is settled.
#[derive(Debug, Clone)]
struct Settling {
    held: Held,
    outcome: &'static str,
    cost: i64,
}

/// A request whose answer is awaited.
#[derive(Debug)]
enum Doing {
    Nothing,
    Select,
    Settle(Settling),
    Record(String, u64),
}

/// One client.
pub(super) struct Worker {
    rng: Rng,
    /// The model of its records: nobody else records with it.
    model: String,
    held: Vec<Held>,
    doing: Doing,
    /// What it has settled for certain.
    settled: Vec<Settling>,
    /// Its acknowledged records by key.
    recorded: BTreeMap<String, u64>,
}

#[expect(clippy::cast_precision_loss, reason = "a few dollars in nano-dollars are far below 2^53")]
fn dollars(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

impl Settling {
    fn request(&self) -> Value {
        json!({"report": {"lease": self.held.token, "outcome": self.outcome, "cost_usd": dollars(self.cost)}})
    }
}

impl Worker {
    pub(super) fn new(number: usize, rng: Rng) -> Self {
        let model = format!("records-{number}");
        Self { rng, model, held: Vec::new(), doing: Doing::Nothing, settled: Vec::new(), recorded: BTreeMap::new() }
    }

    /// Asks until the connection breaks.
    pub(super) fn run(&mut self, mut lines: Lines, model: &Model) {
        while self.step(&mut lines, model).is_ok() {}
        if !matches!(self.doing, Doing::Nothing) {
            model.unanswered();
        }
    }

    fn step(&mut self, lines: &mut Lines, model: &Model) -> std::io::Result<()> {
        match self.rng.u32(0..100) {
            0..8 => self.record(lines, model),
            8..12 => self.repeat(lines),
            12..60 if self.held.len() < HELD_MAX => self.select(lines, model),
            _ if self.held.is_empty() => self.select(lines, model),
            _ => {
                let held = self.held.swap_remove(self.rng.usize(0..self.held.len()));
                let outcome = *self.rng.choice(["ok", "ok", "ok", "cancelled", "cancelled", "bad_request", "timeout"].iter()).unwrap();
                self.settle(held, outcome, lines, model)
            }
        }
    }

    fn select(&mut self, lines: &mut Lines, model: &Model) -> std::io::Result<()> {
        let provider = *self.rng.choice(["openai", "groq", "mistral", "cohere", "deepseek"].iter()).unwrap();
        let estimate = self.rng.i64(1..=ESTIMATE_MAX);
        let mut select = json!({"provider": provider, "estimate": {"cost_usd": dollars(estimate)}});
        if self.rng.u32(0..3) > 0 {
            select["key_name"] = json!(self.rng.choice(["a", "b", "c"].iter()).unwrap());
        }
        self.doing = Doing::Select;
        let reply = lines.try_ask(&json!({"select": select}))?;
        self.doing = Doing::Nothing;
        if reply["error"]["code"] == "no_key_available" {
            model.refused();
            return Ok(());
        }
        let lease = &reply["lease"];
        let key = format!("{}/{}", text(&lease["provider"]), text(&lease["key_name"]));
        model.given(&key, estimate);
        self.held.push(Held { token: text(&lease["lease"]), key, estimate });
        Ok(())
    }

    fn settle(&mut self, held: Held, outcome: &'static str, lines: &mut Lines, model: &Model) -> std::io::Result<()> {
        let cost = if outcome == "cancelled" { 0 } else { self.rng.i64(0..=held.estimate) };
        model.returned(&held.key, held.estimate, cost, outcome);
        let settling = Settling { held, outcome, cost };
        let request = settling.request();
        self.doing = Doing::Settle(settling.clone());
        let reply = lines.try_ask(&request)?;
        assert_eq!(reply["reported"]["duplicate"], false, "{reply}");
        self.acknowledged(settling, model);
        Ok(())
    }

    fn acknowledged(&mut self, settling: Settling, model: &Model) {
        self.doing = Doing::Nothing;
        model.booked(&settling.held.key, settling.outcome, 0, settling.cost);
        self.settled.push(settling);
    }

    /// What is settled stays settled, whoever reports it again, and with whatever outcome.
    fn repeat(&mut self, lines: &mut Lines) -> std::io::Result<()> {
        let Some(settled) = self.rng.choice(self.settled.iter()) else { return Ok(()) };
        let request = Settling { outcome: "ok", cost: 1_000_000, ..settled.clone() }.request();
        let reply = lines.try_ask(&request)?;
        assert_eq!(reply["reported"]["duplicate"], true, "{reply}");
        Ok(())
    }

    fn record(&mut self, lines: &mut Lines, model: &Model) -> std::io::Result<()> {
        let (provider, key) = (*self.rng.choice(["openai", "groq"].iter()).unwrap(), *self.rng.choice(["b", "c"].iter()).unwrap());
        let tokens = self.rng.u64(1..1000);
        self.doing = Doing::Record(format!("{provider}/{key}"), tokens);
        let record = json!({"provider": provider, "key_name": key, "model": self.model, "input_tokens": tokens, "cost_usd": 0});
        let reply = lines.try_ask(&json!({"record": record}))?;
        assert_eq!(reply["reported"]["key_name"], key, "{reply}");
        self.recorded_one(&format!("{provider}/{key}"), tokens, model);
        Ok(())
    }

    fn recorded_one(&mut self, key: &str, tokens: u64, model: &Model) {
        self.doing = Doing::Nothing;
        *self.recorded.entry(key.to_owned()).or_default() += 1;
        model.booked(key, "ok", tokens, 0);
    }

    /// After a crash: what became of the request that was not answered?
    pub(super) fn resolve(&mut self, lines: &mut Lines, model: &Model) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            // A lease that nobody heard of is never reported.
            Doing::Nothing | Doing::Select => {}
            // A report is sent again: it counts once, whether the first was taken or not.
            Doing::Settle(settling) => {
                lines.expect("reported", &settling.request());
                self.acknowledged(settling, model);
            }
            Doing::Record(key, tokens) => {
                let rows = lines.expect("statistics", &json!({"statistics": {"by": ["key", "model"]}}));
                let mine =
                    |row: &&Value| row["model"] == self.model.as_str() && format!("{}/{}", text(&row["provider"]), text(&row["key_name"])) == key;
                let told = rows["rows"].as_array().unwrap().iter().find(mine).map_or(0, |row| row["requests"].as_u64().unwrap());
                let known = self.recorded.get(&key).copied().unwrap_or(0);
                assert!(told == known || told == known + 1, "{key}: {known} records of {} are acknowledged, {told} are told", self.model);
                if told > known {
                    self.recorded_one(&key, tokens, model);
                }
            }
        }
    }

    /// Settles what it holds, much of it given before a crash, and finds all that it settled still settled.
    pub(super) fn settle_all(&mut self, lines: &mut Lines, model: &Model) {
        for held in std::mem::take(&mut self.held) {
            self.settle(held, "ok", lines, model).unwrap();
        }
        for settled in &self.settled {
            assert_eq!(lines.expect("reported", &settled.request())["duplicate"], true);
        }
    }
}
