//! Requests with as many keys as they take, through both clients and through the example.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use gollm::environment::Environment;
use gollm::{CallError, Client, Failed, Outcome, Select, Usage};
use serde_json::json;

use crate::harness::provider::Provider;
use crate::harness::{LONGEST, Site, run};

const CONFIG: &str = "
providers:
  openai:
    base_url: BASE_URL
    api_keys: [{key: sk-a, name: a}, {key: sk-b, name: b}, {key: sk-c, name: c}]
    models: [{name: gpt-4, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.06}]
    rotation: {health_check: false}
global: {key_validation: false}
";

fn site(base_url: &str) -> Site {
    Site::new(&CONFIG.replace("BASE_URL", base_url))
}

/// A request that only the key with this secret can make.
fn only(good: &str, secret: &str) -> Result<(String, Usage), Failed<String>> {
    if secret == good {
        Ok((secret.to_owned(), Usage::tokens(1000, 500)))
    } else {
        Err(Failed::new(Outcome::RateLimited, format!("429 for {secret}")))
    }
}

#[tokio::test]
async fn a_call_goes_on_to_other_keys_and_never_twice_to_one() {
    let site = site("http://127.0.0.1:9/v1");
    let _daemon = site.start();
    let client = Client::builder().socket(site.socket()).timeout(LONGEST).connect(&Environment::default()).await.unwrap();
    let select = Select { model: Some("gpt-4".parse().unwrap()), ..Select::any("openai".parse().unwrap()) };
    let mut tried = Vec::new();
    let answer = client.with_key_for(select, |lease| {
        tried.push(lease.key_name().to_string());
        async move { only("sk-c", lease.secret().expose()) }
    });
    assert_eq!(answer.await.unwrap(), "sk-c");
    assert_eq!(tried, ["a", "b", "c"]);
    let mut lines = site.lines();
    let total = lines.expect("statistics", &json!("statistics"))["total"].clone();
    assert_eq!((&total["requests"], &total["errors"], &total["cost_usd"]), (&json!(3), &json!({"rate_limited": 2}), &json!(0.06)));
    // With every key tried, the last failure is the answer.
    for key in ["a", "b"] {
        lines.done(&json!({"key_enable": {"provider": "openai", "key_name": key}}));
    }
    let mut tried = BTreeSet::new();
    let failed = client.with_key("openai", |lease| {
        assert!(tried.insert(lease.key_name().to_string()));
        async move { only("none", lease.secret().expose()) }
    });
    let Err(CallError::Failed { last, tried: keys }) = failed.await else { panic!("it can't succeed") };
    assert_eq!((last.outcome, keys.len(), tried.len()), (Outcome::RateLimited, 3, 3));
    assert!(matches!(client.with_key("nobody", |_| async { only("", "") }).await, Err(CallError::NoKey(_))));
    assert_eq!(lines.expect("status", &json!("status"))["counts"]["leases_open"], 0);
}

#[test]
fn the_blocking_client_calls_in_the_same_way() {
    let site = site("http://127.0.0.1:9/v1");
    let _daemon = site.start();
    let client = Client::builder().socket(site.socket()).timeout(LONGEST).connect_blocking(&Environment::default()).unwrap();
    assert_eq!(client.with_key("openai", |lease| only("sk-b", lease.secret().expose())).unwrap(), "sk-b");
    let refused = client.with_key("openai", |_| Err::<((), Usage), _>(Failed::new(Outcome::BadRequest, "400")));
    // The caller's mistake is no key's: it is tried once.
    let Err(CallError::Failed { tried, .. }) = refused else { panic!("it can't succeed") };
    assert_eq!(tried.len(), 1);
    assert_eq!(site.lines().expect("status", &json!("status"))["counts"]["leases_open"], 0);
}

#[test]
fn the_example_chats_through_keys_that_fail() {
    let provider = Provider::start(|head| {
        let error = |status, code: &str| (status, json!({"error": {"message": format!("{code}, sorry"), "code": code}}).to_string());
        if head.contains("Bearer sk-a") {
            error(429, "rate_limit_exceeded")
        } else if head.contains("Bearer sk-b") {
            error(429, "insufficient_quota")
        } else {
            let usage = json!({"prompt_tokens": 1000, "completion_tokens": 500});
            (200, json!({"choices": [{"message": {"role": "assistant", "content": "Hello!"}}], "usage": usage}).to_string())
        }
    });
    let site = site(&provider.base_url);
    let _daemon = site.start();
    let ran = chat(&site, &["openai", "gpt-4", "Say hello."]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "Hello!\n"), "{ran:?}");
    let asked = provider.seen();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|head| head.starts_with("POST /v1/chat/completions\n")), "{asked:?}");
    let mut lines = site.lines();
    assert_eq!(lines.row("openai", "a")["state"], "unknown", "its set-aside is for the model alone");
    assert_eq!(lines.row("openai", "b")["state"], "exhausted");
    assert_eq!(lines.row("openai", "c")["cost_today_usd"], 0.06);
    lines.done(&json!({"key_disable": {"provider": "openai", "key_name": "c"}}));
    let ran = chat(&site, &["nobody", "gpt-4", "Say hello."]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("no provider `nobody`"), "{}", ran.err);
    assert_eq!(chat(&site, &["openai"]).status, 2);
}

/// Runs the example, which cargo builds beside the programs for tests.
fn chat(site: &Site, arguments: &[&str]) -> crate::harness::Ran {
    let programs = PathBuf::from(env!("CARGO_BIN_EXE_gollmd"));
    let example = programs.parent().unwrap().join("examples/chat");
    assert!(example.exists(), "`cargo test` builds {}; by itself `cargo build --example chat` does", example.display());
    let mut command = Command::new(example);
    command.env_clear().env("GOLLM_SOCKET", site.socket()).args(arguments);
    run(command, "")
}
