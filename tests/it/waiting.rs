//! Waiting for a key, against a real daemon: in order of arrival, woken by what frees one, given up with the connection.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::lines::Lines;
use crate::harness::{Site, until};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-a, name: a, rate_limit: 1}]
    rotation: {health_check: false}
global: {key_validation: false}
";

/// Far longer than anything here takes: a wait that lasts so long was not woken.
const WAIT_MS: u64 = 25_000;

fn wait() -> Value {
    json!({"select": {"provider": "openai", "wait_ms": WAIT_MS}})
}

fn waiting(lines: &mut Lines) -> u64 {
    lines.expect("status", &json!("status"))["providers"][0]["waiting"].as_u64().unwrap()
}

fn until_waiting(lines: &mut Lines, count: u64) {
    until("those who wait", || (waiting(lines) == count).then_some(()));
}

#[test]
fn one_place_that_frees_serves_one_who_waits_and_the_first() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut admin = site.lines();
    let mut lease = admin.lease(&json!({"provider": "openai"}));
    let mut clients = Vec::new();
    for count in 1..=3 {
        let mut lines = site.lines();
        lines.request(&wait()).unwrap();
        until_waiting(&mut admin, count);
        clients.push(lines);
    }
    // Who asks now does not come before them.
    for (served, lines) in clients.iter_mut().enumerate() {
        admin.report(&lease, "cancelled");
        let reply = lines.reply();
        assert_eq!(reply["reply"]["lease"]["key_name"], "a", "{reply}");
        lease = reply["reply"]["lease"].clone();
        admin.refused("no_key_available", &json!({"select": {"provider": "openai"}}));
        assert_eq!(waiting(&mut admin), 2 - served as u64);
    }
}

#[test]
fn whatever_frees_a_key_wakes_who_waits() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut admin = site.lines();
    admin.lease(&json!({"provider": "openai"}));
    let woken = |admin: &mut Lines, free: &mut dyn FnMut(&mut Lines)| {
        let mut lines = site.lines();
        lines.request(&wait()).unwrap();
        until_waiting(admin, 1);
        free(admin);
        let reply = lines.reply();
        assert!(reply["reply"].get("lease").is_some(), "{reply}");
        reply["reply"]["lease"].clone()
    };
    // A key that is added.
    let set = json!({"key_set": {"provider": "openai", "key_name": "b", "secret": "sk-b", "rate_limit": 1}});
    assert_eq!(woken(&mut admin, &mut |admin| admin.done(&set))["key_name"], "b");
    // A limit that is raised by a reload.
    let raised = CONFIG.replace("rate_limit: 1", "rate_limit: 2");
    let lease = woken(&mut admin, &mut |admin| {
        site.configure(&raised);
        admin.done(&json!("reload"));
    });
    // A cool-down that ends.
    admin.expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": "rate_limited", "retry_after_ms": 200}}));
    site.configure(&CONFIG.replace("rate_limit: 1", "rate_limit: 100"));
    admin.done(&json!("reload"));
    let lease = woken(&mut admin, &mut |_| {});
    // An admin who enables a key. Its trial comes first.
    admin.report(&lease, "ok");
    admin.done(&json!({"key_disable": {"provider": "openai", "key_name": "a"}}));
    assert_eq!(woken(&mut admin, &mut |admin| admin.done(&json!({"key_enable": {"provider": "openai", "key_name": "a"}})))["key_name"], "a");
}

#[test]
fn a_lease_that_runs_out_wakes_who_waits_for_its_reserve() {
    let config = CONFIG.replace("rate_limit: 1", "cost_limit: 1.0").replace("key_validation: false", "key_validation: false, lease_ttl: 1s");
    let site = Site::new(&config);
    let _daemon = site.start();
    let mut admin = site.lines();
    let select = |wait: u64| json!({"select": {"provider": "openai", "estimate": {"cost_usd": 0.4}, "wait_ms": wait}});
    for _ in 0..2 {
        admin.expect("lease", &select(0));
    }
    // Both run out and are charged: there is no room for another one.
    let began = Instant::now();
    let refused = admin.refused("no_key_available", &select(1500));
    assert!(began.elapsed() >= Duration::from_millis(1500));
    assert_eq!(refused["keys"][0]["reason"], "cost_limited");
    // With the cost that one really had there is.
    let lease = admin.lease(&json!({"provider": "openai", "estimate": {"cost_usd": 0.2}}));
    let mut lines = site.lines();
    lines.request(&json!({"select": {"provider": "openai", "estimate": {"cost_usd": 0.1}, "wait_ms": WAIT_MS}})).unwrap();
    until_waiting(&mut admin, 1);
    admin.expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": "ok", "cost_usd": 0.05}}));
    assert!(lines.reply()["reply"].get("lease").is_some());
}

#[test]
fn a_wait_is_given_up_with_its_connection_and_bounded_on_each() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut admin = site.lines();
    let lease = admin.lease(&json!({"provider": "openai"}));
    let mut gone = site.lines();
    gone.request(&wait()).unwrap();
    let mut half_closed = site.lines();
    half_closed.request(&wait()).unwrap();
    half_closed.finish();
    until_waiting(&mut admin, 2);
    drop(gone);
    until_waiting(&mut admin, 1);
    admin.report(&lease, "cancelled");
    let reply = half_closed.reply();
    assert!(reply["reply"].get("lease").is_some(), "{reply}");
    // Waits leave room for the reports that end them.
    let mut many = site.lines();
    for _ in 0..200 {
        many.request(&wait()).unwrap();
    }
    for _ in 0..8 {
        assert_eq!(many.reply()["reply"]["error"]["code"], "overloaded");
    }
    many.request(&json!({"report": {"lease": reply["reply"]["lease"]["lease"], "outcome": "cancelled"}})).unwrap();
    let replies = [many.reply(), many.reply()];
    assert!(replies.iter().any(|reply| reply["reply"].get("lease").is_some()), "{replies:?}");
    let mut lease = replies.iter().find_map(|reply| reply["reply"].get("lease")).unwrap().clone();
    drop(many);
    until_waiting(&mut admin, 0);
    // A place that frees while its next caller is just leaving goes to the one after it.
    for _ in 0..20 {
        let mut leaving = site.lines();
        leaving.request(&wait()).unwrap();
        leaving.finish();
        until_waiting(&mut admin, 1);
        let mut next = site.lines();
        next.request(&wait()).unwrap();
        until_waiting(&mut admin, 2);
        drop(leaving);
        admin.report(&lease, "cancelled");
        let reply = next.reply();
        assert!(reply["reply"].get("lease").is_some(), "{reply}");
        lease = reply["reply"]["lease"].clone();
    }
    admin.refused("bad_request", &json!({"select": {"provider": "openai", "wait_ms": 86_400_001}}));
}

#[test]
fn the_programs_and_clients_wait_as_long_as_they_say() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut admin = site.lines();
    let lease = admin.lease(&json!({"provider": "openai"}));
    let began = Instant::now();
    let ran = site.ctl(&["select", "openai", "--wait", "1s"]);
    assert_eq!(ran.status, 5, "{ran:?}");
    assert!(began.elapsed() >= Duration::from_secs(1));
    // Longer than the client's own time limit for an answer.
    let client = gollm::Client::builder().socket(site.socket()).timeout(Duration::from_millis(500));
    let client = client.connect_blocking(&gollm::environment::Environment::default()).unwrap();
    let waits = std::thread::spawn(move || {
        let select = gollm::Select { wait_ms: Some(WAIT_MS), ..gollm::Select::any("openai".parse().unwrap()) };
        client.select(select).map(|lease| lease.secret().expose().to_owned())
    });
    until_waiting(&mut admin, 1);
    std::thread::sleep(Duration::from_millis(700));
    admin.report(&lease, "cancelled");
    assert_eq!(waits.join().unwrap().unwrap(), "sk-a");
}
