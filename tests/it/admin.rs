//! Admins' acts and what the configuration gives them to do.

use serde_json::json;

use crate::harness::{Site, until};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: 'file:secret', name: a}, {key: sk-b, name: b}]
    rotation: {health_check: false}
global: {key_validation: false}
";

#[cfg(target_os = "linux")]
#[test]
fn a_secret_behind_a_pipe_holds_nothing_up() {
    let site = Site::new(CONFIG);
    let file = site.path("secret");
    std::fs::write(&file, "sk-of-the-file").unwrap();
    let _daemon = site.start();
    let mut lines = site.lines();
    std::fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    lines.done(&json!("reload"));
    let warnings = lines.expect("status", &json!("status"))["warnings"].to_string();
    assert!(warnings.contains("is no regular file"), "{warnings}");
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "a"}))["secret"], "sk-of-the-file");
    lines.done(&json!({"key_set": {"provider": "openai", "key_name": "a", "secret": "sk-by-hand"}}));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "a"}))["secret"], "sk-by-hand");
    // The file gives the older secret again: what was set by hand stays.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "sk-of-the-file").unwrap();
    lines.done(&json!("reload"));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "a"}))["secret"], "sk-by-hand");
}

#[test]
fn what_key_set_does_not_name_stays() {
    let site = Site::new(&CONFIG.replace("file:secret", "sk-a"));
    let daemon = site.start();
    let mut lines = site.lines();
    let set = |fields: serde_json::Value| {
        let mut request = json!({"provider": "openai", "key_name": "c", "secret": "sk-c"});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"key_set": request})
    };
    lines.done(&set(json!({"rate_limit": 7, "weight": 3, "enabled": false})));
    lines.done(&set(json!({"cost_limit": 5})));
    let row = lines.row("openai", "c");
    assert_eq!([&row["rate_limit"], &row["weight"], &row["cost_limit"], &row["enabled"]], [&json!(7), &json!(3), &json!(5.0), &json!(false)]);
    assert!(!row["reason"].to_string().contains("configuration"), "{row}");
    lines.done(&json!({"key_enable": {"provider": "openai", "key_name": "c"}}));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "c"}))["secret"], "sk-c");
    for wrong in [json!({"rate_limit": 0}), json!({"rate_limit": u64::MAX}), json!({"weight": 1_000_001}), json!({"cost_limit": 1e10})] {
        lines.refused("bad_request", &set(wrong));
    }
    // Of a key that was removed, one that is set anew has the name alone.
    lines.done(&json!({"key_disable": {"provider": "openai", "key_name": "c"}}));
    lines.done(&json!({"key_remove": {"provider": "openai", "key_name": "c"}}));
    lines.done(&set(json!({})));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "c"}))["secret"], "sk-c");
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    let row = site.lines().row("openai", "c");
    assert_eq!((&row["rate_limit"], &row["enabled"]), (&json!(null), &json!(true)));
    let audited = |act: &str| site.log().lines().any(|line| line.contains(act) && line.contains("openai/c") && line.contains("done"));
    assert!(["key_set", "key_enable", "key_disable", "key_remove"].into_iter().all(audited), "{}", site.log());
}

#[test]
fn a_cost_warning_goes_with_its_limit_and_an_unusual_shape_proves_nothing() {
    let limited = CONFIG.replace("file:secret", "sk-a").replace("name: b", "name: b, cost_limit: 1");
    let site = Site::new(&limited);
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.expect("reported", &json!({"record": {"provider": "openai", "key_name": "b", "outcome": "ok", "cost_usd": 0.9}}));
    let mut warned = || lines.expect("status", &json!("status"))["warnings"].to_string().contains("cost_limit");
    assert!(warned());
    site.configure(&limited.replace("cost_limit: 1", "cost_limit: 2"));
    assert_eq!(site.ctl(&["reload"]).status, 0);
    assert!(!warned());
    let validations = site.lines().expect("validations", &json!({"validate": {"format_only": true}}));
    assert_eq!((&validations[0]["verdict"], &validations[0]["valid"]), (&json!("inconclusive"), &json!(false)));
}

#[cfg(target_os = "linux")]
#[test]
fn the_password_leaves_the_environment_that_others_can_see() {
    let site = Site::new(&CONFIG.replace("file:secret", "sk-a"));
    let daemon = site.start();
    let shown = |name: &str| std::fs::read(format!("/proc/{}/{name}", daemon.pid())).unwrap();
    let environ = String::from_utf8(shown("environ")).unwrap();
    assert!(!environ.contains("a password for tests") && environ.contains("HOME="), "{environ}");
    assert_eq!(String::from_utf8(shown("comm")).unwrap(), "gollmd\n");
    assert_eq!(site.lines().expect("status", &json!("status"))["master_source"], "environment");
    let mut long = Site::new(CONFIG);
    long.set("GOLLM_MASTER_PASSWORD", "x".repeat(5000));
    let ran = crate::harness::run(long.gollmd(&[]), "");
    assert!(ran.status == 1 && ran.err.contains("longer than 4096 bytes"), "{ran:?}");
}

#[test]
fn a_log_level_that_is_none_is_said_and_info_is_used() {
    let mut site = Site::new(&CONFIG.replace("file:secret", "sk-a"));
    site.set("GOLLM_LOG", "debgu");
    let _daemon = site.start();
    until("a log at `info`", || site.log().contains("serving").then_some(()));
    assert!(site.log().contains("GOLLM_LOG can't be read"), "{}", site.log());
}
