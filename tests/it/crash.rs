//! What was acknowledged survives `kill -9`, and no crash gives anything back: thirty of them, under load, against a model.

mod model;
mod worker;

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::crash::model::{Limits, Model};
use crate::crash::worker::Worker;
use crate::harness::Site;
use crate::harness::daemon::Daemon;
use crate::harness::lines::{Lines, nanos, text};

/// Crashes of one run.
const KILLS: u64 = 30;

/// Clients at a time, each with one request under way.
const WORKERS: usize = 5;

/// A provider for each strategy, each with a key of a small rate limit, one of large limits, one without any.
const CONFIG: &str = "
providers:
  openai: {api_keys: *keys, rotation: {strategy: round_robin, health_check: false}}
  groq: {api_keys: *keys, rotation: {strategy: least_used, health_check: false}}
  mistral: {api_keys: *keys, rotation: {strategy: cost_optimized, health_check: false}}
  cohere: {api_keys: *keys, rotation: {strategy: random, health_check: false}}
  deepseek: {api_keys: *keys, rotation: {strategy: single, health_check: false}}
global: {key_validation: false, lease_ttl: 2h, global_rate_limit: 8000, daily_cost_limit: 400, fallback_chain: [openai, groq, mistral, cohere, deepseek]}
";

const KEYS: &str = "[{key: k-a, name: a, rate_limit: 90}, {key: k-b, name: b, rate_limit: 1500, cost_limit: 20}, {key: k-c, name: c}]";

/// The limits of a key, and over all keys.
fn limits(key: &str) -> Limits {
    match key.rsplit('/').next() {
        Some("a") => Limits { rate: Some(90), cost: None },
        Some("b") => Limits { rate: Some(1500), cost: Some(20_000_000_000) },
        Some("*") => Limits { rate: Some(8000), cost: Some(400_000_000_000) },
        _ => Limits { rate: None, cost: None },
    }
}

fn seed() -> u64 {
    let given = std::env::var("GOLLM_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| fastrand::u64(..))
}

#[test]
fn nothing_acknowledged_is_lost_and_no_limit_is_passed_over_thirty_crashes() {
    let seed = seed();
    eprintln!("GOLLM_TEST_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let site = Site::new(&CONFIG.replace("*keys", KEYS));
    let model = Model::new(limits);
    let mut workers: Vec<Worker> = (0..WORKERS).map(|number| Worker::new(number, rng.fork())).collect();
    for kill in 0..KILLS {
        if kill % 5 == 4 {
            // A crash in the middle of a start is one too.
            let daemon = Daemon::spawn(&site, &[]);
            std::thread::sleep(Duration::from_millis(rng.u64(0..700)));
            daemon.kill();
        }
        let daemon = site.start();
        for worker in &mut workers {
            worker.resolve(&mut site.lines(), &model);
        }
        compare(&mut site.lines(), &model, kill + kill / 5 + 1);
        std::thread::scope(|scope| {
            for worker in &mut workers {
                let (lines, model) = (site.lines(), &model);
                scope.spawn(move || worker.run(lines, model));
            }
            std::thread::sleep(Duration::from_millis(rng.u64(5..250)));
            daemon.kill();
        });
    }
    let daemon = site.start();
    for worker in &mut workers {
        worker.resolve(&mut site.lines(), &model);
        worker.settle_all(&mut site.lines(), &model);
    }
    compare(&mut site.lines(), &model, KILLS + KILLS / 5);
    model.was_worth_it();
    let rows = books(&mut site.lines());
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    assert_eq!(books(&mut site.lines()), rows, "a clean stop changes nothing");
}

/// The usage of every key, as the daemon tells it.
fn books(lines: &mut Lines) -> Value {
    lines.expect("statistics", &json!({"statistics": {"by": ["key"]}}))
}

/// The daemon's books are the model's, and its counters are never below what was given, nor far above.
fn compare(lines: &mut Lines, model: &Model, kills: u64) {
    let statistics = books(lines);
    model.is_booked(statistics["rows"].as_array().unwrap());
    let rows = lines.expect("keys", &json!("keys"));
    for row in rows.as_array().unwrap() {
        let key = format!("{}/{}", text(&row["provider"]), text(&row["key_name"]));
        let used = nanos(&row["cost_today_usd"]) + nanos(&row["reserved_usd"]);
        model.is_counted(&key, row["requests_last_hour"].as_i64().unwrap(), used, kills);
    }
    let global = &lines.expect("status", &json!("status"))["global"];
    let used = nanos(&global["cost_today_usd"]) + nanos(&global["reserved_usd"]);
    model.is_counted("*", global["requests_last_hour"].as_i64().unwrap(), used, kills);
}
