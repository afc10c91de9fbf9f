//! The master secret as an admin deals with it: locked and unlocked, another password, other slots.

use serde_json::{Value, json};

use crate::harness::{Site, until};

const CONFIG: &str = "
providers:
  openai: {api_keys: [{key: sk-a, name: a}], rotation: {health_check: false}}
global: {key_validation: false}
";

const PROMPT: &str = "master: {source: prompt}";

fn unlock(password: &str) -> Value {
    json!({"unlock": {"password": password}})
}

fn select() -> Value {
    json!({"select": {"provider": "openai"}})
}

/// A place whose daemon gets no master secret but from a person.
fn prompted() -> Site {
    let mut site = Site::new(&format!("{CONFIG}{PROMPT}"));
    site.unset("GOLLM_MASTER_PASSWORD");
    site
}

#[test]
fn a_daemon_that_waits_for_a_person_is_locked_until_then_and_after_each_start() {
    let site = prompted();
    let daemon = site.start();
    let mut lines = site.lines();
    let status = lines.expect("status", &json!("status"));
    assert_eq!((&status["locked"], &status["master_source"]), (&json!(true), &json!("prompt")));
    lines.refused("locked", &select());
    lines.refused("locked", &json!("reload"));
    assert_eq!(lines.expect("you", &json!("whoami"))["role"], "admin");
    assert_eq!(site.ctl(&["select", "openai"]).status, 6);
    // The first password makes the store; the connection goes on as it is.
    lines.done(&unlock("first"));
    let lease = lines.lease(&json!({"provider": "openai"}));
    assert_eq!(lease["secret"], "sk-a");
    assert_eq!(lines.expect("status", &json!("status"))["locked"], false);
    assert!(daemon.terminate().success());

    let daemon = site.start();
    let mut lines = site.lines();
    lines.refused("locked", &select());
    lines.refused("denied", &unlock("another"));
    lines.refused("locked", &select());
    lines.done(&unlock("first"));
    lines.refused("denied", &unlock("another"));
    lines.done(&unlock("first"));
    let report = json!({"report": {"lease": lease["lease"], "outcome": "ok"}});
    assert_eq!(lines.expect("reported", &report)["duplicate"], false);
    assert!(daemon.terminate().success());
}

#[test]
fn a_lock_sends_who_waits_away_and_an_unlock_goes_on_where_it_stood() {
    let site = Site::new(&CONFIG.replace("name: a", "name: a, rate_limit: 1"));
    let daemon = site.start();
    let (mut lines, mut waiting) = (site.lines(), site.lines());
    let lease = lines.lease(&json!({"provider": "openai"}));
    waiting.request(&json!({"select": {"provider": "openai", "wait_ms": 60_000}})).unwrap();
    until("a select that waits", || (lines.expect("status", &json!("status"))["providers"][0]["waiting"] == json!(1)).then_some(()));
    lines.done(&json!("lock"));
    assert_eq!(waiting.reply()["reply"]["error"]["code"], "locked");
    for line in [&mut lines, &mut waiting] {
        line.refused("locked", &select());
        line.refused("locked", &json!({"report": {"lease": lease["lease"], "outcome": "ok"}}));
    }
    lines.done(&json!("lock"));
    assert_eq!(site.ctl(&["status"]).status, 0);
    lines.refused("denied", &unlock("wrong"));
    lines.done(&unlock("a password for tests"));
    // The limit of before holds, and the lease of before can be reported.
    waiting.refused("no_key_available", &select());
    assert_eq!(waiting.expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": "ok"}}))["duplicate"], false);
    lines.done(&json!("lock"));
    // A locked daemon ends as every other does.
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    assert_eq!(site.lines().row("openai", "a")["requests_total"], 1);
}

#[test]
fn a_changed_password_holds_at_the_next_start_and_the_old_one_does_not() {
    let mut site = Site::new(CONFIG);
    let daemon = site.start();
    let wrong = site.ctl_with(&["passwd"], "not the old one\nthe new one\n");
    assert_eq!(wrong.status, 4, "{}", wrong.err);
    let changed = site.ctl_with(&["passwd"], "a password for tests\nthe new one\n");
    assert_eq!(changed.status, 0, "{}", changed.err);
    assert!(changed.out.contains("GOLLM_MASTER_PASSWORD"), "{}", changed.out);
    let lease = site.lines().lease(&json!({"provider": "openai"}));
    daemon.kill();
    let mut refused = crate::harness::daemon::Daemon::spawn(&site, &[]);
    assert!(!refused.ended().success());
    assert!(site.log().contains("wrong master password"));
    site.set("GOLLM_MASTER_PASSWORD", "the new one");
    let _daemon = site.start();
    assert_eq!(site.lines().expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": "ok"}}))["duplicate"], false);
}

#[test]
fn the_master_secret_moves_to_a_file_and_on_to_a_person() {
    let mut site = Site::new(CONFIG);
    let daemon = site.start();
    assert_eq!(site.ctl(&["passwd", "--to", "file"]).status, 0);
    assert_eq!(site.ctl(&["slot", "list"]).out, "2  file         master.key in the state directory\n");
    assert!(daemon.terminate().success());
    site.unset("GOLLM_MASTER_PASSWORD");
    let daemon = site.start();
    assert_eq!(site.lines().expect("status", &json!("status"))["master_source"], "file");
    let moved = site.ctl_with(&["passwd", "--to", "prompt"], "typed\n");
    assert_eq!(moved.status, 0, "{}", moved.err);
    assert!(!site.state().join("master.key").exists());
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    assert_eq!(site.ctl_with(&["unlock"], "wrong\n").status, 4);
    assert_eq!(site.ctl_with(&["unlock"], "typed\n").out, "unlocked\n");
    assert_eq!(site.lines().lease(&json!({"provider": "openai"}))["secret"], "sk-a");
}

#[test]
fn a_recovery_code_is_shown_once_and_opens_what_a_lost_file_closed() {
    let mut site = Site::new(CONFIG);
    site.unset("GOLLM_MASTER_PASSWORD");
    let daemon = site.start();
    let shown = site.ctl(&["slot", "add", "recovery"]);
    let code = shown.out.lines().nth(2).unwrap().trim().to_owned();
    assert_eq!(code.len(), 39, "{}", shown.out);
    assert!(!site.ctl(&["slot", "list"]).out.contains(&code));
    assert!(!site.every_file().iter().any(|(_, content)| content.windows(code.len()).any(|at| at == code.as_bytes())));
    let last = site.ctl(&["slot", "remove", "3"]);
    assert_eq!((last.status, last.err.contains("there is no slot 3")), (1, true), "{}", last.err);
    assert!(daemon.terminate().success());
    std::fs::remove_file(site.state().join("master.key")).unwrap();
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.refused("locked", &select());
    assert_eq!(site.ctl_with(&["unlock"], &code.to_lowercase()).out, "unlocked\n");
    assert_eq!(lines.lease(&json!({"provider": "openai"}))["secret"], "sk-a");
    // With the store open, the place that was lost is filled again.
    assert_eq!(site.ctl(&["passwd", "--to", "file"]).status, 0);
    assert_eq!(site.ctl(&["slot", "remove", "2"]).status, 0);
    assert_eq!(site.ctl(&["slot", "remove", "3"]).status, 1);
}

#[test]
fn slots_are_the_admins_and_what_is_asked_of_them_is_checked() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    for wrong in [
        json!({"slot_add": {"source": "password"}}),
        json!({"slot_add": {"source": "file", "secret": "given"}}),
        json!({"slot_add": {"source": "recovery", "instead": true}}),
        json!({"slot_add": {"source": "environment"}}),
        json!({"slot_remove": {"slot": 1}}),
        json!({"change_password": {"old": "a password for tests", "new": ""}}),
        json!({"unlock": {"password": ""}}),
        json!({"unlock": {"password": "x".repeat(5000)}}),
    ] {
        lines.refused("bad_request", &wrong);
    }
    let bare = Site::new(&CONFIG.replace("key_validation: false", "key_validation: false, encrypt_keys: false"));
    let daemon = bare.start();
    let mut lines = bare.lines();
    lines.refused("bad_request", &json!("lock"));
    lines.refused("bad_request", &json!({"slot_add": {"source": "file"}}));
    // The key that lay open stays what it is.
    assert!(daemon.terminate().success());
    bare.configure(CONFIG);
    for _ in 0..2 {
        let daemon = bare.start();
        assert!(bare.lines().expect("status", &json!("status"))["warnings"].to_string().contains("lay bare once"));
        assert!(daemon.terminate().success());
    }
}
