//! Which key is taken, through the socket: strategies, weights, limits, fallback, set-asides.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::lines::{Lines, nanos, text};
use crate::harness::{Site, until};

/// A provider with keys that are named by a letter; its first letters say what is special about it.
const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-a, name: a}, {key: sk-b, name: b}, {key: sk-c, name: c}]
    models: [{name: gpt-4, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.06}]
    rotation: {strategy: round_robin, health_check: false}
  groq:
    api_keys: [{key: gsk-a, name: a}, {key: gsk-b, name: b}, {key: gsk-c, name: c}]
    rotation: {strategy: least_used, health_check: false}
  mistral:
    api_keys: [{key: mi-a, name: a}, {key: mi-b, name: b}, {key: mi-c, name: c}]
    rotation: {strategy: cost_optimized, health_check: false}
  xai:
    api_keys: [{key: xai-a, name: a, weight: 1}, {key: xai-b, name: b, weight: 9}, {key: xai-c, name: c, enabled: false}]
    rotation: {strategy: random, health_check: false}
  anthropic:
    api_keys: [{key: sk-ant-a, name: a}, {key: sk-ant-b, name: b}]
    rotation: {strategy: single, health_check: false}
  gemini:
    api_keys: [{key: AIza-a, name: a}, {key: AIza-b, name: b}]
    rotation: {strategy: round_robin, per: interval, interval: 1h, health_check: false}
  cohere:
    api_keys: [{key: co-a, name: a, weight: 3}, {key: co-b, name: b, weight: 1}]
    rotation: {strategy: round_robin, health_check: false}
global: {key_validation: false}
";

fn counts(lines: &mut Lines, provider: &str, times: usize) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(lines.key(provider)).or_default() += 1;
    }
    counts
}

fn keys(lines: &mut Lines, provider: &str, times: usize) -> String {
    (0..times).map(|_| lines.key(provider)).collect()
}

#[test]
fn each_strategy_takes_the_keys_that_it_promises() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    assert_eq!(keys(&mut lines, "openai", 7), "abcabca");
    assert_eq!(keys(&mut lines, "groq", 3), "abc");
    // A key that was taken by name is used more, and left until the others have caught up.
    for _ in 0..2 {
        lines.lease(&json!({"provider": "groq", "key_name": "a"}));
    }
    assert_eq!(keys(&mut lines, "groq", 5), "bcbca");
    for (key, cost) in [("a", 3), ("b", 1), ("c", 2)] {
        lines.expect("reported", &json!({"record": {"provider": "mistral", "key_name": key, "cost_usd": cost}}));
    }
    let mut dear = |cost: f64| text(&lines.lease(&json!({"provider": "mistral", "estimate": {"cost_usd": cost}}))["key_name"]);
    // What is reserved counts as what is settled.
    assert_eq!([dear(1.5), dear(0.2), dear(0.4), dear(0.1)].concat(), "bccb");
    let random = counts(&mut lines, "xai", 400);
    assert!(random.get("a").is_some_and(|a| (10..90).contains(a)) && random["a"] + random["b"] == 400, "{random:?}");
    assert_eq!(keys(&mut lines, "anthropic", 3), "aaa");
    assert_eq!(counts(&mut lines, "cohere", 40), BTreeMap::from([("a".to_owned(), 30), ("b".to_owned(), 10)]));
    a_choice_is_kept(&mut lines);
    the_caller_may_choose(&mut lines);
}

fn a_choice_is_kept(lines: &mut Lines) {
    assert_eq!(keys(lines, "gemini", 3), "aaa");
    lines.done(&json!({"key_disable": {"provider": "gemini", "key_name": "a"}}));
    assert_eq!(keys(lines, "gemini", 3), "bbb");
    lines.done(&json!({"key_enable": {"provider": "gemini", "key_name": "a"}}));
    assert_eq!(keys(lines, "gemini", 3), "bbb");
}

fn the_caller_may_choose(lines: &mut Lines) {
    let single = lines.lease(&json!({"provider": "openai", "strategy": "single"}));
    assert_eq!((&single["key_name"], &single["strategy"]), (&json!("a"), &json!("single")));
    let named = lines.lease(&json!({"provider": "anthropic", "key_name": "b"}));
    assert_eq!((&named["key_name"], &named["secret"]), (&json!("b"), &json!("sk-ant-b")));
    let refused = lines.refused("no_key_available", &json!({"select": {"provider": "xai", "key_name": "c"}}));
    assert_eq!(refused["keys"], json!([{"provider": "xai", "key_name": "c", "reason": "disabled", "until": null}]));
    assert_eq!(refused["retry_after_ms"], Value::Null);
}

#[test]
fn limits_are_never_passed_and_their_end_is_told() {
    let site = Site::new(
        "
providers:
  openai:
    api_keys: [{key: sk-a, name: a, rate_limit: 3}, {key: sk-b, name: b, cost_limit: 1.0}, {key: sk-c, name: c, enabled: false}, {name: d}]
    models: [{name: gpt-4, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.06}]
    rotation: {health_check: false}
  groq: {api_keys: [{key: gsk-a, name: a}], rotation: {health_check: false}}
global: {key_validation: false, global_rate_limit: 12, daily_cost_limit: 10}
",
    );
    let _daemon = site.start();
    let mut lines = site.lines();
    let ask = |key: &str, estimate: Value| json!({"provider": "openai", "key_name": key, "estimate": estimate});
    for _ in 0..3 {
        lines.lease(&ask("a", Value::Null));
    }
    let half = lines.lease(&ask("b", json!({"cost_usd": 0.5})));
    lines.lease(&json!({"provider": "openai", "key_name": "b", "model": "gpt-4", "estimate": {"input_tokens": 10000, "output_tokens": 3000}}));
    assert_eq!(nanos(&lines.row("openai", "b")["reserved_usd"]), 980_000_000);
    let refused = lines.refused("no_key_available", &json!({"select": {"provider": "openai", "estimate": {"cost_usd": 0.03}}}));
    let reasons: Vec<(String, String)> =
        refused["keys"].as_array().unwrap().iter().map(|key| (text(&key["key_name"]), text(&key["reason"]))).collect();
    let expected = [("a", "rate_limited"), ("b", "cost_limited"), ("c", "disabled"), ("d", "sealed")];
    assert_eq!(reasons, expected.map(|(key, reason)| (key.to_owned(), reason.to_owned())));
    let wait = refused["retry_after_ms"].as_u64().unwrap();
    assert!(wait > 0 && wait <= 3_660_000, "{refused}");
    assert!(!refused["keys"][0]["until"].is_null() && refused["keys"][2]["until"].is_null());
    // What a lease did not use, and what it used less than estimated, is there again.
    lines.report(&half, "cancelled");
    let dear = lines.lease(&ask("b", json!({"cost_usd": 0.52})));
    lines.expect("reported", &json!({"report": {"lease": dear["lease"], "outcome": "ok", "cost_usd": 0.02}}));
    lines.lease(&ask("b", json!({"cost_usd": 0.5})));
    the_limits_of_all(&mut lines);
}

fn the_limits_of_all(lines: &mut Lines) {
    lines.refused("no_key_available", &json!({"select": {"provider": "groq", "estimate": {"cost_usd": 9.1}}}));
    for _ in 0..6 {
        lines.lease(&json!({"provider": "groq"}));
    }
    let refused = lines.refused("no_key_available", &json!({"select": {"provider": "groq"}}));
    assert_eq!(refused["keys"][0]["reason"], "global_rate_limited");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| wait <= 3_660_000));
    assert_eq!(lines.expect("status", &json!("status"))["global"]["requests_last_hour"], 12);
}

#[test]
fn the_fallback_chain_is_followed_in_its_order() {
    let key = |name: &str, more: &str| {
        format!("{name}: {{api_keys: [{{key: k-{name}, name: a, rate_limit: 1}}], rotation: {{health_check: false{more}}}}}")
    };
    let site = Site::new(&format!(
        "providers:\n  {}\n  {}\n  {}\n  {}\nglobal: {{key_validation: false, fallback_chain: [mistral, groq, ghost, cohere]}}",
        key("cohere", ""),
        key("groq", ""),
        key("mistral", ""),
        key("deepseek", ", fallback_enabled: false"),
    ));
    let _daemon = site.start();
    let mut lines = site.lines();
    let first = lines.lease(&json!({"provider": "groq", "model": "llama"}));
    assert_eq!((&first["provider"], &first["fallback_from"], &first["model"]), (&json!("groq"), &Value::Null, &Value::Null));
    lines.refused("no_key_available", &json!({"select": {"provider": "groq", "fallback": false}}));
    lines.refused("no_key_available", &json!({"select": {"provider": "groq", "key_name": "a"}}));
    let second = lines.lease(&json!({"provider": "groq", "model": "llama"}));
    assert_eq!((&second["provider"], &second["fallback_from"], &second["model"]), (&json!("cohere"), &json!("groq"), &Value::Null));
    // What stands before it in the chain is not looked at.
    let refused = lines.refused("no_key_available", &json!({"select": {"provider": "groq"}}));
    let looked_at: Vec<String> = refused["keys"].as_array().unwrap().iter().map(|key| text(&key["provider"])).collect();
    assert_eq!(looked_at, ["groq", "cohere"]);
    lines.lease(&json!({"provider": "deepseek"}));
    lines.refused("no_key_available", &json!({"select": {"provider": "deepseek"}}));
    assert_eq!(lines.lease(&json!({"provider": "mistral"}))["fallback_from"], Value::Null);
    let warnings = lines.expect("status", &json!("status"))["warnings"].to_string();
    assert!(warnings.contains("ghost"), "{warnings}");
}

#[test]
fn outcomes_move_keys_between_states() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let mut report = |key: &str, outcome: &str, more: Value| {
        let mut select = json!({"provider": "openai", "key_name": key});
        select["model"] = more["model"].clone();
        let lease = lines.lease(&select);
        let wait = more["retry_after_ms"].clone();
        let report = json!({"report": {"lease": lease["lease"], "outcome": outcome, "retry_after_ms": wait}});
        text(&lines.expect("reported", &report)["state"])
    };
    assert_eq!(report("a", "ok", json!({})), "healthy");
    assert_eq!(report("a", "bad_request", json!({})), "healthy");
    // For one model alone: the key still serves others.
    assert_eq!(report("a", "rate_limited", json!({"model": "gpt-4", "retry_after_ms": 60_000})), "cooling_down");
    assert_eq!(report("b", "permission_denied", json!({"model": "gpt-4"})), "unknown");
    assert_eq!(report("c", "quota_exhausted", json!({})), "exhausted");
    assert_eq!(report("a", "auth_failed", json!({})), "invalid");
    assert_eq!(report("b", "rate_limited", json!({"retry_after_ms": 60_000})), "cooling_down");
    let refused = lines.refused("no_key_available", &json!({"select": {"provider": "openai", "model": "gpt-4"}}));
    let reasons: Vec<String> = refused["keys"].as_array().unwrap().iter().map(|key| text(&key["reason"])).collect();
    assert_eq!(reasons, ["invalid", "cooling_down", "exhausted"]);
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| (50_000..=67_000).contains(&wait)), "{refused}");
    for (key, state) in [("a", "invalid"), ("b", "cooling_down"), ("c", "exhausted")] {
        assert_eq!(lines.row("openai", key)["state"], state);
        lines.done(&json!({"key_enable": {"provider": "openai", "key_name": key}}));
    }
    assert_eq!(counts(&mut lines, "openai", 6).len(), 3);
    trial_and_breaker(&mut lines);
    disabled_for_a_time(&mut lines);
}

fn trial_and_breaker(lines: &mut Lines) {
    let lease = lines.lease(&json!({"provider": "anthropic", "key_name": "a"}));
    lines.expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": "rate_limited", "retry_after_ms": 50}}));
    let only = json!({"select": {"provider": "anthropic", "key_name": "a"}});
    let trial = until("the end of the set-aside", || lines.ask(&only).get("lease").cloned());
    assert_eq!(lines.refused("no_key_available", &only)["keys"][0]["reason"], "on_trial");
    assert_eq!(lines.report(&trial, "ok")["state"], "healthy");
    lines.expect("lease", &only);
    for _ in 0..5 {
        let lease = lines.lease(&json!({"provider": "anthropic"}));
        lines.report(&lease, "server_error");
    }
    let status = lines.expect("status", &json!("status"));
    let row = status["providers"].as_array().unwrap().iter().find(|row| row["provider"] == "anthropic").unwrap();
    assert_eq!((&row["reachable"], &row["keys_healthy"]), (&json!(false), &json!(2)));
    let lease = lines.lease(&json!({"provider": "anthropic"}));
    lines.report(&lease, "ok");
    assert_eq!(lines.expect("status", &json!("status"))["providers"][4]["reachable"], true);
}

fn disabled_for_a_time(lines: &mut Lines) {
    lines.done(&json!({"key_disable": {"provider": "anthropic", "key_name": "a", "for_ms": 300}}));
    let row = lines.row("anthropic", "a");
    assert_eq!((&row["state"], &row["enabled"]), (&json!("disabled"), &json!(false)));
    assert!(!row["until"].is_null());
    assert_eq!(lines.key("anthropic"), "b");
    until("the end of the disable", || (lines.key("anthropic") == "a").then_some(()));
    lines.done(&json!({"key_disable": {"provider": "anthropic", "key_name": "a"}}));
    assert_eq!(lines.row("anthropic", "a")["until"], Value::Null);
}

#[test]
fn keys_of_one_account_are_set_aside_together() {
    let site = Site::new(
        "
providers:
  openai:
    api_keys: [{key: sk-a, name: a, account: org-1}, {key: sk-b, name: b, account: org-1}, {key: sk-c, name: c, account: org-1}, {key: sk-d, name: d}]
    rotation: {health_check: false}
global: {key_validation: false}
",
    );
    let daemon = site.start();
    let mut lines = site.lines();
    let report = |lines: &mut Lines, key: &str, outcome: &str| {
        let lease = lines.lease(&json!({"provider": "openai", "key_name": key}));
        lines.expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": outcome, "retry_after_ms": 600_000}}));
    };
    report(&mut lines, "a", "rate_limited");
    assert_eq!(lines.row("openai", "c")["state"], "unknown");
    // The second one within ten seconds is the account's.
    report(&mut lines, "b", "rate_limited");
    assert_eq!(lines.row("openai", "c")["state"], "cooling_down");
    assert_eq!(keys(&mut lines, "openai", 3), "ddd");
    for key in ["a", "b", "c"] {
        lines.done(&json!({"key_enable": {"provider": "openai", "key_name": key}}));
    }
    report(&mut lines, "a", "quota_exhausted");
    assert_eq!(counts(&mut lines, "openai", 4), BTreeMap::from([("d".to_owned(), 4)]));
    // A set-aside outlives a crash once its report is acknowledged.
    daemon.kill();
    let _daemon = site.start();
    let mut lines = site.lines();
    for key in ["a", "b", "c"] {
        assert_eq!(lines.row("openai", key)["state"], "exhausted");
    }
    assert_eq!(keys(&mut lines, "openai", 2), "dd");
}
