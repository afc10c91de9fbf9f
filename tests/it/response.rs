//! Reports that pass on the provider's answer: what came of it, what it used, how long to wait, and whose key it is.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::lines::{Lines, nanos, text};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-the-secret-of-a, name: a}, {key: sk-the-secret-of-b, name: b}, {key: sk-the-secret-of-c, name: c}]
    models: [{name: gpt-4, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.06}]
    rotation: {health_check: false}
  anthropic:
    api_keys: [{key: sk-ant-a, name: a}]
    rotation: {health_check: false}
global: {key_validation: false}
";

fn respond(lines: &mut Lines, select: &Value, response: &Value) -> Value {
    let lease = lines.lease(select);
    lines.expect("reported", &json!({"report": {"lease": lease["lease"], "response": response}}))
}

fn key(name: &str) -> Value {
    json!({"provider": "openai", "key_name": name, "model": "gpt-4"})
}

#[test]
fn an_answer_is_read_for_tokens_and_account() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let body = json!({"model": "gpt-4-0613", "usage": {"prompt_tokens": 1000, "completion_tokens": 500}});
    // As text, as the JSON that it is, and as the end of a stream.
    let stream = format!("data: {{\"choices\":[]}}\n\ndata: {body}\n\ndata: [DONE]\n\n");
    for body in [json!(body.to_string()), body, json!(stream)] {
        let reported = respond(&mut lines, &key("a"), &json!({"status": 200, "headers": {"OpenAI-Organization": "org-1"}, "body": body}));
        assert_eq!((nanos(&reported["cost_usd"]), &reported["priced"], &reported["state"]), (60_000_000, &json!(true), &json!("healthy")));
    }
    assert_eq!(lines.row("openai", "a")["account"], "org-1");
    let rows = lines.expect("statistics", &json!({"statistics": {"by": ["model"]}}))["rows"].clone();
    assert_eq!((&rows[0]["model"], &rows[0]["input_tokens"]), (&json!("gpt-4"), &json!(3000)));
    let lease = lines.lease(&key("a"));
    let both = json!({"report": {"lease": lease["lease"], "outcome": "ok", "response": {"status": 200}}});
    lines.refused("bad_request", &both);
    lines.refused("bad_request", &json!({"report": {"lease": lease["lease"]}}));
    lines.refused(
        "bad_request",
        &json!({"report": {"lease": lease["lease"], "response": {"status": 200, "body": {"usage": {"prompt_tokens": 9e15}}, "more": 1}}}),
    );
    lines.report(&lease, "cancelled");
}

#[test]
fn a_refusal_is_read_as_its_provider_means_it() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let limited = json!({"status": 429, "headers": {"retry-after": "120"}, "body": {"error": {"code": "rate_limit_exceeded"}}});
    assert_eq!(respond(&mut lines, &key("a"), &limited)["state"], "cooling_down");
    let refused = lines.refused("no_key_available", &json!({"select": key("a")}));
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| (110_000..=120_000).contains(&wait)), "{refused}");
    let spent = json!({"status": 429, "body": {"error": {"code": "insufficient_quota", "message": "sk-the-secret-of-b has no credit"}}});
    assert_eq!(respond(&mut lines, &key("b"), &spent)["state"], "exhausted");
    let wrong = json!({"status": 401, "body": "{\"error\":{\"code\":\"invalid_api_key\",\"message\":\"Incorrect API key: sk-the-secret-of-c\"}}"});
    assert_eq!(respond(&mut lines, &key("c"), &wrong)["state"], "invalid");
    // Anthropic says it in its own way, and overload is no key's matter.
    let select = json!({"provider": "anthropic"});
    for (status, body, state) in [
        (529, json!({"error": {"type": "overloaded_error"}}), "unknown"),
        (400, json!({"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}}), "exhausted"),
    ] {
        assert_eq!(respond(&mut lines, &select, &json!({"status": status, "body": body}))["state"], state);
    }
    assert!(!site.log().contains("the-secret"), "{}", site.log());
}

#[test]
fn a_key_with_nothing_left_at_its_provider_is_passed_over_until_there_is() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let left = |requests: &str, reset: &str| json!({"status": 200, "headers": {"x-ratelimit-remaining-requests": requests, "x-ratelimit-reset-requests": reset, "x-ratelimit-remaining-tokens": "150000"}, "body": {}});
    respond(&mut lines, &key("a"), &left("0", "1h"));
    let refused = lines.refused("no_key_available", &json!({"select": key("a")}));
    assert_eq!(refused["keys"][0]["reason"], "provider_limited");
    let row = lines.row("openai", "a");
    assert_eq!((&row["provider_left"]["requests"], &row["provider_left"]["tokens"], &row["state"]), (&json!(0), &json!(150_000), &json!("healthy")));
    // Of another model it says nothing.
    lines.lease(&json!({"provider": "openai", "key_name": "a"}));
    let ran = site.ctl(&["keys", "openai"]);
    assert!(ran.out.contains("openai/a: its provider leaves it 0 requests and 150000 tokens"), "{}", ran.out);
    respond(&mut lines, &key("b"), &left("0", "200ms"));
    lines.expect("lease", &json!({"select": {"provider": "openai", "key_name": "b", "model": "gpt-4", "wait_ms": 20_000}}));
}

#[test]
fn gollmctl_passes_on_what_curl_wrote() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let lease = text(&site.lines().lease(&key("a"))["lease"]);
    let answer = "HTTP/2 200 \r\nopenai-organization: org-1\r\n\r\n{\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":500}}";
    let ran = site.ctl_with(&["report", &lease, "--response", "-"], answer);
    assert_eq!((ran.status, ran.out.as_str()), (0, "openai/a: $0.0600 counted; the key is healthy\n"), "{ran:?}");
    let lease = text(&site.lines().lease(&key("a"))["lease"]);
    let ran = site.ctl_with(&["report", &lease, "--response", "-"], "{}");
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("curl -i"), "{}", ran.err);
}

#[test]
fn an_account_is_known_by_the_first_answer_and_a_late_one_names_none() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let answer = |headers: Value| json!({"status": 200, "headers": headers, "body": {}});
    let account = |lines: &mut Lines| lines.row("openai", "a")["account"].clone();
    respond(&mut lines, &key("a"), &answer(json!({"openai-organization": "org-1", "openai-project": "proj-1"})));
    // Fewer headers name no other account, and no caller moves a key from one to another.
    for headers in [json!({"openai-organization": "org-1"}), json!({"openai-organization": "org-12"})] {
        respond(&mut lines, &key("a"), &answer(headers));
        assert_eq!(account(&mut lines), "org-1/proj-1");
    }
    // What was asked with the old secret tells nothing of the new one.
    let late = lines.lease(&json!({"provider": "openai", "key_name": "a"}));
    lines.done(&json!({"key_set": {"provider": "openai", "key_name": "a", "secret": "sk-of-another-account"}}));
    let reported = json!({"report": {"lease": late["lease"], "response": answer(json!({"openai-organization": "org-1"}))}});
    lines.expect("reported", &reported);
    assert_eq!(account(&mut lines), Value::Null);
    respond(&mut lines, &key("a"), &answer(json!({"openai-organization": "org-12"})));
    assert_eq!(account(&mut lines), "org-12");
}
