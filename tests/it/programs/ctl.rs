//! `gollmctl` as a script meets it: exit status, `--json`, secrets by standard input.

use serde_json::{Value, json};

use super::CONFIG;
use crate::harness::Site;

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

#[test]
fn each_failure_has_its_exit_status() {
    let site = Site::new(CONFIG);
    let ran = site.ctl(&["status"]);
    assert_eq!((ran.status, ran.out.as_str()), (3, ""));
    assert!(ran.err.starts_with("gollmctl: no daemon answers: tried ") && ran.err.contains("gollmd.sock"), "{}", ran.err);
    let _daemon = site.start();
    for (status, arguments) in [
        (0, &["status"] as &[&str]),
        (0, &["keys"]),
        (0, &["health"]),
        (0, &["stats", "--csv"]),
        (0, &["whoami"]),
        (0, &["validate", "--format-only"]),
        (0, &["reload"]),
        (0, &["key", "disable", "openai/a", "--for", "1h"]),
        (5, &["select", "openai"]),
        (0, &["key", "enable", "openai/a"]),
        (0, &["select", "openai"]),
        (1, &["select", "nobody"]),
        (1, &["report", "gl_made-up", "--outcome", "ok"]),
        (1, &["key", "remove", "openai/a"]),
        (2, &["dance"]),
        (2, &["select"]),
        (2, &["key", "set", "openai/a", "sk-as-an-argument"]),
    ] {
        let ran = site.ctl(arguments);
        assert_eq!(ran.status, status, "{arguments:?}: {ran:?}");
        assert_eq!(status != 0, ran.err.starts_with("gollmctl: "), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn json_is_the_reply_itself_on_one_line() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let json = |arguments: &[&str]| {
        let ran = site.ctl(&[&["--json"], arguments].concat());
        assert_eq!(ran.out.lines().count(), 1, "{ran:?}");
        value(&ran.out)
    };
    let lease = json(&["select", "openai"]);
    assert_eq!(lease["secret"], "sk-a");
    let token = lease["lease"].as_str().unwrap();
    let reported = json(&["report", token, "--outcome", "ok", "--model", "gpt-4", "--input-tokens", "10", "--cost", "0.5"]);
    assert_eq!((&reported["cost_usd"], &reported["duplicate"]), (&json!(0.5), &json!(false)));
    assert_eq!(json(&["report", token, "--outcome", "ok"])["duplicate"], true);
    let mut lines = site.lines();
    assert_eq!(json(&["keys"]), lines.expect("keys", &json!("keys")));
    assert_eq!(json(&["stats"]), lines.expect("statistics", &json!("statistics")));
    assert_eq!(json(&["health"]), lines.expect("health", &json!("health")));
    assert_eq!(json(&["status"])["providers"], lines.expect("status", &json!("status"))["providers"]);
    assert_eq!(json(&["select", "openai", "--no-fallback"])["provider"], "openai");
    let refused = json(&["select", "openai"]);
    assert_eq!((&refused["code"], &refused["keys"][0]["reason"]), (&json!("no_key_available"), &json!("rate_limited")));
    let secret = site.ctl(&["key", "disable", "openai/a"]);
    assert_eq!(secret.status, 0);
}

#[test]
fn a_key_that_is_set_serves_survives_a_restart_and_is_erased() {
    // A crash may cost a place, so there are some more than are taken.
    let config = CONFIG.replace("rate_limit: 2", "rate_limit: 20");
    let site = Site::new(&config);
    let daemon = site.start();
    let set = |key: &str, secret: &str| site.ctl_with(&["key", "set", key], secret);
    assert_eq!(set("openai/a", "sk-by-hand-a\n").status, 0);
    assert_eq!(site.ctl_with(&["key", "set", "openai/b", "--rate-limit", "1", "--weight", "2"], "sk-by-hand-b").status, 0);
    // A provider that no file names, from the catalogue.
    assert_eq!(set("groq/c", "gsk_by-hand").status, 0);
    assert_eq!(set("nobody/c", "some-secret").status, 1);
    assert_eq!(set("openai/d", "sk-ant-api03-a-key-of-another-provider").status, 1);
    assert_eq!(set("openai/d", "").status, 1);
    let secret = |key: &str| {
        let (provider, name) = key.split_once('/').unwrap();
        site.ctl(&["select", provider, "--key", name, "--secret-only"]).out
    };
    assert_eq!([secret("openai/a"), secret("openai/b"), secret("groq/c")], ["sk-by-hand-a\n", "sk-by-hand-b\n", "gsk_by-hand\n"]);
    daemon.kill();
    let daemon = site.start();
    assert_eq!(site.ctl(&["select", "openai", "--key", "b"]).status, 5);
    assert_eq!([secret("openai/a"), secret("groq/c")], ["sk-by-hand-a\n", "gsk_by-hand\n"]);
    assert_eq!(site.ctl(&["key", "remove", "openai/b"]).status, 0);
    assert_eq!(site.ctl(&["key", "remove", "groq/c"]).status, 0);
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    assert_eq!(site.ctl(&["select", "openai", "--key", "b"]).status, 1);
    assert_eq!(site.ctl(&["select", "groq"]).status, 1);
    // The file wins again where it gives another secret than the one that was replaced.
    site.configure(&config.replace("sk-a", "sk-newer"));
    assert_eq!(site.ctl(&["reload"]).status, 0);
    assert_eq!(secret("openai/a"), "sk-newer\n");
}
