//! The audit trail: what is in it, that it is whole, and what shows when it is not.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::lines::Lines;

const CONFIG: &str = "
providers:
  openai: {api_keys: [{key: sk-a, name: a}], rotation: {health_check: false}}
global: {key_validation: false}
";

fn set(name: &str) -> Value {
    json!({"key_set": {"provider": "openai", "key_name": name, "secret": format!("sk-planted-{name}")}})
}

/// What was done, to what, and what came of it.
fn told(lines: &mut Lines, request: &Value) -> Vec<[String; 3]> {
    let entries = lines.expect("audit", &json!({"audit": request}))["entries"].clone();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("-").to_owned();
    entries.as_array().unwrap().iter().map(|entry| ["act", "target", "result"].map(|field| text(entry, field))).collect()
}

fn verified(lines: &mut Lines) -> Value {
    lines.expect("audit", &json!({"audit": {"verify": true}}))["verified"].clone()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn admins_acts_are_told_with_who_and_what_came_of_them_and_survive_a_kill() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut lines = site.lines();
    lines.done(&set("b"));
    lines.refused("bad_request", &json!({"key_remove": {"provider": "openai", "key_name": "a"}}));
    lines.done(&json!({"key_disable": {"provider": "openai", "key_name": "a"}}));
    lines.done(&json!("reload"));
    lines.expect("validations", &json!({"validate": {"format_only": true}}));
    // The last act is durable when it is answered; the others came before it.
    lines.done(&json!({"key_enable": {"provider": "openai", "key_name": "a"}}));
    let entries = lines.expect("audit", &json!({"audit": {}}))["entries"].clone();
    let own = rustix::process::getuid().as_raw();
    assert!(entries.as_array().unwrap().iter().all(|entry| entry["act"] == "start" || entry["uid"].is_null() || entry["uid"] == own), "{entries}");
    daemon.kill();

    let _daemon = site.start();
    let mut lines = site.lines();
    let acts = told(&mut lines, &json!({}));
    let expected = [
        ["start", "-", "done"],
        ["key_set", "openai/b", "done"],
        ["key_remove", "openai/a", "bad_request"],
        ["key_disable", "openai/a", "done"],
        ["key_state", "openai/a", "disabled"],
        ["reload", "-", "done"],
        ["validate", "-", "done"],
        ["key_enable", "openai/a", "done"],
        ["key_state", "openai/a", "unknown"],
        ["start", "-", "done"],
    ];
    for entry in expected {
        assert!(acts.iter().any(|act| act.iter().eq(entry.iter())), "{entry:?} is not among {acts:?}");
    }
    assert_eq!(verified(&mut lines)["ok"], true);
    let shown = site.ctl(&["audit", "--verify"]);
    assert_eq!((shown.status, shown.out.contains("✓ Whole")), (0, true), "{}{}", shown.out, shown.err);
    assert!(site.ctl(&["audit", "--limit", "3", "--who", &own.to_string()]).out.lines().count() == 3);
    assert_eq!(told(&mut lines, &json!({"limit": 1})).len(), 1);
    lines.refused("bad_request", &json!({"audit": {"limit": 0}}));
    lines.refused("bad_request", &json!({"audit": {"verify": true, "anchor": "1:short"}}));
}

#[test]
fn what_is_in_the_trail_can_not_be_read_from_the_disk() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    site.lines().done(&set("very-telling-name"));
    assert!(daemon.terminate().success());
    let state = site.state();
    for (path, content) in site.every_file().into_iter().filter(|(path, _)| path.starts_with(&state)) {
        assert!(!content.windows(13).any(|at| at == b"sk-planted-ve"), "{}", path.display());
        let acts: &[u8] = b"key_set";
        assert!(!content.windows(acts.len()).any(|at| at == acts), "{}", path.display());
    }
}

#[test]
fn an_older_copy_of_the_whole_store_shows_against_an_anchor() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    site.lines().done(&set("b"));
    assert!(daemon.terminate().success());
    copy(&site.state(), &site.path("older"));
    let daemon = site.start();
    let mut lines = site.lines();
    lines.done(&json!({"key_remove": {"provider": "openai", "key_name": "b"}}));
    let anchor = verified(&mut lines)["anchor"].as_str().unwrap().to_owned();
    assert_eq!(site.ctl(&["audit", "--verify", "--anchor", &anchor]).status, 0);
    assert!(daemon.terminate().success());
    assert!(site.log().contains("anchor="), "the log has anchors");

    std::fs::remove_dir_all(site.state()).unwrap();
    copy(&site.path("older"), &site.state());
    let _daemon = site.start();
    let shown = site.ctl(&["audit", "--verify", "--anchor", &anchor]);
    assert_eq!((shown.status, shown.out.contains("the anchor is missing, or another one")), (1, true), "{}", shown.out);
    assert_eq!(site.ctl(&["audit", "--verify"]).status, 0);
}

#[test]
fn leases_are_told_of_where_the_configuration_asks_for_it_and_the_trail_is_bounded() {
    let site = Site::new(&format!("{CONFIG}audit: {{selects: all, max_entries: 100}}\n"));
    let daemon = site.start();
    let mut lines = site.lines();
    for _ in 0..150 {
        let lease = lines.lease(&json!({"provider": "openai"}));
        lines.report(&lease, "ok");
    }
    let acts = told(&mut lines, &json!({"limit": 2000}));
    assert_eq!((acts.len(), acts.last().unwrap()[0].as_str()), (100, "select"));
    let before = verified(&mut lines);
    assert!(before["ok"] == true && before["first"].as_u64().unwrap() > 40, "{before}");
    assert!(daemon.terminate().success());
    let daemon = site.start();
    assert_eq!(verified(&mut site.lines())["ok"], true);
    assert!(daemon.terminate().success());

    let quiet = Site::new(&CONFIG.replace("key_validation: false", "key_validation: false, audit_logging: false"));
    let _daemon = quiet.start();
    let mut lines = quiet.lines();
    lines.done(&set("b"));
    assert!(told(&mut lines, &json!({})).is_empty());
    // When it was switched is noted, in either direction.
    quiet.configure(CONFIG);
    lines.done(&json!("reload"));
    quiet.configure(&CONFIG.replace("key_validation: false", "key_validation: false, audit_logging: false"));
    lines.done(&json!("reload"));
    lines.done(&set("c"));
    let details: Vec<Value> =
        lines.expect("audit", &json!({"audit": {}}))["entries"].as_array().unwrap().iter().map(|entry| entry["detail"].clone()).collect();
    assert_eq!(details.first().unwrap(), "audit_logging is true from now on");
    assert_eq!(details.last().unwrap(), "audit_logging is false from now on");
}

#[test]
fn what_was_acknowledged_is_in_the_trail_after_a_kill() {
    let site = Site::new(CONFIG);
    for act in [json!({"slot_add": {"source": "recovery"}}), json!("rekey"), json!("reload"), json!({"backup": {}})] {
        let daemon = site.start();
        let mut lines = site.lines();
        let reply = lines.ask(&act);
        assert!(reply.get("error").is_none(), "{reply}");
        daemon.kill();
        let daemon = site.start();
        let name = act.as_str().unwrap_or_else(|| act.as_object().unwrap().keys().next().unwrap());
        assert!(told(&mut site.lines(), &json!({})).iter().any(|entry| entry[0] == name), "{name}");
        assert!(daemon.terminate().success());
    }
}

#[test]
fn unlocks_that_were_refused_are_counted_in_the_one_that_was_not() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.done(&json!("lock"));
    lines.refused("locked", &json!({"audit": {}}));
    for _ in 0..2 {
        lines.refused("denied", &json!({"unlock": {"password": "wrong"}}));
    }
    lines.done(&json!({"unlock": {"password": "a password for tests"}}));
    let entries = lines.expect("audit", &json!({"audit": {"limit": 1}}))["entries"].clone();
    assert_eq!((&entries[0]["act"], &entries[0]["detail"]), (&json!("unlock"), &json!("after 2 that were refused")));
    assert!(told(&mut lines, &json!({})).iter().any(|act| act[0] == "lock"));
}
