//! A store that the example `month` fills on a clock that is moved, opened by a gollmd whose clock is not.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Ran, Site, run};

/// Runs the example, which cargo builds beside the programs for tests.
fn month(site: &Site, dir: &str, arguments: &[&str]) -> Ran {
    let programs = PathBuf::from(env!("CARGO_BIN_EXE_gollmd"));
    let example = programs.parent().unwrap().join("examples/month");
    assert!(example.exists(), "`cargo test` builds {}; by itself `cargo build --example month` does", example.display());
    let mut command = Command::new(example);
    command.env_clear().arg("--dir").arg(site.path(dir)).args(arguments);
    run(command, "")
}

/// The table of the example, without the commands that name its directory.
fn table(ran: &Ran) -> &str {
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("says the same to the nano-dollar"), "{ran:?}");
    ran.out.split("To look at it").next().unwrap()
}

#[test]
fn a_simulated_months_store_says_what_the_simulation_counted() {
    let site = Site::bare();
    let ran = month(&site, "month", &["--days", "3", "--keys", "8"]);
    let total: Vec<&str> = table(&ran).lines().find(|line| line.starts_with("total")).unwrap().split_whitespace().collect();
    std::fs::rename(site.path("month/gollm-config.yaml"), site.config()).unwrap();
    std::fs::rename(site.path("month/state"), site.state()).unwrap();
    let daemon = site.start();
    let told = site.ctl(&["stats", "--json", "--since", "4d"]);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let told = &told["total"];
    let failed: u64 = told["errors"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    let nanos = (told["cost_usd"].as_f64().unwrap() * 1e9).round() as i64;
    let cost = format!("${}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let number = |name: &str| told[name].as_u64().unwrap().to_string();
    let row = ["total".to_owned(), number("requests"), failed.to_string(), number("input_tokens"), number("output_tokens"), cost];
    assert_eq!(total, row);
    assert!(told["requests"].as_u64().unwrap() > 1000, "{told}");
    // The clock of the simulation ended where the system's is: what limits count is of the last hour.
    let status = site.lines().expect("status", &serde_json::json!("status"));
    assert_eq!(status["counts"]["leases_open"], 0);
    assert!(daemon.terminate().success());
}

#[test]
fn the_same_seed_makes_the_same_month() {
    let site = Site::bare();
    let of = |dir: &str, seed: &str| month(&site, dir, &["--days", "1", "--keys", "6", "--end", "2026-11-20T12:00:00Z", "--seed", seed]);
    let (one, same, other) = (of("one", "7"), of("same", "7"), of("other", "8"));
    assert_eq!(table(&one), table(&same));
    assert_ne!(table(&one), table(&other));
    let again = of("one", "7");
    assert_eq!(again.status, 1);
    assert!(again.err.contains("is there already"), "{again:?}");
}
