//! The configuration read again: nothing that runs is lost, and a file that does not load changes nothing.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::lines::{Lines, text};
use crate::harness::{Site, until};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-a, name: a, rate_limit: 5}, {key: sk-b, name: b}, {key: sk-gone, name: gone}]
    rotation: {health_check: false}
global: {key_validation: false}
";

fn names(lines: &mut Lines) -> String {
    let rows = lines.expect("keys", &json!("keys"));
    rows.as_array().unwrap().iter().map(|row| text(&row["key_name"])).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_reload_is_applied_and_loses_nothing() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut lines = site.lines();
    let mut idle = site.lines();
    let lease = lines.lease(&json!({"provider": "openai", "key_name": "a"}));
    let lost = lines.lease(&json!({"provider": "openai", "key_name": "gone"}));
    for _ in 0..3 {
        lines.lease(&json!({"provider": "openai", "key_name": "a"}));
    }
    // Another order, a smaller limit, another secret, one key less and one more.
    let keys = "[{key: sk-new, name: new}, {key: sk-b2, name: b}, {key: sk-a, name: a, rate_limit: 4}]";
    let (before, rest) = CONFIG.split_once("[{").unwrap();
    let (_, after) = rest.split_once("}]").unwrap();
    site.configure(&format!("{before}{keys}{after}"));
    lines.done(&json!("reload"));
    assert_eq!(names(&mut lines), "new b a");
    let row = lines.row("openai", "a");
    assert_eq!((&row["requests_last_hour"], &row["rate_limit"]), (&json!(4), &json!(4)));
    let only = |key: &str| json!({"select": {"provider": "openai", "key_name": key}});
    assert_eq!(lines.refused("no_key_available", &only("a"))["keys"][0]["reason"], "rate_limited");
    lines.refused("unknown_key", &only("gone"));
    assert_eq!(lines.expect("lease", &only("b"))["secret"], "sk-b2");
    // Leases of before are settled, those of a key that left too; the place that one gives back is there again.
    lines.report(&lease, "cancelled");
    assert_eq!(lines.report(&lost, "ok")["duplicate"], false);
    lines.expect("lease", &only("a"));
    idle.expect("status", &json!("status"));
    by_signal(&site, &daemon, &mut lines);
}

#[test]
fn a_list_of_prices_beside_the_configuration_replaces_the_built_in_one() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let record = json!({"record": {"provider": "openai", "key_name": "a", "model": "gpt-4.1-mini", "input_tokens": 1_000_000}});
    assert_eq!(lines.expect("reported", &record)["cost_usd"], 0.4);
    let list = site.path("gollm-prices.yaml");
    std::fs::write(&list, "openai: {gpt-4.1-mini: {input_cost_per_1k_tokens: 0.001, output_cost_per_1k_tokens: -1}}").unwrap();
    let refused = text(&lines.refused("bad_request", &json!("reload"))["message"]);
    assert!(refused.contains("gollm-prices.yaml:1:") && refused.contains("output_cost_per_1k_tokens"), "{refused}");
    assert_eq!(lines.expect("reported", &record)["cost_usd"], 0.4);
    std::fs::write(&list, "date: 2027-01-01\nopenai: {gpt-4.1-mini: {input_cost_per_1k_tokens: 0.001, output_cost_per_1k_tokens: 0.002}}").unwrap();
    lines.done(&json!("reload"));
    assert_eq!(lines.expect("reported", &record)["cost_usd"], 1.0);
    let config = site.config();
    let ran = site.ctl(&["prices", "openai", "--config", config.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("gpt-4.1-mini") && ran.out.contains("the list is of 2027-01-01") && !ran.out.contains("gpt-4o"), "{}", ran.out);
}

#[test]
fn many_reloads_at_once_are_each_answered_and_the_last_file_stands() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut lines = site.lines();
    for round in 1..=20 {
        site.configure(&CONFIG.replace("rate_limit: 5", &format!("rate_limit: {round}")));
        daemon.signal(Signal::HUP);
        lines.request(&json!("reload")).unwrap();
    }
    for _ in 0..20 {
        let reply = lines.reply();
        // A file that is just being written is refused like any other that does not load.
        assert!(reply["reply"] == "done" || reply["reply"]["error"]["code"] == "bad_request", "{reply}");
    }
    lines.done(&json!("reload"));
    assert_eq!(lines.row("openai", "a")["rate_limit"], 20);
}

/// SIGHUP does the same, and a key that comes back has its history and not its old secret.
fn by_signal(site: &Site, daemon: &crate::harness::daemon::Daemon, lines: &mut Lines) {
    site.configure(&CONFIG.replace("sk-gone", "sk-back"));
    daemon.signal(Signal::HUP);
    until("the reload", || (names(lines) == "a b gone").then_some(()));
    let back = lines.lease(&json!({"provider": "openai", "key_name": "gone"}));
    assert_eq!(back["secret"], "sk-back");
    assert_eq!(lines.row("openai", "gone")["requests_total"], 2);
    assert!(site.log().contains("the configuration was reloaded"));
}

#[test]
fn a_file_that_does_not_load_changes_nothing_and_says_so() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut lines = site.lines();
    let lease = lines.lease(&json!({"provider": "openai"}));
    site.configure(&CONFIG.replace("rate_limit: 5", "rate_limit: -5").replace("openai:", "openai:\n    color: red"));
    let error = lines.refused("bad_request", &json!("reload"));
    let message = text(&error["message"]);
    for part in ["nothing was changed", "config.yaml:", "providers.openai.api_keys[0].rate_limit", "color"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let told = |lines: &mut Lines| lines.expect("status", &json!("status"))["warnings"].to_string();
    assert!(told(&mut lines).contains("the last reload was refused"));
    assert!(site.log().contains("the configuration was not reloaded"), "{}", site.log());
    assert_eq!(lines.row("openai", "a")["rate_limit"], 5);
    lines.report(&lease, "ok");
    // A file that is gone, or that others can read, is refused too; by signal as by request.
    std::fs::remove_file(site.config()).unwrap();
    lines.refused("bad_request", &json!("reload"));
    std::fs::write(site.config(), CONFIG).unwrap();
    std::fs::set_permissions(site.config(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    daemon.signal(Signal::HUP);
    until("the refusal", || told(&mut lines).contains("chmod 600").then_some(()));
    let ran = site.ctl(&["reload"]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("chmod 600"), "{}", ran.err);
    site.configure(CONFIG);
    lines.done(&json!("reload"));
    assert!(!told(&mut lines).contains("reload"), "{}", told(&mut lines));
    assert_eq!(lines.ask(&json!({"select": {"provider": "openai"}}))["error"], Value::Null);
}
