//! Every provider of the catalogue, played by a stand-in that speaks its API: a key that is good, one that nobody knows, one
//! without credit, one that is too fast.

mod apis;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::lines::{Lines, nanos, text};
use crate::harness::provider::{Provider, Reply};
use apis::{APIS, Api};

const GOOD: &str = "key-that-is-good-0123";
const WRONG: &str = "key-of-nobody-0123";
const SPENT: &str = "key-without-credit-0123";
const FAST: &str = "key-that-is-too-fast-0123";
const KEYS: [(&str, &str); 4] = [("good", GOOD), ("wrong", WRONG), ("spent", SPENT), ("fast", FAST)];

/// A path is `/KIND` and what the provider's own would be.
fn answer(head: &str) -> Reply {
    let (request, headers) = head.split_once('\n').unwrap();
    let (method, path) = request.split_once(" /").unwrap();
    let (kind, path) = path.split_at(path.find('/').unwrap());
    let Some(api) = APIS.iter().find(|api| api.kind == kind) else { return Reply::new(404, "{}") };
    let request = format!("{method} {path}");
    let headers: BTreeMap<&str, &str> = headers.lines().filter_map(|line| line.split_once(": ")).collect();
    if api.besides.is_some_and(|(name, value)| headers.get(name) != Some(&value)) {
        return Reply::new(400, r#"{"error":{"message":"a header is missing"}}"#);
    }
    let key = headers.get(api.credential.0).and_then(|value| value.strip_prefix(api.credential.1)).unwrap_or_default();
    if ![GOOD, SPENT, FAST].contains(&key) {
        return Reply::new(api.refused.0, api.refused.1);
    }
    match api.check.filter(|(check, _)| *check == request) {
        Some((_, listed)) => Reply::new(200, api.check_spent.filter(|_| key == SPENT).unwrap_or(listed)),
        None if request != api.completion => Reply::new(404, r#"{"error":{"message":"no such path"}}"#),
        None => match key {
            SPENT => Reply::new(api.spent.0, api.spent.1),
            FAST => Reply::new(api.slower.0, api.slower.1).header("retry-after", "40"),
            _ => Reply::new(200, api.answer),
        },
    }
}

fn config(provider: &Provider) -> String {
    let mut text = "global: {key_validation: false}\nproviders:\n".to_owned();
    for api in &APIS {
        let keys = KEYS.map(|(name, secret)| format!("{{name: {name}, key: {secret}}}")).join(", ");
        writeln!(text, "  {0}:\n    base_url: {1}/{0}{2}\n    api_keys: [{keys}]", api.kind, provider.origin(), api.base).unwrap();
        text.push_str("    models: [{name: m-1, input_cost_per_1k_tokens: 1, output_cost_per_1k_tokens: 10}]\n");
        text.push_str("    rotation: {health_check: false}\n");
    }
    text
}

fn verdicts(lines: &mut Lines, request: &Value) -> BTreeMap<String, Value> {
    let validations = lines.expect("validations", &json!({"validate": request}));
    let named = |validation: &Value| format!("{}/{}", text(&validation["provider"]), text(&validation["key_name"]));
    validations.as_array().unwrap().iter().map(|validation| (named(validation), validation.clone())).collect()
}

#[test]
fn the_free_check_of_every_provider_tells_a_good_key_from_a_wrong_one() {
    let provider = Provider::start(answer);
    let site = Site::new(&config(&provider));
    let _daemon = site.start();
    let mut lines = site.lines();
    let found = verdicts(&mut lines, &json!({}));
    assert_eq!(found.len(), APIS.len() * KEYS.len());
    for api in &APIS {
        let verdict = |key: &str| text(&found[&format!("{}/{key}", api.kind)]["verdict"]);
        let expected = match api {
            Api { check: None, .. } => ["inconclusive"; 4],
            Api { check_spent: Some(_), .. } => ["valid", "invalid", "no_quota", "valid"],
            _ => ["valid", "invalid", "valid", "valid"],
        };
        assert_eq!(["good", "wrong", "spent", "fast"].map(verdict), expected, "{}: {found:#?}", api.kind);
    }
    // Nothing was spent, and each key stood in one header of its own provider.
    let seen = provider.seen();
    for head in &seen {
        let of = |api: &&Api| api.check.is_some_and(|(check, _)| head.starts_with(&check.replacen(" /", &format!(" /{}/", api.kind), 1)));
        let api = APIS.iter().find(of).unwrap_or_else(|| panic!("{head}"));
        for secret in KEYS.iter().map(|(_, secret)| secret).filter(|secret| head.contains(**secret)) {
            let (header, before) = api.credential;
            assert!(head.lines().any(|line| line == format!("{header}: {before}{secret}")), "{head}");
            assert_eq!(head.matches(secret).count(), 1, "{head}");
        }
    }
    let health = lines.expect("health", &json!("health"));
    let balance = |kind: &str| health[kind]["good"]["balance"].clone();
    assert_eq!(balance("deepseek"), json!([{"currency": "USD", "left": 110.0, "limit": null, "resets": null}]));
    assert_eq!(balance("openrouter"), json!([{"currency": "USD", "left": 7.5, "limit": 10.0, "resets": "monthly"}]));
    assert_eq!(balance("openai"), json!([]));
    assert_eq!(lines.row("cohere", "good")["account"], "org-1");
    assert_eq!(lines.row("xai", "good")["account"], "team-1");
    let ran = site.ctl(&["health"]);
    assert!(ran.out.contains("$7.50 of $10.00 left, filled up monthly"), "{}", ran.out);
    assert!(ran.out.contains("110.00 left"), "{}", ran.out);
}

#[test]
fn a_completion_shows_what_the_free_check_of_a_provider_does_not() {
    let provider = Provider::start(answer);
    let site = Site::new(&config(&provider));
    let daemon = site.start();
    let mut lines = site.lines();
    let found = verdicts(&mut lines, &json!({"spend": true}));
    for api in &APIS {
        let of = |key: &str| &found[&format!("{}/{key}", api.kind)];
        let verdicts = ["good", "wrong", "spent", "fast"].map(|key| text(&of(key)["verdict"]));
        assert_eq!(verdicts, ["valid", "invalid", "no_quota", "inconclusive"], "{}: {found:#?}", api.kind);
        // 12 tokens at $1 and 5 at $10 a thousand.
        assert_eq!((nanos(&of("good")["cost_usd"]), &of("wrong")["cost_usd"]), (62_000_000, &Value::Null), "{}", api.kind);
        assert!(text(&of("good")["message"]).ends_with("a completion of m-1 was answered: 17 tokens for $0.0620"), "{}", of("good")["message"]);
        // A key that the free check refuses is asked for nothing more.
        let completion = api.completion.replacen(" /", &format!(" /{}/", api.kind), 1);
        let asked = provider.seen().iter().filter(|head| head.starts_with(&completion) && head.contains(WRONG)).count();
        assert_eq!(asked, usize::from(api.check.is_none()), "{}", api.kind);
    }
    // What the free check told of the money stands.
    assert_eq!(lines.expect("health", &json!("health"))["deepseek"]["good"]["balance"][0]["left"], 110.0);
    let ran = site.ctl(&["validate", "openai/good", "--spend"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.ends_with("1 completion, $0.0620 in all\n"), "{}", ran.out);
    let both = site.ctl(&["validate", "openai/good", "--spend", "--format-only"]);
    assert_eq!(both.status, 2, "{both:?}");
    lines.refused("bad_request", &json!({"validate": {"spend": true, "format_only": true}}));
    // Nothing is spent with a key that an admin keeps from being used.
    lines.done(&json!({"key_disable": {"provider": "openai", "key_name": "good"}}));
    let before = provider.seen().len();
    let kept = verdicts(&mut lines, &json!({"provider": "openai", "key_name": "good", "spend": true}));
    assert_eq!((&kept["openai/good"]["message"], provider.seen().len()), (&json!("Nothing was spent: it is disabled"), before + 1));
    assert!(site.log().contains("act=\"validate_spending\""), "{}", site.log());
    // What was spent is that key's use, and survives what the daemon does not.
    daemon.kill();
    let _daemon = site.start();
    let row = site.lines().row("openai", "good");
    assert_eq!(nanos(&row["cost_today_usd"]), 2 * 62_000_000);
}

#[test]
fn a_report_of_every_providers_answer_counts_its_tokens_and_knows_its_refusals() {
    let site = Site::new(&config(&Provider::start(answer)));
    let _daemon = site.start();
    let mut lines = site.lines();
    let mut respond = |kind: &str, key: &str, status: u16, body: &str| {
        let lease = lines.lease(&json!({"provider": kind, "key_name": key, "model": "m-1"}));
        let response = json!({"status": status, "headers": {"retry-after": "40"}, "body": body});
        lines.expect("reported", &json!({"report": {"lease": lease["lease"], "response": response}}))
    };
    for api in &APIS {
        for body in [api.answer, api.stream] {
            let reported = respond(api.kind, "good", 200, body);
            assert_eq!((nanos(&reported["cost_usd"]), &reported["state"]), (62_000_000, &json!("healthy")), "{}: {body}", api.kind);
        }
        let state = |reported: Value| text(&reported["state"]);
        assert_eq!(state(respond(api.kind, "wrong", api.refused.0, api.refused.1)), "invalid", "{}", api.kind);
        assert_eq!(state(respond(api.kind, "fast", api.slower.0, api.slower.1)), "cooling_down", "{}", api.kind);
        assert_eq!(state(respond(api.kind, "spent", api.spent.0, api.spent.1)), "exhausted", "{}", api.kind);
    }
    for api in &APIS {
        let refused = lines.refused("no_key_available", &json!({"select": {"provider": api.kind, "key_name": "fast", "model": "m-1"}}));
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| (30_000..=40_000).contains(&wait)), "{}: {refused}", api.kind);
        assert_eq!(lines.key(api.kind), "good");
    }
}
