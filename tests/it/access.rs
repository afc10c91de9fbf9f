//! Who may do what, by the kernel's word for who connects. As root: threads that connect as other users.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::lines::{Lines, text};
use crate::harness::users::{connect, is_root};
use crate::harness::{Site, until};

const CONFIG: &str = "
providers:
  openai: {api_keys: [{name: a, key: sk-the-secret-of-openai-a}], rotation: {health_check: false}}
  gemini: {api_keys: [{name: g, key: AIza-the-secret-of-gemini-g}], rotation: {health_check: false}}
global: {key_validation: false, fallback_chain: [openai, gemini]}
access:
  admins: {users: [4001], groups: [4500]}
  clients:
    - {match: {user: 4002}, providers: [openai], rate_limit: 2}
    - {match: {group: 4600}, reveal: false}
    - {match: {user: 4004, unit: no-such.service}}
";

/// A place that other users can reach.
fn site(config: &str) -> Site {
    let site = Site::new(config);
    std::fs::set_permissions(site.root(), PermissionsExt::from_mode(0o711)).unwrap();
    std::fs::DirBuilder::new().mode(0o711).create(site.path("run")).unwrap();
    site
}

fn lines(site: &Site, uid: u32, gid: u32, groups: &[u32]) -> Lines {
    // The socket is there a moment before it is open to others.
    Lines::of(until("a connection as another user", || connect(&site.socket(), uid, gid, groups).ok()))
}

fn mode(site: &Site) -> u32 {
    std::fs::metadata(site.socket()).unwrap().mode() & 0o777
}

fn role(lines: &mut Lines) -> (String, String) {
    let you = lines.expect("you", &json!("whoami"));
    (text(&you["role"]), text(&you["rule"]))
}

#[test]
fn each_caller_may_do_what_the_first_rule_says_that_fits() {
    if !is_root() {
        return;
    }
    let site = site(CONFIG);
    let _daemon = site.start();
    until("a socket for everyone", || (mode(&site) == 0o666).then_some(()));
    for (uid, gid, groups, expected) in [
        (4001, 1, &[][..], ("admin", "access.admins.users")),
        (4009, 1, &[4500], ("admin", "access.admins.groups")),
        (4009, 4500, &[], ("admin", "access.admins.groups")),
        (4002, 1, &[], ("client", "access.clients[0], user 4002")),
        (4003, 1, &[7, 4600], ("client", "access.clients[1], group 4600")),
        (4004, 1, &[], ("none", "no rule")),
        (4009, 1, &[], ("none", "no rule")),
    ] {
        let mut lines = lines(&site, uid, gid, groups);
        assert_eq!(role(&mut lines), (expected.0.to_owned(), expected.1.to_owned()), "{uid} {gid} {groups:?}");
    }
    // Nobody's words tell whether there is such a provider, and denials stand in the log.
    let mut nobody = lines(&site, 4009, 1, &[]);
    for op in [json!({"select": {"provider": "openai"}}), json!({"select": {"provider": "none"}}), json!("status"), json!("reload")] {
        nobody.refused("denied", &op);
    }
    assert!(site.log().contains("uid=4009") && site.log().contains("denied"), "{}", site.log());
}

#[test]
fn a_client_sees_and_uses_its_own_providers_within_its_own_limits() {
    if !is_root() {
        return;
    }
    let site = site(CONFIG);
    let daemon = site.start();
    let mut root = site.lines();
    let mut client = lines(&site, 4002, 1, &[]);
    let named = |value: &Value| value.as_array().unwrap().iter().map(|row| text(&row["provider"])).collect::<Vec<_>>();
    assert_eq!(named(&client.expect("status", &json!("status"))["providers"]), ["openai"]);
    assert_eq!(named(&client.expect("keys", &json!("keys"))), ["openai"]);
    assert_eq!(client.expect("health", &json!("health")).as_object().unwrap().len(), 1);
    root.expect("reported", &json!({"record": {"provider": "gemini", "key_name": "g", "cost_usd": 1}}));
    assert_eq!(client.expect("statistics", &json!("statistics"))["total"]["requests"], 0);
    assert_eq!(root.expect("statistics", &json!("statistics"))["total"]["requests"], 1);
    for provider in ["gemini", "none"] {
        for op in [
            json!({"select": {"provider": provider}}),
            json!({"explain": {"provider": provider}}),
            json!({"keys": {"provider": provider}}),
            json!({"record": {"provider": provider, "key_name": "g"}}),
        ] {
            client.refused("denied", &op);
        }
    }
    for op in [
        json!({"validate": {}}),
        json!("lock"),
        json!({"unlock": {"password": "a password for tests"}}),
        json!({"change_password": {"old": "a password for tests", "new": "x"}}),
        json!("slots"),
        json!({"slot_add": {"source": "recovery"}}),
        json!({"slot_remove": {"slot": 1}}),
        json!({"audit": {}}),
        json!("rekey"),
        json!({"backup": {}}),
        json!({"backup_part": {"backup": 1, "offset": 0}}),
        json!({"restore_part": {"offset": 0, "data": "00"}}),
        json!({"restore": {"password": "x"}}),
        json!("export"),
    ] {
        client.refused("denied", &op);
    }
    let lease = client.lease(&json!({"provider": "openai"}));
    // A lease is its caller's, and an admin's.
    let mut other = lines(&site, 4003, 1, &[4600]);
    other.refused("denied", &json!({"report": {"lease": lease["lease"], "outcome": "ok"}}));
    client.report(&lease, "ok");
    let lease = client.lease(&json!({"provider": "openai"}));
    root.report(&lease, "ok");
    let limited = client.refused("no_key_available", &json!({"select": {"provider": "openai"}}));
    assert_eq!((limited["keys"].as_array().unwrap().len(), &limited["keys"][0]["reason"]), (1, &json!("caller_rate_limited")));
    // Who may see no key is told so; everything else is as for a client.
    let refused = other.refused("denied", &json!({"select": {"provider": "openai"}}));
    assert!(text(&refused["message"]).contains("reveal"), "{refused}");
    other.expect("status", &json!("status"));
    drop((client, other));
    daemon.kill();
    let _daemon = site.start();
    let mut client = lines(&site, 4002, 1, &[]);
    client.refused("no_key_available", &json!({"select": {"provider": "openai"}}));
}

#[test]
fn a_reload_changes_what_open_connections_may_do() {
    if !is_root() {
        return;
    }
    let site = site(CONFIG);
    let daemon = site.start();
    let mut client = lines(&site, 4002, 1, &[]);
    client.expect("status", &json!("status"));
    let mut admin = lines(&site, 4001, 1, &[]);
    site.configure(CONFIG.split("access:").next().unwrap());
    daemon.signal(Signal::HUP);
    until("the end of the client's rights", || (role(&mut client).0 == "none").then_some(()));
    client.refused("denied", &json!({"select": {"provider": "openai"}}));
    admin.refused("denied", &json!("reload"));
    until("a socket that is closed to others", || (mode(&site) == 0o600).then_some(()));
    assert!(connect(&site.socket(), 4002, 1, &[]).is_err());
    site.configure(CONFIG);
    site.lines().done(&json!("reload"));
    until("a socket that is open again", || (mode(&site) == 0o666).then_some(()));
    admin.done(&json!("reload"));
}

#[test]
fn a_right_that_was_taken_away_is_gone_for_who_waits_and_who_has_a_lease() {
    if !is_root() {
        return;
    }
    let site = site(CONFIG);
    let _daemon = site.start();
    let mut root = site.lines();
    let mut client = lines(&site, 4002, 1, &[]);
    let lease = client.lease(&json!({"provider": "openai"}));
    root.done(&json!({"key_disable": {"provider": "openai", "key_name": "a"}}));
    let mut waiting = lines(&site, 4002, 1, &[]);
    waiting.request(&json!({"select": {"provider": "openai", "wait_ms": 600_000}})).unwrap();
    until("somebody who waits", || (root.expect("status", &json!("status"))["providers"][0]["waiting"] == 1).then_some(()));
    site.configure(&CONFIG.replace("providers: [openai]", "providers: [gemini]"));
    root.done(&json!("reload"));
    assert_eq!(waiting.reply()["reply"]["error"]["code"], "overloaded");
    root.done(&json!({"key_enable": {"provider": "openai", "key_name": "a"}}));
    client.refused("denied", &json!({"renew": {"lease": lease["lease"]}}));
    // What was used is still counted.
    client.report(&lease, "ok");
}

#[test]
fn a_stranger_takes_no_places_from_others_and_fills_no_log() {
    if !is_root() {
        return;
    }
    let site = site(CONFIG);
    let _daemon = site.start();
    let mut strangers: Vec<Lines> = (0..20).map(|_| lines(&site, 4009, 1, &[])).collect();
    // One that is turned away may be gone before it asks.
    let mut is_let_in = |stranger: &mut Lines| stranger.try_ask(&json!("whoami")).is_ok_and(|answer| answer.get("you").is_some());
    strangers.retain_mut(&mut is_let_in);
    assert_eq!(strangers.len(), 8);
    let stranger = strangers.first_mut().unwrap();
    for _ in 0..500 {
        stranger.refused("denied", &json!("status"));
    }
    let told = site.log().matches("uid=4009").count();
    assert!((50..=300).contains(&told), "{told}");
    site.lines().expect("status", &json!("status"));
    // A place that is given back can be taken again.
    drop(strangers);
    until("a place for a stranger", || is_let_in(&mut lines(&site, 4009, 1, &[])).then_some(()));
}

#[test]
fn who_may_see_no_key_speaks_of_none() {
    if !is_root() {
        return;
    }
    let site = site(CONFIG);
    let _daemon = site.start();
    let mut blind = lines(&site, 4003, 1, &[4600]);
    blind.refused("denied", &json!({"record": {"provider": "openai", "key_name": "a", "cost_usd": 99, "outcome": "auth_failed"}}));
    assert_eq!(blind.row("openai", "a")["last_four"], Value::Null);
    // A client's record counts, and moves no key's state.
    let mut client = lines(&site, 4002, 1, &[]);
    client.expect("reported", &json!({"record": {"provider": "openai", "key_name": "a", "cost_usd": 1, "outcome": "auth_failed"}}));
    let row = site.lines().row("openai", "a");
    assert_eq!((&row["state"], &row["cost_today_usd"]), (&json!("unknown"), &json!(1.0)));
}

#[test]
fn an_admin_can_ask_what_a_user_may_do() {
    let site = site(&CONFIG.replace("4500", "root").replace("no-such.service", "app.service"));
    let _daemon = site.start();
    let ran = site.ctl(&["access", "root"]);
    assert!(ran.status == 0 && ran.out.contains("role        admin"), "{ran:?}");
    let ran = site.ctl(&["access", "no-such-user-here"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains("there is no user `no-such-user-here`"), "{}", ran.err);
    if !is_root() {
        return;
    }
    let mut client = lines(&site, 4002, 1, &[]);
    client.refused("denied", &json!({"access": {"user": "root"}}));
    let nobody = site.ctl(&["access", "nobody"]);
    assert!(nobody.out.contains("role        none") && nobody.out.contains("no rule"), "{nobody:?}");
    site.configure("access: {clients: [{match: {user: nobody, unit: app.service}, rate_limit: 5}]}");
    site.lines().done(&json!("reload"));
    assert!(site.ctl(&["access", "nobody"]).out.contains("role        none"));
    let within = site.ctl(&["access", "nobody", "--unit", "app.service"]);
    assert!(within.out.contains("rate_limit  5 requests an hour"), "{within:?}");
}
