//! Alerts reach log, trail, subscribers and webhooks: once, whatever the webhook does meanwhile.

use serde_json::{Value, json};

use crate::harness::hook::{Hook, Mood};
use crate::harness::lines::{Lines, text};
use crate::harness::{Site, until};

const SIGNED_WITH: &str = "a-secret-of-the-webhook";

fn config(hook: &Hook) -> String {
    let origin = &hook.origin;
    format!(
        "
providers:
  openai:
    base_url: http://127.0.0.1:9/v1
    api_keys: [{{name: a, key: sk-proj-0123456789abcdefghij, cost_limit: 1.0}}, {{name: b, key: sk-proj-abcdefghij0123456789}}]
    rotation: {{health_check: false}}
global: {{key_validation: false}}
webhooks:
  - {{url: '{origin}/all/T0KEN', secret: {SIGNED_WITH}}}
  - {{url: '{origin}/slack', format: slack, kinds: [cost_limit]}}
"
    )
}

fn spend(lines: &mut Lines, dollars: f64) {
    lines.expect("reported", &json!({"record": {"provider": "openai", "key_name": "a", "cost_usd": dollars}}));
}

fn refuse(lines: &mut Lines, key: &str) {
    let lease = lines.lease(&json!({"provider": "openai", "key_name": key}));
    lines.report(&lease, "auth_failed");
}

#[test]
fn an_alert_is_told_everywhere_once_and_signed() {
    let hook = Hook::start();
    let site = Site::new(&config(&hook));
    let _daemon = site.start();
    let mut events = site.lines();
    events.request(&json!({"subscribe": {"kinds": ["alert"]}})).unwrap();
    let mut lines = site.lines();
    spend(&mut lines, 0.8);
    spend(&mut lines, 0.3);
    spend(&mut lines, 0.3);
    until("the webhook", || (hook.taken("/all/T0KEN") == ["cost_threshold raised", "cost_limit raised"]).then_some(()));
    let heard: Vec<Value> = (0..2).map(|_| events.reply()["reply"]["event"]["alert"].clone()).collect();
    assert_eq!((&heard[0]["kind"], &heard[1]["kind"], &heard[1]["limit_usd"]), (&json!("cost_threshold"), &json!("cost_limit"), &json!(1.0)));
    let raised = lines.expect("alerts", &json!("alerts"));
    assert_eq!(raised.as_array().unwrap().len(), 2, "{raised}");
    let message = text(&heard[1]["message"]);
    assert!(site.log().contains(&message), "{}", site.log());
    let trail = lines.expect("audit", &json!({"audit": {}}))["entries"].to_string();
    assert!(trail.contains(&message), "{trail}");
    let slack = until("the line for Slack", || hook.got().into_iter().find(|message| message.path == "/slack"));
    assert!(text(&slack.json()["text"]).contains(&message) && slack.signature.is_none(), "{slack:?}");
    assert!(hook.got().iter().filter(|message| message.path == "/slack").count() == 1);
    for message in hook.got().into_iter().filter(|message| message.path == "/all/T0KEN") {
        let signature = message.signature.unwrap();
        let (time, signed) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let secret = gollm::secret::Secret::new(SIGNED_WITH.to_owned()).unwrap();
        let expected = gollm::vault::sign::signature(&secret, &[time.as_bytes(), b".", message.body.as_bytes()]);
        assert_eq!(signed, expected);
    }
    assert!(!site.log().contains("T0KEN") && !site.ctl(&["config", "show"]).out.contains("T0KEN"), "{}", site.log());
}

#[test]
fn a_webhook_that_fails_and_hangs_gets_everything_in_order_when_it_comes_back_over_a_restart() {
    let hook = Hook::start();
    let site = Site::new(&config(&hook));
    let daemon = site.start();
    let mut lines = site.lines();
    hook.set(Mood::Refuses);
    spend(&mut lines, 0.9);
    until("a refusal", || hook.got().iter().any(|message| !message.taken).then_some(()));
    refuse(&mut lines, "b");
    let warned = || lines.expect("status", &json!("status"))["warnings"].to_string();
    let warnings = until("the warning", {
        let mut warned = warned;
        move || Some(warned()).filter(|warnings| warnings.contains("HTTP 503"))
    });
    assert!(warnings.contains("does not take alerts") && !warnings.contains("T0KEN"), "{warnings}");
    hook.set(Mood::Hangs);
    daemon.kill();
    let daemon = site.start();
    until("an attempt after the restart", || hook.got().iter().filter(|message| !message.taken).nth(1).map(|_| ()));
    let mut lines = site.lines();
    lines.done(&json!({"key_enable": {"provider": "openai", "key_name": "b"}}));
    until("that it has passed", || site.log().contains("openai/b is not invalid any more").then_some(()));
    assert!(daemon.terminate().success());
    hook.set(Mood::Takes);
    let _daemon = site.start();
    let all = ["cost_threshold raised", "key_invalid raised", "key_invalid recovered"];
    until("everything", || (hook.taken("/all/T0KEN") == all).then_some(()));
}

#[test]
fn a_test_says_what_each_webhook_answers() {
    let hook = Hook::start();
    let site = Site::new(&config(&hook));
    let _daemon = site.start();
    let ran = site.ctl(&["alert", "test"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("✓ webhook 0 at 127.0.0.1") && ran.out.contains("sent to 2 webhooks"), "{}", ran.out);
    hook.set(Mood::Refuses);
    let ran = site.ctl(&["alert", "test"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("✗ webhook 1 at 127.0.0.1") && ran.out.contains("HTTP 503"), "{}", ran.out);
    let listed = site.ctl(&["alert", "list"]);
    assert!(!listed.out.contains("a test"), "a test is no alert whose cause is there: {}", listed.out);
    assert!(site.ctl(&["audit"]).out.contains("alert_test: done (taken by 0 of 2 webhooks)"));
}

#[test]
fn a_webhook_whose_url_is_not_found_is_a_warning_and_the_others_are_told() {
    let hook = Hook::start();
    let origin = &hook.origin;
    let site = Site::new(&format!(
        "global: {{key_validation: false}}\nwebhooks: [{{url: env:NOT_SET}}, {{url: '{origin}/all/T0KEN'}}, {{url: '{origin}/all/T0KEN'}}]\n"
    ));
    let _daemon = site.start();
    let warnings = site.lines().expect("status", &json!("status"))["warnings"].to_string();
    assert!(warnings.contains("webhooks[0]: environment variable NOT_SET is not set"), "{warnings}");
    assert!(warnings.contains("webhooks[2].url: the same as that of another"), "{warnings}");
    let tested = site.ctl(&["alert", "test"]);
    assert!(tested.status == 0 && tested.out.contains("webhook 1 at 127.0.0.1:") && tested.out.contains("sent to 1 webhook;"), "{tested:?}");
}
