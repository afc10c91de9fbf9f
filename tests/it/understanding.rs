//! Explanations, sessions, equivalent models and models that are refused, against a real daemon.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::lines::{Lines, fields, text};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-a, name: a, rate_limit: 2}, {key: sk-b, name: b, cost_limit: 1.0}, {key: sk-c, name: c, enabled: false}]
    models: [{name: gpt-4}, {name: off, enabled: false}]
    rotation: {health_check: false}
  gemini:
    api_keys: [{key: AIza-g, name: g}]
    models: [{name: flash, input_cost_per_1k_tokens: 1.0, output_cost_per_1k_tokens: 2.0}]
    strict_models: true
    rotation: {health_check: false}
global:
  key_validation: false
  fallback_chain: [openai, gemini]
  equivalent_models: [[openai/gpt-4, gemini/flash]]
";

fn chosen(lines: &mut Lines, request: &Value) -> String {
    let key = &lines.expect("explanation", &json!({"explain": request}))["chosen"];
    if key.is_null() { String::new() } else { format!("{}/{}", text(&key["provider"]), text(&key["key_name"])) }
}

#[test]
fn an_explanation_agrees_with_the_lease_and_takes_none() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let request = json!({"provider": "openai", "model": "gpt-4", "estimate": {"cost_usd": 0.6}});
    for _ in 0..8 {
        let explained = chosen(&mut lines, &request);
        assert_eq!(explained, chosen(&mut lines, &request));
        match lines.ask(&json!({"select": request})) {
            reply if reply.get("lease").is_some() => {
                let lease = &reply["lease"];
                assert_eq!(explained, format!("{}/{}", text(&lease["provider"]), text(&lease["key_name"])));
            }
            reply => assert_eq!((explained.as_str(), &reply["error"]["code"]), ("", &json!("no_key_available"))),
        }
    }
    let explanation = lines.expect("explanation", &json!({"explain": request}));
    assert_eq!(fields(&explanation), ["chosen", "global", "keys", "model", "provider", "retry_after_ms", "why"]);
    let keys = explanation["keys"].as_array().unwrap();
    let row = "account chosen cost_limit cost_today_usd eligible key_name model on_trial provider rate_limit reachable reason requests_last_hour \
               reserved_usd state strategy until weight";
    assert_eq!(fields(&keys[0]), row.split_whitespace().collect::<Vec<_>>());
    let reasons: Vec<(String, Value)> = keys.iter().map(|key| (text(&key["key_name"]), key["reason"].clone())).collect();
    let expected = [("a", json!("rate_limited")), ("b", json!("cost_limited")), ("c", json!("disabled")), ("g", Value::Null)];
    for (key, reason) in expected {
        assert!(reasons.contains(&(key.to_owned(), reason.clone())), "{key} {reason}: {reasons:?}");
    }
    let ran = site.ctl(&["explain", "openai", "--model", "gpt-4", "--estimate-cost", "0.6"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("→") && ran.out.contains("fallback to flash") && ran.out.contains("cost_limit reached"), "{}", ran.out);
    lines.refused("unknown_provider", &json!({"explain": {"provider": "nobody"}}));
}

#[test]
fn a_session_keeps_its_key_over_a_restart() {
    let site = Site::new(&CONFIG.replace(", rate_limit: 2", "").replace(", cost_limit: 1.0", ""));
    let daemon = site.start();
    let mut lines = site.lines();
    let session = |name: &str| json!({"provider": "openai", "session": name});
    let key = |lines: &mut Lines, name: &str| text(&lines.lease(&session(name))["key_name"]);
    let (one, other) = (key(&mut lines, "conversation-1"), key(&mut lines, "conversation-2"));
    assert_ne!(one, other);
    for _ in 0..3 {
        assert_eq!((key(&mut lines, "conversation-1"), key(&mut lines, "conversation-2")), (one.clone(), other.clone()));
    }
    // A report is durable, and with it what was decided before.
    let lease = lines.lease(&session("conversation-1"));
    lines.report(&lease, "ok");
    daemon.kill();
    let _daemon = site.start();
    let mut lines = site.lines();
    assert_eq!((key(&mut lines, "conversation-1"), key(&mut lines, "conversation-2")), (one.clone(), other));
    lines.done(&json!({"key_disable": {"provider": "openai", "key_name": one}}));
    let moved = key(&mut lines, "conversation-1");
    assert_ne!(moved, one);
    lines.done(&json!({"key_enable": {"provider": "openai", "key_name": one}}));
    assert_eq!(key(&mut lines, "conversation-1"), moved);
    lines.refused("bad_request", &json!({"select": {"provider": "openai", "session": ""}}));
}

#[test]
fn a_fallback_names_the_equivalent_model_and_prices_it() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    for key in ["a", "b"] {
        lines.done(&json!({"key_disable": {"provider": "openai", "key_name": key}}));
    }
    let lease = lines.lease(&json!({"provider": "openai", "model": "gpt-4"}));
    assert_eq!((&lease["provider"], &lease["fallback_from"], &lease["model"]), (&json!("gemini"), &json!("openai"), &json!("flash")));
    let report = json!({"report": {"lease": lease["lease"], "outcome": "ok", "input_tokens": 1000, "output_tokens": 1000}});
    assert_eq!(lines.expect("reported", &report)["cost_usd"], 3.0);
    // Without an equivalent the model is the caller's choice; it never changes in silence.
    assert_eq!(lines.lease(&json!({"provider": "openai", "model": "gpt-5"}))["model"], Value::Null);
    assert_eq!(lines.lease(&json!({"provider": "gemini", "model": "flash"}))["model"], Value::Null);
    lines.refused("unknown_model", &json!({"select": {"provider": "gemini", "model": "pro"}}));
    lines.refused("unknown_model", &json!({"select": {"provider": "openai", "model": "off"}}));
    let excluded = json!({"select": {"provider": "openai", "exclude": [{"provider": "gemini", "key_name": "g"}]}});
    assert_eq!(lines.refused("no_key_available", &excluded)["keys"][3]["reason"], "excluded");
}
